# SPDX-License-Identifier: Apache-2.0
import dataclasses
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from nibabel.affines import apply_affine
from scipy.ndimage import gaussian_filter, zoom

from bundle.data.reading import read_volume
from bundle.kspace import project
from bundle.volumes.enlarge import enlarge_voxels, regrid
from bundle.volumes.geometry import Volume
from bundle.volumes.nifti import write_volume

AFFINE = np.array([[-0.6, 0, 0.1, 9], [0, -0.6, -0.2, 8], [0.02, -0.04, 3.3, -4], [0, 0, 0, 1]])


def picture(shape: tuple[int, int, int] = (60, 75, 4)) -> np.ndarray:
    smooth = gaussian_filter(np.random.default_rng(0).random(shape), (2, 2, 0))
    return (500 + 4000 * (smooth - smooth.mean())).astype(np.float32)


def cropped(voxels: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Return the small image of the central k-space of odd numbers of samples, as a scanner without padding."""
    k_space = np.fft.fftshift(np.fft.fft2(voxels.astype(np.float64), axes=(0, 1)), axes=(0, 1))
    top, left = (n // 2 - kept // 2 for n, kept in zip(voxels.shape, (rows, columns), strict=False))
    block = np.fft.ifftshift(k_space[top : top + rows, left : left + columns], axes=(0, 1))
    small = np.fft.ifft2(block, axes=(0, 1)) * rows * columns / (voxels.shape[0] * voxels.shape[1])
    return small.real.astype(np.float32)


def save(path: Path, voxels: np.ndarray, affine: np.ndarray = AFFINE, qform: np.ndarray | None = None) -> Path:
    image = nib.Nifti1Image(voxels, affine)
    image.set_sform(affine, 1)
    image.set_qform(affine if qform is None else qform, 2)
    image.header.set_xyzt_units("mm", "sec")
    image.header["descrip"] = b"TE=100"
    nib.save(image, path)
    return path


def coarser(affine: np.ndarray, rows: float, columns: float) -> np.ndarray:
    return affine @ np.diag([rows, columns, 1, 1])


def enlarge(volume: Volume, shape: tuple[int, ...]) -> Volume:
    """Return an enlarged volume with its voxels."""
    return dataclasses.replace(regrid(volume, shape), voxels=enlarge_voxels(volume.voxels, shape))


def test_enlarged_small_matrix_overlays_the_zero_filled_large_one(tmp_path: Path) -> None:
    """19 x 25 of 76 x 75 samples: what zero-filling on the large matrix gives, on the same affine."""
    high_res = picture((76, 75, 4))
    small = save(tmp_path / "small.nii", cropped(high_res, 19, 25), coarser(AFFINE, 4, 3))
    enlarged = enlarge(read_volume(small), (76, 75, 4))
    slices = torch.from_numpy(high_res).double().movedim(-1, 0)
    expected = project(slices, 4, 3).movedim(0, -1).numpy()
    np.testing.assert_allclose(enlarged.voxels, expected, rtol=0, atol=1e-5 * expected.max())
    np.testing.assert_allclose(enlarged.affine, AFFINE, atol=1e-6)
    np.testing.assert_allclose(enlarged.spacing, read_volume(save(tmp_path / "large.nii", high_res)).spacing, rtol=1e-6)


def test_resizing_between_edges_would_shift_by_one_and_a_half_voxels_of_four() -> None:
    """What the aligned grid is for: a blob that image software enlarges comes out (4 - 1) / 2 voxels further."""
    rows = np.exp(-(((np.arange(64) - 30) / 6) ** 2))
    high_res = np.broadcast_to(rows[:, None, None], (64, 64, 1)).astype(np.float32)
    small = high_res[::4, ::4]

    def centre(voxels: np.ndarray) -> float:
        profile = voxels.mean((1, 2))
        return float((profile * np.arange(64)).sum() / profile.sum())

    assert centre(enlarge_voxels(small, (64, 64, 1))) == pytest.approx(centre(high_res), abs=0.01)
    at_edges = zoom(small, (4, 4, 1), order=3, mode="grid-wrap", grid_mode=True)
    assert centre(at_edges) == pytest.approx(centre(high_res) + 1.5, abs=0.05)


@pytest.mark.parametrize("index", [(0, 0, 0), (0, 0, 3)])
def test_voxel_zero_of_every_slice_keeps_its_centre(tmp_path: Path, index: tuple[int, int, int]) -> None:
    volume = read_volume(save(tmp_path / "a.nii", cropped(picture(), 30, 25)))
    enlarged = regrid(volume, (97, 75, 4))
    np.testing.assert_allclose(apply_affine(enlarged.affine, index), apply_affine(volume.affine, index))
    last = apply_affine(volume.affine, (29, 24, 3))
    np.testing.assert_allclose(apply_affine(enlarged.affine, (29 * 97 / 30, 72, 3)), last)


def test_both_forms_are_scaled_in_their_own_frames_and_keep_their_codes(tmp_path: Path) -> None:
    turned = np.array([[0, -0.6, 0, 20], [0.6, 0, 0, 30], [0, 0, 3.3, 1], [0, 0, 0, 1]])
    volume = read_volume(save(tmp_path / "a.nii", cropped(picture(), 30, 25), qform=turned))
    path = tmp_path / "b.nii.gz"
    write_volume(path, np.ones((60, 75, 4), np.float32), regrid(volume, (60, 75, 4)))
    before, after = nib.load(tmp_path / "a.nii").header, nib.load(path).header
    assert after.get_data_shape() == (60, 75, 4)
    np.testing.assert_allclose(after.get_zooms(), np.array(before.get_zooms()) / (2, 3, 1), rtol=1e-6)
    np.testing.assert_allclose(after.get_sform(), coarser(before.get_sform(), 1 / 2, 1 / 3), rtol=1e-6)
    np.testing.assert_allclose(after.get_qform(), coarser(before.get_qform(), 1 / 2, 1 / 3), atol=1e-6)
    for name in ("sform_code", "qform_code", "xyzt_units", "descrip", "quatern_b", "qoffset_x"):
        np.testing.assert_array_equal(after[name], before[name])


@pytest.mark.parametrize("forms", [("sform",), ("qform",), ()])
def test_a_header_with_one_form_or_none_places_voxel_zero_where_it_was(tmp_path: Path, forms: tuple[str, ...]) -> None:
    image = nib.Nifti1Image(cropped(picture(), 31, 25), None)
    image.header.set_zooms((0.6, 0.6, 3))
    affine = np.diag([0.6, 0.6, 3, 1])
    affine[:3, 3] = 5
    if forms:
        getattr(image, f"set_{forms[0]}")(affine, 1)
    nib.save(image, tmp_path / "a.nii")
    before = read_volume(tmp_path / "a.nii")
    enlarged = enlarge(before, (62, 75, 4))
    write_volume(tmp_path / "b.nii", enlarged.voxels, enlarged)
    after = read_volume(tmp_path / "b.nii")
    np.testing.assert_allclose(after.affine, coarser(before.affine, 1 / 2, 1 / 3), atol=1e-5)
    if forms:
        assert [after.header[f"{form}_code"] for form in forms] == [1]


@pytest.mark.parametrize("stored", [(20, 24), (20, 24, 1), (20, 24, 1, 1)])
def test_a_slice_stored_with_other_numbers_of_axes_keeps_them(tmp_path: Path, stored: tuple[int, ...]) -> None:
    volume = read_volume(save(tmp_path / "a.nii", picture((20, 24, 1)).reshape(stored)))
    enlarged = enlarge(volume, (40, 48, 1))
    write_volume(tmp_path / "b.nii", enlarged.voxels, enlarged)
    assert nib.load(tmp_path / "b.nii").shape == (40, 48, *stored[2:])


def test_regrid_leaves_the_volume_before_as_it_was(tmp_path: Path) -> None:
    volume = read_volume(save(tmp_path / "a.nii", picture((20, 24, 3))))
    header = volume.header.copy()
    regrid(volume, (40, 48, 3))
    assert volume.header == header


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_along_any_axis_are_enlarged_in_their_plane(axis: int) -> None:
    voxels = np.moveaxis(picture((20, 24, 3)), 2, axis)
    shape = tuple(n if i == axis else 2 * n for i, n in enumerate(voxels.shape))
    expected = np.moveaxis(enlarge_voxels(picture((20, 24, 3)), (40, 48, 3)), 2, axis)
    np.testing.assert_allclose(enlarge_voxels(voxels, shape), expected, rtol=1e-6)


def test_chunks_of_slices_give_what_all_at_once_do(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = enlarge_voxels(picture((20, 24, 7)), (40, 48, 7))
    monkeypatch.setattr("bundle.volumes.enlarge.CHUNK_PIXELS", 40 * 48 * 3)
    found = enlarge_voxels(picture((20, 24, 7)), (40, 48, 7))
    np.testing.assert_allclose(found, expected, atol=1e-6 * expected.max())  # the transforms of a batch round otherwise


def test_a_magnitude_stays_one_and_an_image_with_signs_keeps_them() -> None:
    step = np.zeros((20, 20, 1), np.float32)
    step[8:12, 8:12] = 100
    enlarged = enlarge_voxels(step, (40, 40, 1))
    signed = enlarge_voxels(step - 1, (40, 40, 1)) + 1
    assert enlarged.min() >= 0
    assert signed.min() < -1
    np.testing.assert_allclose(np.abs(signed), enlarged, atol=1e-4)


@pytest.mark.parametrize("shape", [(40, 48, 6), (19, 48, 3), (20, 24, 2)])
def test_a_shape_that_shrinks_or_grows_along_all_axes_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="give no axis less, and one the same"):
        enlarge_voxels(picture((20, 24, 3)), shape)
