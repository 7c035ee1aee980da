# SPDX-License-Identifier: Apache-2.0
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from bundle.batch.stopping import is_disk_full
from bundle.errors import InputError
from bundle.registration import PlacedVolume, StoredVolume, resample

from .conftest import Scan, grid, rigid

SHAPE = (31, 36, 14)
AFFINE = grid((-2.0, 2.1, 3.3), SHAPE, (5, -8, 12))
"""Oblique and left-handed."""


def smooth(shape: tuple[int, int, int], affine: np.ndarray = AFFINE) -> PlacedVolume:
    noise = np.random.default_rng(0).random(shape)
    return PlacedVolume((100 + 500 * ndimage.gaussian_filter(noise, 1.2)).astype(np.float32), affine, "r.nii")


def test_resample_on_its_own_grid_changes_nothing() -> None:
    reference = smooth(SHAPE)
    np.testing.assert_allclose(resample(reference, SHAPE, AFFINE, np.eye(4)), reference.voxels, rtol=1e-4)


@settings(deadline=None, max_examples=8)
@given(
    st.tuples(st.integers(-4, 4), st.integers(-4, 4), st.integers(-3, 3)), st.sampled_from([(31, 36, 14), (20, 9, 5)])
)
def test_resample_by_whole_voxels_is_a_copy_with_zeros_outside(offset, shape) -> None:
    reference = smooth(SHAPE)
    shift = np.eye(4)
    shift[:3, 3] = offset
    result = resample(reference, shape, AFFINE @ shift, np.eye(4))
    expected = np.zeros(shape, dtype=np.float32)
    inside = [(max(0, -o), min(n, size - o)) for o, n, size in zip(offset, shape, SHAPE, strict=True)]
    to = tuple(slice(*limits) for limits in inside)
    expected[to] = reference.voxels[tuple(slice(a + o, b + o) for (a, b), o in zip(inside, offset, strict=True))]
    np.testing.assert_allclose(result, expected, rtol=1e-4)


def test_resample_equals_scipy_s_cubic_spline_inside() -> None:
    reference, matrix = smooth(SHAPE), rigid((3, -4, 2), (2.3, -1.1, 4.2))
    shape, affine = (25, 40, 9), grid((1.9, 1.3, 4.1), (25, 40, 9), (-3, 2, 1))
    to_index = np.linalg.inv(AFFINE) @ matrix @ affine
    expected, weight = (
        ndimage.affine_transform(volume, to_index[:3, :3], to_index[:3, 3], shape, order=order, mode=mode)
        for volume, order, mode in ((reference.voxels, 3, "mirror"), (np.ones(SHAPE), 1, "constant"))
    )
    inside = weight == 1
    assert inside.mean() > 0.5
    np.testing.assert_allclose(resample(reference, shape, affine, matrix)[inside], expected[inside], rtol=2e-4)


def test_resample_follows_a_known_motion(scan: Scan) -> None:
    motion = rigid((4, -3, 6), (3, -5, 4))
    fine, coarse = (140, 160, 90), (60, 70, 30)
    reference = scan("T1w", fine, grid((1.2, 1.2, 1.7), fine, (-5, 3, 2)), motion)
    affine = grid((1.4, 1.4, 1.4), coarse, (4, 2, -3))
    expected = scan("T1w", coarse, affine)
    followed, ignored = (
        float(np.sqrt(np.mean((resample(reference, coarse, affine, matrix) - expected.voxels) ** 2)))
        for matrix in (motion, np.eye(4))
    )
    assert followed < 6  # of 900: what steep folds lose between voxels
    assert ignored > 20 * followed


def test_resample_takes_the_mean_over_thick_slices() -> None:
    reference = smooth((12, 13, 24), np.diag([2, 2, 1, 1.0]))
    thick = np.diag([2, 2, 4, 1.0])
    thick[2, 3] = 1.5  # the first slice spans four
    result = resample(reference, (12, 13, 6), thick, np.eye(4))
    np.testing.assert_allclose(result, reference.voxels.reshape(12, 13, 6, 4).mean(axis=-1), rtol=1e-4)


def test_resample_does_not_depend_on_its_slabs(monkeypatch: pytest.MonkeyPatch) -> None:
    reference, matrix = smooth(SHAPE), rigid((9, -7, 5), (4, 2, -3))
    shape, affine = (20, 21, 43), grid((3.0, 3.0, 1.0), (20, 21, 43))
    whole = resample(reference, shape, affine, matrix)
    module = sys.modules[resample.__module__]
    monkeypatch.setattr(module, "SLAB_VOXELS", 20 * 21 * 15)
    np.testing.assert_allclose(resample(reference, shape, affine, matrix), whole, atol=2e-3)  # of 350


def test_resample_does_not_depend_on_the_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    results = []
    for n_threads in (1, 2):
        monkeypatch.setattr("torch.get_num_threads", lambda n=n_threads: n)
        results.append(resample(smooth(SHAPE), (20, 21, 43), AFFINE, rigid((9, -7, 5), (4, 2, -3))))
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("order", ["C", "F"])
def test_resample_takes_a_volume_that_is_kept_in_a_file(order) -> None:
    reference, matrix = smooth(SHAPE), rigid((9, -7, 5), (4, 2, -3))
    ordered = PlacedVolume(np.asarray(reference.voxels, order=order), AFFINE, "r.nii")
    expected = resample(reference, (20, 21, 43), AFFINE, matrix)
    with StoredVolume(ordered) as stored:
        assert stored.shape == SHAPE
        np.testing.assert_array_equal(stored.box(np.s_[3:9, :, 5:6]), reference.voxels[3:9, :, 5:6])
        np.testing.assert_array_equal(resample(stored, (20, 21, 43), AFFINE, matrix), expected)


def test_resample_clips_the_ringing_of_the_spline() -> None:
    voxels = np.zeros(SHAPE, dtype=np.float32)
    voxels[10:20, 10:20, 4:9] = 1000
    result = resample(PlacedVolume(voxels, AFFINE, "r.nii"), SHAPE, AFFINE, rigid((0, 0, 0), (1, 1, 1.5)))
    assert result.min() == 0
    assert result.max() > 1000


def test_resample_is_zero_where_the_reference_does_not_reach() -> None:
    result = resample(smooth(SHAPE), (9, 8, 7), AFFINE, rigid((0, 0, 0), (500, 0, 0)))
    assert result.shape == (9, 8, 7)
    assert not result.any()


def test_resample_refuses_sheared_axes() -> None:
    sheared = AFFINE @ np.array([[1, 0.2, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    with pytest.raises(InputError, match=r"r\.nii: the voxel axes are .* off a right angle"):
        resample(smooth(SHAPE, sheared), SHAPE, AFFINE, np.eye(4))


def test_a_full_temporary_folder_is_told_of_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    volume = PlacedVolume(np.ones((40, 40, 40), np.float32), np.eye(4), "T1w.nii.gz")
    file = Path("/dev/full").open("wb", buffering=0)  # noqa: SIM115
    monkeypatch.setattr("tempfile.TemporaryFile", lambda **_: file)
    with pytest.raises(InputError, match=r"T1w\.nii\.gz: the temporary folder cannot hold this reference") as caught:
        StoredVolume(volume)
    assert not is_disk_full(caught.value)  # which would be told of the outputs' folder, and end the batch
    assert file.closed
