# SPDX-License-Identifier: Apache-2.0
import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nibabel.affines import apply_affine

from bundle.errors import InputError
from bundle.registration import PlacedVolume
from bundle.registration.volumes import (
    COARSE,
    block_mean,
    head,
    head_places,
    overlap_fraction,
    refuse_shear,
)

SPACINGS = st.sampled_from([(0.5, 0.5, 4.0), (-0.7, 0.9, 2.0), (1.0, 1.0, 1.0), (2.5, 0.3, 0.6)])


def ramp(shape: tuple[int, int, int], affine: np.ndarray) -> PlacedVolume:
    """Return a volume that shows its own position, so that a coarse copy in the right place shows it too."""
    points = apply_affine(affine, np.moveaxis(np.indices(shape), 0, -1))
    return PlacedVolume((points @ [1.0, 2.0, 3.0] + 1000).astype(np.float32), affine, "ramp.nii")


def test_sheared_axes_are_refused_and_rounded_ones_are_not() -> None:
    sheared = np.eye(4)
    sheared[0, 1] = np.tan(np.radians(3))
    with pytest.raises(InputError, match=r"^a\.nii: the voxel axes are 3\.0 degrees off a right angle, .*; resample"):
        refuse_shear(sheared, "a.nii")
    turn = nib.eulerangles.euler2mat(0.09, -0.12, 0.05)
    refuse_shear(np.round(nib.affines.from_matvec(turn @ np.diag((-0.6, 0.6, 3.3)), (1, 2, 3)), 4), "a.nii")


def test_block_mean_leaves_out_incomplete_blocks() -> None:
    means = block_mean(np.arange(7.0).reshape(7, 1, 1), (3, 1, 1))
    np.testing.assert_array_equal(means.ravel(), [1, 4])


@given(SPACINGS, st.tuples(st.integers(9, 20), st.integers(9, 20), st.integers(1, 9)))
def test_coarse_copy_keeps_everything_in_its_place(spacing, shape) -> None:
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = (5, -6, 7)
    fine = ramp(shape, affine)
    coarse = fine.coarse
    blocks = np.rint(coarse.spacing / fine.spacing).astype(int)
    for index in (np.zeros(3, dtype=int), np.array(coarse.voxels.shape) - 1):
        within = index * blocks + np.argwhere(np.ones(blocks))
        np.testing.assert_allclose(apply_affine(coarse.affine, index), apply_affine(affine, within).mean(axis=0))
    shown = ramp(coarse.voxels.shape, coarse.affine).voxels
    np.testing.assert_allclose(coarse.voxels / coarse.voxels.max(), (shown / shown.max()).clip(max=1), rtol=5e-3)
    assert (coarse.spacing <= np.maximum(COARSE, fine.spacing) + 1e-9).all()
    assert (coarse.spacing > COARSE / 2)[np.array(shape) > 9].all()


def test_coarse_copy_scales_to_what_is_bright_but_not_to_an_outlier() -> None:
    voxels = np.tile(np.linspace(0, 500, 40, dtype=np.float32), (40, 40, 1))
    voxels[3, 3, 3] = 1e6
    coarse = PlacedVolume(voxels, np.diag([2, 2, 2, 1.0]), "a.nii").coarse
    assert coarse.voxels.max() == 1
    assert np.median(coarse.voxels) == pytest.approx(0.5, abs=0.02)


def test_head_is_the_largest_piece_of_tissue() -> None:
    voxels = np.full((30, 30, 10), 0.02, dtype=np.float32)
    voxels[5:20, 5:20, 2:8] = 0.8
    voxels[25:28, 25:28, 2:4] = 1.0
    expected = np.zeros(voxels.shape, dtype=bool)
    expected[5:20, 5:20, 2:8] = True
    np.testing.assert_array_equal(head(PlacedVolume(voxels, np.eye(4), "a.nii")), expected)


def test_places_are_those_of_the_head_s_voxels() -> None:
    voxels = np.zeros((3, 3, 3), dtype=np.float32)
    voxels[2, 0, 1] = 1
    affine = np.array([[0, 0, 2, 10], [0.5, 0, 0, 20], [0, 3, 0, 30], [0, 0, 0, 1.0]])
    np.testing.assert_allclose(head_places(PlacedVolume(voxels, affine, "a.nii")), [[12, 21, 30]])


@pytest.mark.parametrize(("shift", "expected"), [(0, 1.0), (5, 0.5), (-5, 0.5), (10, 0.0), (2, 0.8)])
def test_overlap_is_the_part_of_the_head_inside_the_field_of_view(shift: float, expected: float) -> None:
    target = PlacedVolume(np.ones((10, 4, 4), dtype=np.float32), np.eye(4), "t.nii")
    reference = PlacedVolume(np.ones((20, 8, 8), dtype=np.float32), np.diag([0.5, 0.5, 0.5, 1.0]), "r.nii")
    reference.affine[:3, 3] = -0.25  # the same box in mm
    matrix = np.eye(4)
    matrix[0, 3] = shift
    assert overlap_fraction(head_places(target), reference, matrix) == pytest.approx(expected)


@pytest.mark.parametrize(("size", "expected"), [(10.0, 1.0), (8.0, 0.8)])
def test_overlap_counts_whole_voxels_of_the_reference(size: float, expected: float) -> None:
    target = PlacedVolume(np.ones((10, 1, 1), dtype=np.float32), np.eye(4), "t.nii")
    affine = np.diag([size, 1, 1, 1.0])
    affine[0, 3] = 4.5  # one voxel about the middle
    reference = PlacedVolume(np.ones((1, 1, 1), dtype=np.float32), affine, "r.nii")
    assert overlap_fraction(head_places(target), reference, np.eye(4)) == pytest.approx(expected)
