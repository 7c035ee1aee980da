# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from bundle.data.reading import read_volume
from bundle.volumes.extremes import constant_border, robust_range, stray_voxels
from bundle.volumes.geometry import through_plane_axis

SHAPE = (48, 40, 6)


@pytest.fixture
def head() -> np.ndarray:
    """A textured disc in noisy air, 0 to about 1000."""
    random = np.random.default_rng(0)
    rows, columns = np.ogrid[: SHAPE[0], : SHAPE[1]]
    inside = ((rows / SHAPE[0] - 0.5) ** 2 + (columns / SHAPE[1] - 0.5) ** 2 < 0.12)[..., None]
    texture = gaussian_filter(random.random(SHAPE), (1, 1, 0))
    return np.rint(inside * 1000 * texture + 15 * random.random(SHAPE)).astype(np.float32)


def framed() -> np.ndarray:
    mask = np.ones(SHAPE, dtype=bool)
    mask[3:-2, 4:-1] = False
    return mask


def cornered() -> np.ndarray:
    rows, columns = np.ogrid[: SHAPE[0], : SHAPE[1]]
    outside = (rows / SHAPE[0] - 0.5) ** 2 + (columns / SHAPE[1] - 0.5) ** 2 > 0.24
    return np.repeat(outside[..., None], SHAPE[2], axis=2)


def ended() -> np.ndarray:
    mask = np.zeros(SHAPE, dtype=bool)
    mask[..., -1] = True
    return mask


@pytest.mark.parametrize("mask", [framed(), cornered(), ended()], ids=["frame", "corners", "slices"])
@pytest.mark.parametrize("value", [-1024.0, -1.0, 4095.0])
def test_a_constant_border_is_found_to_the_voxel(mask, value, head) -> None:
    head[mask] = value
    head[24, 20, 2] = value  # which is no border
    found = constant_border(head)
    assert found is not None
    assert (found.value, found.air) == (value, 0.0)
    np.testing.assert_array_equal(found.mask, mask)


@pytest.mark.parametrize("value", [0.0, 5.0])
def test_dark_air_is_no_border(value, head) -> None:
    head[framed()] = value
    assert constant_border(head) is None


def test_tissue_that_is_cut_by_the_box_is_no_border(head) -> None:
    """As a simulated neck of one value."""
    head[12:36, 10:30, :2] = 500.0
    assert constant_border(head) is None


def test_a_few_voxels_are_no_border(head) -> None:
    head[0, 0, 0] = head[0, 1, 0] = -1024.0
    assert constant_border(head) is None


def test_beside_standardised_tissue_a_border_becomes_the_darkest_of_it(head) -> None:
    standard = ((head - head.mean()) / head.std()).astype(np.float32)
    darkest = standard.min()
    standard[framed()] = -10.0
    found = constant_border(standard)
    assert found is not None
    assert found.value == -10.0
    assert found.air == pytest.approx(darkest, abs=0.01)


def test_volumes_of_one_value_have_neither_border_nor_stray_voxels() -> None:
    for value in (0.0, -3.0):
        flat = np.full(SHAPE, value, dtype=np.float32)
        assert constant_border(flat) is None
        assert not len(stray_voxels(flat, 2)[0])


@pytest.mark.parametrize("value", [32767.0, 7000.0, -1024.0, -32768.0])
@pytest.mark.parametrize("place", [(24, 20, 2), (0, 0, 0), (47, 39, 5)])
def test_a_single_stray_voxel_is_found_with_its_neighbours_median(value, place, head) -> None:
    i, j, k = place
    around = np.delete(head[max(i - 2, 0) : i + 3, max(j - 2, 0) : j + 3, k].ravel(), 0)
    head[place] = value
    places, medians = stray_voxels(head, 2)
    assert places.tolist() == [list(place)]
    assert around.min() <= medians[0] <= around.max()


def test_stray_voxels_stand_in_the_order_of_their_distance(head) -> None:
    head[20, 20, 1], head[30, 20, 3] = 9000.0, -20000.0
    places, medians = stray_voxels(head, 2)
    assert places.tolist() == [[30, 20, 3], [20, 20, 1]]
    assert len(medians) == 2


def test_neighbours_are_those_of_the_slice(head) -> None:
    head[:, 21, :] = 0
    head[24, 20, 3] = 30000.0
    head[24, 19:22, :3], head[24, 19:22, 4:] = 0, 0
    moved = np.ascontiguousarray(np.moveaxis(head, 2, 0))
    (place,), (median,) = stray_voxels(moved, 0)
    assert place.tolist() == [3, 24, 20]
    assert median == np.median(head[22:27, 18:23, 3])


def test_a_bright_region_stays_and_a_single_voxel_does_not(head) -> None:
    large = np.tile(head, (4, 4, 1))
    large[20:24, 20:24, 2] = 20000.0
    assert large[large > 100].size * 1e-3 > 16, "so small a region does not set the range"
    places, _ = stray_voxels(large, 2)
    assert not [place for place in places.tolist() if place in ([21, 21, 2], [22, 22, 2])]
    large[100, 100, 2] = 20000.0
    assert [100, 100, 2] in stray_voxels(large, 2)[0].tolist()


def test_a_dark_voxel_of_a_volume_without_air_is_no_stray_one(head) -> None:
    tissue = head + 700
    tissue[20, 20, 3] = 90  # such as a vessel
    assert len(stray_voxels(tissue, 2)[0]) == 0


def test_the_range_is_that_of_all_but_one_in_a_thousand() -> None:
    ramp = np.arange(1, 10001, dtype=np.float32)
    lowest, highest = robust_range(np.concatenate([ramp, [1e6]]))
    assert lowest == pytest.approx(10, abs=2)
    assert highest == pytest.approx(9991, abs=3)


def test_real_volumes_have_neither_border_nor_stray_voxels(shared_data: Path) -> None:
    few = [*shared_data.glob("open_ms/sub-L12_ses-1_*.nii.gz"), *shared_data.glob("open_ms_mni/sub-C19_T*.nii.gz")]
    few += [*shared_data.glob("tumour_native/*_T*.nii.gz"), *shared_data.glob("brainweb_sim/sub-BW05_T1w.nii.gz")]
    assert len(few) == 8
    for path in few:
        volume = read_volume(path)
        assert constant_border(volume.voxels) is None, path
        assert not len(stray_voxels(volume.voxels, through_plane_axis(volume.spacing, volume.voxels.shape))[0]), path
