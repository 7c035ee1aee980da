# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import DataLoader, Dataset, MetaTensor, decollate_batch
from monai.transforms import Compose
from torch.testing import assert_close

from bundle.keys import IMAGE, INTERVAL, LOW_RES, PRED, REFERENCE, SCALE, SLICE_AXIS, SLICES, ZERO_FILLED_BY
from bundle.transforms import (
    NormaliseIntensityd,
    RestoreNatived,
    SlicesLastd,
    StackContrastsd,
    ThinSlicesd,
    TissueSlicesd,
    ZeroFilld,
)


def pair(shape: tuple[int, int, int] = (20, 22, 5), spacing: tuple[float, ...] = (1.0, 1.0, 3.0)) -> dict:
    generator = torch.Generator().manual_seed(0)
    affine = torch.diag(torch.tensor([*spacing, 1.0], dtype=torch.float64))
    affine[:3, 3] = torch.tensor([-10.0, 5.0, 20.0])
    volumes = [1 + 900 * torch.rand(1, *shape, generator=generator) for _ in range(2)]
    return {key: MetaTensor(v, affine=affine) for key, v in zip((IMAGE, REFERENCE), volumes, strict=True)}


def prepare(**settings: object) -> Compose:
    return Compose([SlicesLastd(), NormaliseIntensityd(), ZeroFilld(**settings), StackContrastsd()])


@pytest.mark.parametrize(("spacing", "axis"), [((3.0, 1, 1), 0), ((1.0, 3, 1), 1), ((1.0, 1, 3), 2), ((1.0, 1, 1), 2)])
def test_slices_last_takes_the_axis_of_largest_spacing(spacing, axis) -> None:
    item = pair((20, 21, 22), spacing)
    out = SlicesLastd()(item)
    assert out[SLICE_AXIS] == axis
    assert_close(out[IMAGE].as_tensor(), item[IMAGE].as_tensor().movedim(axis + 1, -1))
    assert_close(out[REFERENCE].as_tensor(), item[REFERENCE].as_tensor().movedim(axis + 1, -1))


@pytest.mark.parametrize("spacing", [(3.0, 1, 1), (1.0, 3, 1), (1.0, 1, 3)])
def test_slices_last_leaves_every_voxel_where_it_is_in_space(spacing) -> None:
    item = pair((18, 19, 20), spacing)
    out = SlicesLastd()(item)
    value = item[IMAGE][0, 3, 4, 5]
    (index,) = torch.nonzero(out[IMAGE].as_tensor()[0] == value.item())
    position = out[IMAGE].affine @ torch.tensor([*index.tolist(), 1.0], dtype=torch.float64)
    assert_close(position, item[IMAGE].affine @ torch.tensor([3.0, 4, 5, 1], dtype=torch.float64))


def test_normalise_maps_each_volume_by_its_own_maximum() -> None:
    item = pair()
    out = NormaliseIntensityd()(dict(item))
    for key in (IMAGE, REFERENCE):
        assert_close(out[key].as_tensor(), item[key].as_tensor() / item[key].max().item())
    assert_close(out[SCALE]["scale"], torch.tensor([item[IMAGE].max().item()]))


def test_normalise_per_slice_gives_every_slice_the_full_range() -> None:
    out = NormaliseIntensityd(per="slice")(pair())
    assert_close(out[IMAGE].as_tensor().amax((0, 1, 2)), torch.ones(5))


def test_stack_puts_low_res_first_and_reference_second() -> None:
    out = prepare(factor=2)(pair())
    assert out[IMAGE].shape == (2, 20, 22, 5)
    assert_close(out[IMAGE].as_tensor()[:1], out[LOW_RES].as_tensor())
    assert_close(out[IMAGE].as_tensor()[1:], out[REFERENCE].as_tensor())


def test_stack_carries_what_is_known_of_the_zero_filling() -> None:
    assert prepare(factor=2)(pair())[IMAGE].meta[ZERO_FILLED_BY] == pytest.approx(2)
    assert prepare(factor=[2, 1])(pair())[IMAGE].meta[ZERO_FILLED_BY] == 0
    nobody_looked = Compose([SlicesLastd(), NormaliseIntensityd(), StackContrastsd()])(pair())
    assert nobody_looked[IMAGE].meta[ZERO_FILLED_BY] == 0


def test_stack_takes_the_image_itself_where_nothing_was_degraded() -> None:
    out = Compose([SlicesLastd(), NormaliseIntensityd(), StackContrastsd()])(pair())
    assert_close(out[IMAGE].as_tensor()[:1], pair()[IMAGE].as_tensor() / pair()[IMAGE].max().item())


@given(axis=st.integers(0, 2), per=st.sampled_from(["volume", "slice"]))
@settings(deadline=None, max_examples=8)
def test_restore_undoes_axis_order_and_scale(axis, per) -> None:
    spacing = [1.0, 1.0, 1.0]
    spacing[axis] = 4.0
    item = pair((18, 19, 20), tuple(spacing))
    out = Compose([SlicesLastd(), NormaliseIntensityd(per=per)])(item)
    out[PRED] = out[IMAGE]
    assert_close(RestoreNatived()(out)[PRED].as_tensor(), item[IMAGE].as_tensor())


@pytest.mark.parametrize("per", ["volume", "slice"])
def test_restore_works_on_items_that_went_through_a_data_loader(per) -> None:
    item = pair((18, 19, 20), (4.0, 1.0, 1.0))
    data = Dataset([item], Compose([SlicesLastd(), NormaliseIntensityd(per=per)]))
    (out,) = decollate_batch(next(iter(DataLoader(data, batch_size=1))))
    out[PRED] = out[IMAGE]
    assert_close(RestoreNatived()(out)[PRED].as_tensor(), item[IMAGE].as_tensor())


def test_tissue_slices_leave_out_air_and_remember_which_slices_they_are() -> None:
    item = pair((20, 22, 8))
    for key in (IMAGE, REFERENCE):
        item[key][..., :2] = 0
        item[key][..., 7] = 0
    out = TissueSlicesd()(item)
    assert out[SLICES].tolist() == [2, 3, 4, 5, 6]
    assert_close(out[REFERENCE].as_tensor(), item[REFERENCE].as_tensor()[..., 2:7])


def test_thinning_keeps_evenly_spaced_slices_and_their_native_numbers() -> None:
    item = pair((20, 22, 12))
    item[IMAGE][..., 0] = 0
    out = ThinSlicesd(3)(TissueSlicesd()(item))
    assert out[SLICES].tolist() == [2, 6, 10]
    assert_close(out[IMAGE].as_tensor(), item[IMAGE].as_tensor()[..., [2, 6, 10]])
    assert TissueSlicesd(maximum=3)(item)[SLICES].tolist() == [2, 6, 10]


def test_thinning_leaves_fewer_slices_than_its_maximum_alone() -> None:
    assert ThinSlicesd(9)(pair())[IMAGE].shape[-1] == 5
    assert ThinSlicesd(None)(pair())[IMAGE].shape[-1] == 5


def test_thinning_refuses_to_keep_nothing() -> None:
    with pytest.raises(ValueError, match="give 1 or more"):
        ThinSlicesd(0)


def test_low_res_and_reference_are_views_of_the_stack() -> None:
    out = prepare(factor=2)(pair())
    out[IMAGE][0, 3, 4, 1], out[IMAGE][1, 3, 4, 1] = 7.0, 8.0
    assert out[LOW_RES][0, 3, 4, 1] == 7
    assert out[REFERENCE][0, 3, 4, 1] == 8
    assert out[IMAGE].as_tensor()[0, ..., 0].is_contiguous()
    assert_close(out[LOW_RES].affine, out[IMAGE].affine)


def test_restore_scales_a_standard_deviation_without_the_offset() -> None:
    item = pair((18, 19, 20), (4.0, 1.0, 1.0))
    item[IMAGE] -= 500  # far below 0, so that there is an offset
    out = Compose([SlicesLastd(), NormaliseIntensityd()])(item)
    out[PRED], out[INTERVAL] = out[IMAGE].clone(), torch.full_like(out[IMAGE], 0.5)
    restored = RestoreNatived()(out)
    assert_close(restored[PRED].as_tensor(), item[IMAGE].as_tensor(), rtol=0, atol=1e-4)
    spread = torch.full((1, 18, 19, 20), 0.5 * float(item[IMAGE].max() - item[IMAGE].min()))
    assert_close(restored[INTERVAL].as_tensor(), spread)


def test_transforms_leave_their_input_alone() -> None:
    item = pair()
    for transform in prepare(factor=4).transforms:
        before = {key: (value, np.asarray(value).copy()) for key, value in item.items() if key != SCALE}
        out = transform(item)
        assert item.keys() - {SCALE} == before.keys()
        for key, (value, content) in before.items():
            assert item[key] is value
            np.testing.assert_array_equal(value, content)
        item = out
