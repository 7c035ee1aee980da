# SPDX-License-Identifier: Apache-2.0
import json
from typing import Any

import pytest
import torch
from monai.data import MetaTensor
from torch import nn
from torch.testing import assert_close

from bundle.acquisition import AxisEstimate
from bundle.case import Case, LowResFinding
from bundle.engines import TiledSliceInferer
from bundle.errors import InputError
from bundle.keys import CASE, ERROR_SCALE, IMAGE, INTERVAL, LOW_RES, PRED
from bundle.kspace import zero_fill
from bundle.settings import TrainingRecord
from bundle.trust import Intervald, interval_factor


class AddsReference(nn.Module):
    """Add part of the reference to the low-res."""

    def __init__(self, share: float = 0.5) -> None:
        super().__init__()
        self.share = nn.Parameter(torch.tensor(share))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image[:, :1] + self.share * image[:, 1:]


def known(sizes: tuple[int, int], measured: tuple[int, int]) -> LowResFinding:
    """Return what is known of slices of which so many samples of k-space were measured."""
    rows, columns = (AxisEstimate(n, n / kept) for n, kept in zip(sizes, measured, strict=True))
    shape = [*sizes, 4]
    return LowResFinding("zero-filled", 2, shape, shape, [1.0] * 3, [1.0] * 3, (rows, columns))


def passed(network: nn.Module, scale: float | None = None, n_slices: int = 50) -> dict[Any, Any]:
    """Return a case behind the network, all errors of which are said to be of one scale."""
    generator = torch.Generator().manual_seed(0)
    volumes = 0.2 + 0.8 * torch.rand(2, 24, 20, n_slices, generator=generator)
    volumes[0] = zero_fill(volumes[0].movedim(-1, 0), 2).movedim(0, -1)
    affine = torch.diag(torch.tensor([1.0, 1, 3, 1], dtype=torch.float64))
    image = MetaTensor(volumes, affine)
    output = MetaTensor(TiledSliceInferer(mixed_precision=False)(volumes[None], network)[0], affine)
    item = {CASE: Case("c", low_res=known((24, 20), (12, 10))), IMAGE: image, LOW_RES: image[:1], PRED: output}
    return item if scale is None else item | {ERROR_SCALE: torch.full_like(output, scale)}


def test_output_stays_as_it_is() -> None:
    item = passed(AddsReference(), 0.01)
    expected = item[PRED].as_tensor().clone()
    assert torch.equal(Intervald(interval_factor=2.0)(item)[PRED].as_tensor(), expected)


def test_interval_is_the_scale_of_errors_times_what_calibration_found() -> None:
    item = Intervald(interval_factor=2.5)(passed(AddsReference(), 0.02))
    assert ERROR_SCALE not in item
    assert_close(item[INTERVAL].as_tensor(), torch.full((1, 24, 20, 50), 0.05))
    found = item[CASE].measured["interval"]
    mean = float(item[PRED].as_tensor().mean())  # all is tissue
    assert (found["typical"], found["widest"]) == pytest.approx((0.05 / mean, 0.05 / mean), rel=0.05)


def test_summary_tells_the_middle_and_the_widest_twentieth_of_tissue() -> None:
    item = passed(AddsReference(), 0.0)
    item[PRED][:] = 0.5
    item[PRED][:, :12] = 0.0  # air, whose intervals do not count
    item[ERROR_SCALE][:, :12] = 9.0
    item[ERROR_SCALE][:, 12:] = torch.linspace(0, 1, 12)[None, :, None, None]
    found = Intervald(interval_factor=1.0)(item)[CASE].measured["interval"]
    assert (found["typical"], found["widest"]) == pytest.approx((1.0, 2.0), abs=0.1)


@pytest.mark.parametrize(("scale", "factor"), [(None, 2.0), (0.1, None)])
def test_without_prediction_or_calibration_there_is_no_interval(scale, factor) -> None:
    item = Intervald(interval_factor=factor)(passed(AddsReference(), scale))
    assert not {INTERVAL, ERROR_SCALE} & item.keys()
    assert not item[CASE].measured


def test_factor_comes_from_the_record_and_is_missed_where_it_is_needed_alone() -> None:
    assert interval_factor(TrainingRecord(interval={"factor": 2.2}), needed=True) == 2.2
    assert interval_factor(TrainingRecord()) is None
    with pytest.raises(InputError, match="predict no interval; leave --interval false"):
        interval_factor(TrainingRecord(), needed=True)


def test_facts_can_be_written_as_json() -> None:
    found = Intervald(interval_factor=1.0)(passed(AddsReference(), 0.1))[CASE].facts()
    assert json.loads(json.dumps(found)) == found
    assert set(found) == {"low_res", "interval"}


def test_an_empty_volume_is_passed_over() -> None:
    empty = MetaTensor(torch.zeros(2, 20, 20, 3))
    case = Case("c", low_res=known((20, 20), (10, 10)))
    item = {CASE: case, IMAGE: empty, LOW_RES: empty[:1], PRED: empty[:1].clone(), ERROR_SCALE: empty[:1].clone()}
    assert not Intervald(interval_factor=1.0)(item)[CASE].measured["interval"]
