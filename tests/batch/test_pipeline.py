# SPDX-License-Identifier: Apache-2.0
from typing import Any

import torch
from torch import nn

from bundle.batch import Pipeline
from bundle.case import Case
from bundle.engines import TiledSliceInferer


class Times(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.factor * image[:, :1]


def pipeline_of(results: list[Any]) -> Pipeline:
    def load(pair: dict[str, Any]) -> dict[str, Any]:
        return {**pair, "image": torch.ones(2, 18, 20, 3)}

    network = Times(2.0)
    return Pipeline(load, dict, TiledSliceInferer(mixed_precision=False), network, results.append)


def test_a_case_goes_through_all_steps_and_its_time_is_noted() -> None:
    results: list[Any] = []
    pipeline = pipeline_of(results)
    item = pipeline.read({"case": "a"})
    case = item["case"]
    assert isinstance(case, Case)
    pipeline.run(pipeline.prepare(item))
    assert results[0]["case"] is case
    torch.testing.assert_close(results[0]["pred"], torch.full((1, 18, 20, 3), 2.0))
    assert set(case.facts()["time"]) == {"seconds", "prepare_seconds", "network_seconds", "finish_seconds"}


def test_a_pair_stays_as_it_is_and_an_item_lets_its_volumes_go() -> None:
    pipeline, pair = pipeline_of([]), {"case": "a"}
    item = pipeline.read(pair)
    assert pair == {"case": "a"}
    assert type(pair["case"]) is str
    pipeline.run(pipeline.prepare(item))
    assert item == {}


def test_the_time_of_a_pixel_is_measured_on_a_small_piece() -> None:
    assert 0 < pipeline_of([]).seconds_per_pixel() < 1


def test_a_network_that_predicts_its_errors_does_so_in_the_same_pass() -> None:
    class Sure(Times):
        def __init__(self) -> None:
            super().__init__(2.0)
            self.error_scale = nn.Identity()
            self.passes = 0

        def with_error_scale(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            self.passes += 1
            return self(image), image[:, 1:] / 4

    results: list[Any] = []
    pipeline = pipeline_of(results)
    pipeline.network = Sure()
    pipeline.run(pipeline.prepare(pipeline.read({"case": "a"})))
    torch.testing.assert_close(results[0]["pred"], torch.full((1, 18, 20, 3), 2.0))
    torch.testing.assert_close(results[0]["error_scale"], torch.full((1, 18, 20, 3), 0.25))
    assert pipeline.network.passes == 1
