# SPDX-License-Identifier: Apache-2.0
import itertools

import nibabel as nib
import numpy as np
import pytest
from nibabel.orientations import apply_orientation, inv_ornt_aff
from scipy.spatial.transform import Rotation

from bundle.drawing.orientation import DisplayOrientation

SPACING = (1.0, 1.5, 4.0)
ALL_ORIENTATIONS = [
    np.array(list(zip(order, flips, strict=True)))
    for order in itertools.permutations(range(3))
    for flips in itertools.product([1, -1], repeat=3)
]


def ras_volume() -> nib.Nifti1Image:
    """A volume in RAS order whose voxel values grow towards right, anterior and superior: 1, 10, 100 a step."""
    right, anterior, superior = np.meshgrid(np.arange(5), np.arange(6), np.arange(7), indexing="ij")
    return nib.Nifti1Image((right + 10 * anterior + 100 * superior).astype(np.float32), np.diag([*SPACING, 1.0]))


def reoriented(orientation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    image = ras_volume()
    return (
        apply_orientation(image.get_fdata(), orientation),
        image.affine @ inv_ornt_aff(orientation, image.shape),
    )


@pytest.mark.parametrize(
    ("world", "row_step", "column_step", "left", "top", "aspect"),
    [(2, -10, -1, "R", "A", 1.5 / 1.0), (1, -100, -1, "R", "S", 4.0 / 1.0), (0, -100, -10, "A", "S", 4.0 / 1.5)],
    ids=["axial", "coronal", "sagittal"],
)
@pytest.mark.parametrize("orientation", ALL_ORIENTATIONS, ids=str)
def test_display_is_radiological_from_every_orientation(
    orientation: np.ndarray, world: int, row_step: int, column_step: int, left: str, top: str, aspect: float
) -> None:
    volume, affine = reoriented(orientation)
    axis = int(orientation[world, 0])  # where nibabel put the world axis: let slices lie along it
    order = [*(voxel for voxel in range(3) if voxel != axis), axis]
    volume, affine = volume.transpose(order), affine[:, [*order, 3]]
    display = DisplayOrientation.of(affine)
    slices = display.turn(volume)
    assert (np.diff(slices, axis=1) == row_step).all()
    assert (np.diff(slices, axis=2) == column_step).all()
    assert display.sides == (left, top)
    assert display.aspect == pytest.approx(aspect)
    assert len(slices) == volume.shape[2]
    for k, image in enumerate(slices):
        assert set(image.ravel()) == set(volume[..., k].ravel())


def test_display_of_an_oblique_slice_is_the_nearest_plane() -> None:
    image = ras_volume()
    affine = image.affine.copy()
    affine[:3, :3] = Rotation.from_euler("xyz", [20, -15, 25], degrees=True).as_matrix() @ affine[:3, :3]
    oblique, straight = (DisplayOrientation.of(matrix) for matrix in (affine, image.affine))
    assert (oblique.axes, oblique.flipped, oblique.sides) == (straight.axes, straight.flipped, straight.sides)
    assert oblique.aspect == pytest.approx(straight.aspect)


def test_display_of_one_slice() -> None:
    volume = np.arange(6.0).reshape(2, 3, 1)
    np.testing.assert_array_equal(DisplayOrientation.of(np.eye(4)).turn(volume), [[[5, 2], [4, 1], [3, 0]]])


def test_display_of_a_real_volume_equals_nibabels_canonical_order_turned(shared_data) -> None:
    image = nib.load(shared_data / "open_ms" / "sub-L12_ses-1_T2w.nii.gz")
    assert nib.aff2axcodes(image.affine) == ("L", "P", "S")
    display = DisplayOrientation.of(image.affine)
    canonical = np.asarray(nib.as_closest_canonical(image).dataobj)
    np.testing.assert_array_equal(display.turn(image.dataobj), np.flip(canonical, (0, 1)).T)
    assert display.aspect == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 4, 2)])
def test_display_refuses_what_is_no_volume(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="pass one volume of three dimensions"):
        DisplayOrientation.of(np.eye(4)).turn(np.zeros(shape))


@pytest.mark.parametrize("affine", [np.zeros((4, 4)), np.eye(3), np.full((4, 4), np.nan)])
def test_display_refuses_an_affine_without_directions(affine: np.ndarray) -> None:
    with pytest.raises(ValueError, match="affine is no invertible 4 x 4 matrix"):
        DisplayOrientation.of(affine)
