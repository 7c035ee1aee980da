# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose
from torch.testing import assert_close

from bundle.acquisition import AxisEstimate, Consistency
from bundle.case import Case, LowResFinding
from bundle.keys import (
    CASE,
    HIGH_RES,
    IMAGE,
    LEVEL_TARGETS,
    LOW_RES,
    PRED,
    PRED_CONSISTENT,
    REFERENCE,
    SLICE_AXIS,
)
from bundle.kspace import project, zero_fill
from bundle.transforms import DataConsistencyd, NormaliseIntensityd, SlicesLastd, StackContrastsd, ZeroFilld

CONSISTENCY = Consistency(AxisEstimate(20, 2), AxisEstimate(22, 2))


def known(sizes: tuple[int, int], measured: tuple[int, int]) -> LowResFinding:
    """Return what is known of slices of which so many samples of k-space were measured."""
    rows, columns = (AxisEstimate(n, n / kept) for n, kept in zip(sizes, measured, strict=True))
    shape = [*sizes, 4]
    return LowResFinding("zero-filled", 2, shape, shape, [1.0] * 3, [1.0] * 3, (rows, columns))


def pair() -> dict:
    generator = torch.Generator().manual_seed(0)
    affine = torch.diag(torch.tensor([1.0, 1, 3, 1], dtype=torch.float64))
    volumes = [1 + 900 * torch.rand(1, 20, 22, 5, generator=generator) for _ in range(2)]
    return {key: MetaTensor(v, affine=affine) for key, v in zip((IMAGE, REFERENCE), volumes, strict=True)}


def prepare(**settings: object) -> Compose:
    return Compose([SlicesLastd(), NormaliseIntensityd(), ZeroFilld(**settings), StackContrastsd()])


def slices(volume: MetaTensor) -> torch.Tensor:
    return volume.as_tensor().movedim(-1, 0)


def test_zero_fill_derives_low_res_from_the_normalised_high_res_and_keeps_its_scale() -> None:
    out = Compose([SlicesLastd(), NormaliseIntensityd(), ZeroFilld(factor=2)])(pair())
    expected = zero_fill(out[HIGH_RES].as_tensor().movedim(-1, 0), 2).movedim(0, -1)
    assert_close(out[LOW_RES].as_tensor(), expected)
    assert out[LOW_RES].max() != 1  # neither re-normalised nor clipped


@pytest.mark.parametrize("factor", [1, 0, -2, "4", None, float("nan"), True])
def test_zero_fill_refuses_a_wrong_factor(factor) -> None:
    with pytest.raises(ValueError, match="give a number above 1"):
        ZeroFilld(factor)


def test_level_targets_are_zero_filled_from_the_same_high_res_by_less() -> None:
    out = prepare(factor=8, level_factors=[4, 2])(pair())
    assert out[LEVEL_TARGETS].shape == (2, 20, 22, 5)
    for index, factor in enumerate((4, 2)):
        expected = zero_fill(slices(out[HIGH_RES]), factor)
        assert_close(slices(out[LEVEL_TARGETS])[:, index : index + 1], expected)


def test_a_level_target_of_factor_1_is_the_high_res() -> None:
    out = prepare(factor=4, level_factors=[1])(pair())
    assert_close(out[LEVEL_TARGETS].as_tensor(), out[HIGH_RES].as_tensor())


def test_without_levels_there_are_no_level_targets() -> None:
    assert LEVEL_TARGETS not in prepare(factor=4)(pair())


@pytest.mark.parametrize("magnitude", [True, False])
def test_data_consistency_restores_each_slice_from_the_low_res_and_keeps_the_output_beside(magnitude) -> None:
    item = prepare(factor=2, magnitude=magnitude)(pair())
    item[PRED] = MetaTensor(torch.rand(1, 20, 22, 5), meta=item[IMAGE].meta)
    out = DataConsistencyd(magnitude)(item)
    if magnitude:
        expected = CONSISTENCY.restored(slices(item[PRED]), slices(item[LOW_RES]))
    else:
        expected = slices(item[PRED]) + project(slices(item[LOW_RES]) - slices(item[PRED]), 2)
    assert_close(slices(out[PRED_CONSISTENT]), expected)
    assert_close(out[PRED].as_tensor(), item[PRED].as_tensor())
    assert out[CASE].facts()["data_consistency"] == {"restored": True}


def test_data_consistency_can_replace_the_output() -> None:
    item = prepare(factor=2, magnitude=False)(pair())
    item[PRED] = item[HIGH_RES]
    out = DataConsistencyd(False, output_key=PRED)(item)
    assert PRED_CONSISTENT not in out
    assert_close(out[PRED].as_tensor(), item[HIGH_RES].as_tensor())


def test_data_consistency_never_looks_at_the_ground_truth() -> None:
    item = prepare(factor=2)(pair())
    item[PRED] = item[LOW_RES]
    before = DataConsistencyd()(item)[PRED_CONSISTENT]
    del item[HIGH_RES]
    assert_close(DataConsistencyd()(item)[PRED_CONSISTENT].as_tensor(), before.as_tensor())


def test_zero_fill_takes_a_factor_for_rows_and_one_for_columns() -> None:
    out = prepare(factor=[4, 1], level_factors=[[2, 1]])(pair())
    assert_close(slices(out[LOW_RES]), zero_fill(slices(out[HIGH_RES]), 4, column_factor=1))
    assert_close(slices(out[LEVEL_TARGETS]), zero_fill(slices(out[HIGH_RES]), 2, column_factor=1))


@pytest.mark.parametrize(("axis", "matrix"), [(2, [20, 22, 5]), (0, [5, 20, 22]), (1, [20, 5, 22])])
def test_zero_fill_says_what_it_has_done_along_native_axes(axis, matrix) -> None:
    item = Compose([SlicesLastd(), NormaliseIntensityd()])(pair()) | {SLICE_AXIS: axis}
    found = ZeroFilld([4, 2])(item)[CASE].low_res
    assert found.matrix_before == found.matrix_after == matrix
    assert found.spacing_after[axis] == 3
    assert [a.measured for a in found.axes] == [5, 11]
    assert found.said == "zero-filled in k-space by 4 x 2, as asked"


def test_data_consistency_says_where_nobody_has_looked() -> None:
    item = prepare(factor=2)(pair()) | {CASE: "plain"}
    item[PRED] = item[LOW_RES]
    with pytest.raises(ValueError, match="plain: how its low-res image came is not known"):
        DataConsistencyd()(item)


@pytest.mark.parametrize("magnitude", [True, False])
def test_data_consistency_takes_what_the_case_knows_of_the_acquisition(magnitude) -> None:
    item = prepare(factor=2, magnitude=magnitude)(pair())
    item[PRED] = MetaTensor(torch.rand(1, 20, 22, 5), meta=item[IMAGE].meta)
    item[CASE] = Case("c", low_res=known((20, 22), (5, 11)))
    out = DataConsistencyd(magnitude)(item)
    expected = Consistency(AxisEstimate(20, 4), AxisEstimate(22, 2), magnitude).restored(
        slices(item[PRED]), slices(item[LOW_RES])
    )
    assert_close(slices(out[PRED_CONSISTENT]), expected)


def test_data_consistency_of_a_fully_measured_axis_leaves_none_of_the_output_there() -> None:
    item = prepare(factor=[1, 2], magnitude=False)(pair())
    item[PRED] = MetaTensor(torch.rand(1, 20, 22, 5))
    out = DataConsistencyd(False)(item)[PRED_CONSISTENT]
    assert_close(project(slices(out), 1, 2), slices(item[LOW_RES]), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("n_pixels", [1, 20 * 22 * 2, 2**21])
def test_data_consistency_in_chunks_of_slices_equals_that_of_all(n_pixels, monkeypatch) -> None:
    item = prepare(factor=2)(pair())
    item[PRED] = MetaTensor(torch.rand(1, 20, 22, 5), meta=item[IMAGE].meta)
    expected = CONSISTENCY.restored(slices(item[PRED]), slices(item[LOW_RES]))
    monkeypatch.setattr("bundle.transforms.data_consistency.CHUNK_PIXELS", n_pixels)
    assert_close(slices(DataConsistencyd()(item)[PRED_CONSISTENT]), expected)


def test_data_consistency_replaces_the_output_in_its_own_memory() -> None:
    item = prepare(factor=2)(pair())
    item[PRED] = MetaTensor(torch.rand(1, 20, 22, 5))
    before = item[PRED].data_ptr()
    assert DataConsistencyd(output_key=PRED)(item)[PRED].data_ptr() == before


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_data_consistency_returns_float32_of_any_output(dtype) -> None:
    item = prepare(factor=2)(pair())
    item[PRED] = MetaTensor(torch.rand(1, 20, 22, 5).to(dtype))
    out = DataConsistencyd(output_key=PRED)(item)[PRED]
    assert out.dtype == torch.float32
    assert_close(slices(out), CONSISTENCY.restored(slices(item[PRED]).float(), slices(item[LOW_RES])))
