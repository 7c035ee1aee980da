# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from scipy.ndimage import gaussian_filter

from bundle.case import Case
from bundle.doubts import Doubt, Verdict
from bundle.keys import CASE, IMAGE, INTERVAL, NO_DATA, PRED, REFERENCE, SCALE, SLICE_AXIS
from bundle.transforms import MendExtremesd, RestoreNatived

SHAPE = (32, 30, 5)
AFFINE = torch.tensor([[0.5, 0, 0, -8], [0, 0.5, 0, -7], [0, 0, 3, 4], [0, 0, 0, 1.0]], dtype=torch.float64)


def item() -> dict:
    voxels = gaussian_filter(np.random.default_rng(0).random(SHAPE), (1, 1, 0)).astype(np.float32) * 1000
    pair = {key: MetaTensor(torch.from_numpy(voxels.copy())[None], affine=AFFINE) for key in (IMAGE, REFERENCE)}
    for key, volume in pair.items():
        volume.meta["filename_or_obj"] = f"{key}.nii.gz"
    return {CASE: Case("sub-1"), **pair}


@pytest.mark.parametrize(("key", "doubt"), [(IMAGE, Doubt.STRAY_VOXELS), (REFERENCE, Doubt.STRAY_VOXELS_OF_REFERENCE)])
def test_a_stray_voxel_is_replaced_and_named_in_mm(key, doubt) -> None:
    given = item()
    expected = given[key].clone()
    given[key][0, 10, 12, 3] = 32767.0
    untouched = given[key].clone()
    out = MendExtremesd()(given)
    apart = (out[key] != expected)[0].nonzero().tolist()
    assert apart in ([], [[10, 12, 3]])
    assert abs(out[key][0, 10, 12, 3] - expected[0, 10, 12, 3]) < 300
    ((kind, sentence),) = out[CASE].doubts
    assert kind is doubt
    assert sentence.startswith(f"{key}.nii.gz: a single voxel is far out of range, 32767 at R -3.0, A -1.0, S 13.0 mm")
    assert torch.equal(given[key], untouched)  # the item that was given is as it was


def test_borders_become_air_and_only_that_of_the_image_is_kept() -> None:
    given = item()
    given[IMAGE][0, :3] = given[REFERENCE][0, -4:] = -1024.0
    out = MendExtremesd()(given)
    assert not out[IMAGE][0, :3].any()
    assert not out[REFERENCE][0, -4:].any()
    assert torch.equal(out[IMAGE][0, 3:], given[IMAGE][0, 3:])
    assert out[NO_DATA]["mask"].nonzero()[:, 0].unique().tolist() == [0, 1, 2]
    assert out[NO_DATA]["value"].item() == -1024
    assert [doubt for doubt, _ in out[CASE].doubts] == [Doubt.BORDER, Doubt.BORDER]
    assert "image.nii.gz: its border is -1024 throughout (9.4% of the voxels)" in out[CASE].warnings[0]
    assert out[CASE].told()["verdict"] == Verdict.FINE


def test_what_is_sound_or_was_mended_stays() -> None:
    given = item()
    assert MendExtremesd()(given)[IMAGE] is given[IMAGE]
    assert NO_DATA not in MendExtremesd()(given)
    given[IMAGE][0, :3] = -1024.0
    once = MendExtremesd()(given)
    twice = MendExtremesd()(once)
    assert twice[IMAGE] is once[IMAGE]
    assert twice[NO_DATA] is once[NO_DATA]
    assert len(twice[CASE].doubts) == 1


def test_the_border_comes_back_in_slices_that_were_divided() -> None:
    mask = torch.zeros(4, 4, 3, dtype=torch.bool)
    mask[..., 1] = True
    scale = {"offset": torch.zeros(1), "scale": torch.ones(1)}
    given = {PRED: torch.ones(1, 4, 4, 9), SLICE_AXIS: 2, SCALE: scale}
    out = RestoreNatived()(given | {NO_DATA: {"mask": mask, "value": torch.tensor([-1.0])}})
    assert out[PRED][0, 0, 0].tolist() == [1, 1, 1, -1, -1, -1, 1, 1, 1]


@pytest.mark.parametrize("shape", [SHAPE, (64, 45, 5)])
def test_the_border_comes_back_as_it_was_on_any_grid(shape) -> None:
    mask = torch.zeros(SHAPE, dtype=torch.bool)
    mask[:4] = mask[:, -5:] = True
    volume = torch.rand(1, *shape)
    given = {
        PRED: volume.clone(),
        INTERVAL: volume.clone(),
        SLICE_AXIS: 2,
        SCALE: {"offset": torch.zeros(1), "scale": torch.full((1,), 100.0)},
        NO_DATA: {"mask": mask, "value": torch.tensor([-1024.0])},
    }
    out = RestoreNatived()(given)
    rows, columns = (torch.arange(n) * old / n for n, old in zip(shape[:2], SHAPE[:2], strict=True))
    inside = (rows.round() >= 4)[:, None] & (columns.round() < SHAPE[1] - 5)
    assert torch.equal(out[PRED][0] == -1024, ~inside[..., None].expand(shape))
    torch.testing.assert_close(out[PRED][0][inside], 100 * volume[0][inside])
    assert not out[INTERVAL][0][~inside].any()
    assert out[INTERVAL][0][inside].all()
