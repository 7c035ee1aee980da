# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from bundle.batch import Pipeline, single_contrast_network
from bundle.engines import SliceInferer
from bundle.errors import InputError
from bundle.networks import Generator, SingleContrastResidual
from bundle.records import CaseRecord

EXPECTED = {"factor": 4, "magnitude": True, "normalise": "volume", "fusion": "feature"}


class Times(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.factor * image[:, :1]


def pipeline_of(results: list[Any], **options: Any) -> Pipeline:
    def prepare(pair: dict[str, Any]) -> dict[str, Any]:
        return {**pair, "image": torch.ones(2, 18, 20, 3)}

    return Pipeline(prepare, SliceInferer(mixed_precision=False), Times(2.0), results.append, **options)


def test_a_case_goes_through_all_steps_and_its_time_is_noted() -> None:
    results: list[Any] = []
    record = CaseRecord("a")
    pipeline_of(results).run({"case": "a"}, record)
    assert results[0]["case"] == "a"
    torch.testing.assert_close(results[0]["pred"], torch.full((1, 18, 20, 3), 2.0))
    assert set(record.facts["time"]) == {"seconds", "prepare_seconds", "network_seconds", "finish_seconds"}


@pytest.mark.parametrize(("usable", "factor"), [(True, 2.0), (False, 3.0), (None, 2.0)])
def test_a_reference_that_is_of_no_use_brings_in_the_other_network(usable: bool | None, factor: float) -> None:
    results: list[Any] = []
    record = CaseRecord("a", facts={} if usable is None else {"registration": {"usable": usable}})
    pipeline_of(results, fallback=Times(3.0)).run({"case": "a"}, record)
    assert results[0]["pred"].unique() == factor


def test_the_time_of_a_pixel_is_measured_on_a_small_piece() -> None:
    assert 0 < pipeline_of([]).seconds_per_pixel(32) < 1


def stored(folder: Path, network: nn.Module, **record: Any) -> Path:
    path = folder / "single.pt"
    torch.save(network.state_dict(), path)
    path.with_suffix(".json").write_text(json.dumps({**EXPECTED, **record}))
    return path


@pytest.mark.parametrize(
    ("network", "record"),
    [
        (Generator("none", residual=True), {"architecture": "Generator", "fusion": "none", "residual": True}),
        (Generator("none", levels=2), {"fusion": "none", "levels": 2, "consistency_layer": True}),
        (SingleContrastResidual(), {"architecture": "SingleContrastResidual"}),
    ],
    ids=["generator", "progressive", "residual network"],
)
def test_the_network_without_reference_is_built_by_its_own_record(network, record, tmp_path) -> None:
    found = single_contrast_network(stored(tmp_path, network, **record), EXPECTED, "cpu")
    assert type(found) is type(network)
    assert (getattr(found, "consistency", None) is not None) == record.get("consistency_layer", False)
    for name, weight in network.state_dict().items():
        assert torch.equal(found.state_dict()[name], weight)


def test_nothing_is_loaded_where_bad_references_are_skipped() -> None:
    assert single_contrast_network("nowhere.pt", EXPECTED, "cpu", "skip") is None


def test_a_missing_network_is_refused_at_the_start() -> None:
    with pytest.raises(InputError, match="give --single_contrast_path FILE"):
        single_contrast_network(None, EXPECTED, "cpu")
    with pytest.raises(InputError, match="choose skip or single_contrast"):
        single_contrast_network(None, EXPECTED, "cpu", "ignore")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"fusion": "feature"}, "these weights need a reference"),
        ({"architecture": "ZengCascade", "fusion": "none"}, "these weights need a reference"),
        ({"fusion": "none", "factor": 2}, "were trained with factor 2, not 4"),
    ],
    ids=str,
)
def test_weights_of_another_kind_are_refused(record, message, tmp_path) -> None:
    with pytest.raises(InputError, match=message):
        single_contrast_network(stored(tmp_path, Generator("none"), **record), EXPECTED, "cpu")
