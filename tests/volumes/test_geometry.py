# SPDX-License-Identifier: Apache-2.0
import dataclasses
import itertools
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle.data.reading import read_volume
from bundle.errors import InputError
from bundle.volumes.geometry import (
    GRID_TOLERANCE,
    Volume,
    check_same_grid,
    corner_distance,
    corners,
    reorient_like,
    same_grid,
    through_plane_axis,
)

SHAPE = (18, 20, 5)
SPACING = (0.6, 0.7, 3.3)


def affine_of(
    angles: tuple[float, float, float] = (0.1, -0.2, 0.3), origin: tuple[float, ...] = (9, 8, -4)
) -> np.ndarray:
    return nib.affines.from_matvec(nib.eulerangles.euler2mat(*angles) @ np.diag(SPACING), origin)


def volume_of(voxels: np.ndarray, affine: np.ndarray, name: str = "T2w.nii.gz") -> Volume:
    return Volume(voxels, affine, Path(name), nib.Nifti1Image(voxels, affine).header)


@pytest.fixture
def target() -> Volume:
    return volume_of(np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE), affine_of())


def moved(volume: Volume, affine: np.ndarray) -> Volume:
    return volume_of(volume.voxels, affine, "T1w.nii.gz")


@pytest.mark.parametrize(
    ("spacing", "axis"),
    [
        ((0.6, 0.6, 3.3), 2),
        ((3.3, 0.6, 0.6), 0),
        ((0.6, 3.3, 0.6), 1),
        ((1.0, 1.0, 1.0), 2),
        ((1.0, 1.0, 0.9), 1),
        ((1.0, 0.9, 1.0), 2),
        ((1.0, 0.9, 0.9995), 2),
        ((1.0, 0.9, 0.998), 0),
        ((1.0, 0.9, 1.0 * (1 - 1e-3)), 2),
    ],
)
def test_through_plane_axis_is_the_largest_spacing_and_last_on_a_tie(
    spacing: tuple[float, float, float], axis: int
) -> None:
    assert through_plane_axis(spacing) == axis


@pytest.mark.parametrize(("shape", "axis"), [((1, 20, 21), 0), ((20, 1, 21), 1), ((20, 21, 1), 2), ((20, 21, 5), 1)])
def test_through_plane_axis_is_the_only_axis_of_one_voxel(shape: tuple[int, int, int], axis: int) -> None:
    assert through_plane_axis((1.0, 4.0, 2.0), shape) == axis


@pytest.mark.parametrize(
    ("folder", "n_slices"), [("open_ms", (36, 44)), ("open_ms_mni", (182,)), ("ixi_slices", (25,))]
)
def test_through_plane_axis_of_real_volumes_is_the_third(
    shared_data: Path, folder: str, n_slices: tuple[int, ...]
) -> None:
    for path in (shared_data / folder).glob("*T2w*"):
        image = nib.load(path)
        axis = through_plane_axis(image.header.get_zooms())
        assert axis == 2
        assert image.shape[axis] in n_slices


def test_corners_are_the_centres_of_the_outermost_voxels() -> None:
    found = corners(nib.affines.from_matvec(np.diag([2, 3, 4]), (1, 0, -1)), (3, 4, 1))
    np.testing.assert_array_equal(found[::2], [[1, 0, -1], [1, 9, -1], [5, 0, -1], [5, 9, -1]])
    np.testing.assert_array_equal(found[1::2], found[::2])  # one slice has the same centre twice


def test_corner_distance_of_a_shift_is_its_length() -> None:
    assert corner_distance(affine_of(), affine_of(origin=(12, 12, -4)), SHAPE) == pytest.approx(5.0)


@given(st.integers(0, 17), st.integers(0, 19), st.integers(0, 4), st.floats(-0.3, 0.3), st.floats(-9, 9))
def test_corner_distance_bounds_that_of_every_voxel(i: int, j: int, k: int, angle: float, shift: float) -> None:
    a, b = affine_of(), affine_of((0.1, angle, 0.3), (shift, 8, -4))
    distance = np.linalg.norm((a - b) @ [i, j, k, 1])
    assert distance <= corner_distance(a, b, SHAPE) + 1e-9


@pytest.mark.parametrize(("voxels", "same"), [(0.9, True), (1.1, False)])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_same_grid_turns_at_its_tolerance(target: Volume, voxels: float, same: bool, axis: int) -> None:
    affine = target.affine.copy()
    affine[axis, 3] += voxels * GRID_TOLERANCE * min(SPACING)
    assert same_grid(target, moved(target, affine)) is same


def test_same_grid_includes_its_tolerance() -> None:
    voxel, shifted = np.eye(4), np.eye(4)
    shifted[0, 3] = GRID_TOLERANCE
    assert same_grid(*(volume_of(np.zeros((1, 1, 1), np.float32), affine) for affine in (voxel, shifted)))


def test_same_grid_holds_for_registered_real_pairs_and_rounded_headers(shared_data: Path) -> None:
    target = read_volume(shared_data / "open_ms/sub-L12_ses-1_T2w.nii.gz")
    check_same_grid(target, read_volume(shared_data / "open_ms/sub-L12_ses-1_T1w.nii.gz"))
    check_same_grid(target, read_volume(shared_data / "open_ms_native/sub-L12_ses-1_T2w.nii.gz"))


def test_check_same_grid_refuses_real_volumes_as_scanned(shared_data: Path) -> None:
    target = read_volume(shared_data / "open_ms_native/sub-L12_ses-1_T2w.nii.gz")
    reference = read_volume(shared_data / "open_ms_native/sub-L12_ses-1_T1w.nii.gz")
    with pytest.raises(InputError) as caught:
        check_same_grid(target, reorient_like(reference, target))
    text = str(caught.value)
    assert text.startswith(f"{reference.path}: this reference is not on the voxel grid of {target.path} (")
    assert "256 x 256 x 48 voxels against 348 x 384 x 44; spacing 0.9102 x 0.9102 x 3 mm against 0.599 x" in text
    assert "mm apart); register the reference to the target and resample it to the target's grid first" in text


def test_check_same_grid_names_only_what_differs(target: Volume) -> None:
    with pytest.raises(InputError, match=r"T2w\.nii\.gz \(corners up to 1\.00 mm apart\);"):
        check_same_grid(target, moved(target, affine_of(origin=(9, 9, -4))))
    with pytest.raises(InputError, match=r"\(axes turned by up to 5\.7\d degrees; corners up to"):
        check_same_grid(target, moved(target, affine_of((0.2, -0.2, 0.3))))
    with pytest.raises(InputError, match=r"\(axes run LAS against RAS; corners up to"):
        check_same_grid(target, moved(target, target.affine @ np.diag([-1, 1, 1, 1])))
    with pytest.raises(InputError, match=r"\(18 x 20 x 4 voxels against 18 x 20 x 5; corners up to 3\.30 mm apart\)"):
        check_same_grid(target, volume_of(target.voxels[..., :4], target.affine, "T1w.nii.gz"))
    with pytest.raises(InputError, match=r"\(spacing 0\.6 x 0\.7 x 4\.62 mm against 0\.6 x 0\.7 x 3\.3 mm; corners up"):
        check_same_grid(target, moved(target, target.affine @ np.diag([1, 1, 1.4, 1])))


def test_check_same_grid_names_spacing_and_angle_from_a_thousandth_and_a_hundredth_of_a_degree_on(
    target: Volume,
) -> None:
    """A matrix of another size is what differs in any case."""
    fewer = target.voxels[..., :4]
    for scale, named in ((1.0005, False), (1.002, True)):
        with pytest.raises(InputError) as caught:
            check_same_grid(target, volume_of(fewer, target.affine @ np.diag([scale, scale, scale, 1]), "T1w.nii.gz"))
        assert ("spacing" in str(caught.value)) is named
    for degrees, named in ((0.005, False), (0.02, True)):
        with pytest.raises(InputError) as caught:
            check_same_grid(target, volume_of(fewer, affine_of((0.1, -0.2, 0.3 + np.radians(degrees))), "T1w.nii.gz"))
        assert ("turned by up to" in str(caught.value)) is named


@pytest.mark.parametrize("sign", [1, -1])
def test_check_same_grid_takes_axes_as_parallel_where_their_cosine_is_rounded_beyond_1(sign: int) -> None:
    """Warnings are errors: the arc cosine of what lies beyond 1 would be one."""
    voxels = np.zeros(SHAPE, np.float32)
    for angle in np.linspace(0.01, 0.4, 20):
        target = volume_of(voxels, affine_of((angle, 2 * angle, -angle)))
        other = volume_of(voxels, target.affine @ np.diag([sign, sign, sign, 1]) + 9 * np.eye(4, k=3), "T1w.nii.gz")
        with pytest.raises(InputError) as caught:
            check_same_grid(target, other)
        assert "turned" not in str(caught.value)


def stored_otherwise(volume: Volume, order: tuple[int, ...], flips: tuple[int, ...]) -> Volume:
    """Store a volume with its axes permuted and flipped, every voxel where it was."""
    orientation = np.array(list(zip(order, flips, strict=True)), dtype=float)
    image = nib.Nifti1Image(volume.voxels, volume.affine).as_reoriented(orientation)
    return volume_of(np.ascontiguousarray(image.dataobj), image.affine, "T1w.nii.gz")


@pytest.mark.parametrize("angles", [(0.1, -0.2, 0.3), (0.75, 0.8, -0.8)])
@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, 1, 1), (-1, -1, -1)])
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_reorient_like_undoes_every_order_and_flip(
    target: Volume, order: tuple[int, ...], flips: tuple[int, ...], angles: tuple[float, float, float]
) -> None:
    target = volume_of(target.voxels, affine_of(angles))
    restored = reorient_like(stored_otherwise(target, order, flips), target)
    np.testing.assert_array_equal(restored.voxels, target.voxels)
    np.testing.assert_allclose(restored.affine, target.affine, atol=1e-12)
    np.testing.assert_allclose(restored.spacing, target.spacing)
    check_same_grid(target, restored)


def test_reorient_like_matches_axes_where_rounding_tips_the_anatomical_direction(target: Volume) -> None:
    # In-plane axes at 45 degrees: a hair to either side, nibabel's axis codes swap.
    target = volume_of(target.voxels, affine_of((0, 0, np.pi / 4 - 1e-6)))
    reference = moved(target, affine_of((0, 0, np.pi / 4 + 1e-6)))
    assert reorient_like(reference, target) is reference
    assert same_grid(target, reference)


def test_reorient_like_keeps_every_voxel_in_its_place(target: Volume) -> None:
    other = stored_otherwise(target, (2, 0, 1), (1, -1, 1))
    restored = reorient_like(other, target)
    for volume in (other, restored):
        places = {round(float(v)): volume.affine @ [*i, 1] for i, v in np.ndenumerate(volume.voxels)}
        if volume is other:
            before = places
    assert before.keys() == places.keys()
    np.testing.assert_allclose([before[key] for key in before], [places[key] for key in before], atol=1e-9)


def test_reorient_like_gives_a_header_that_describes_the_result(target: Volume) -> None:
    restored = reorient_like(stored_otherwise(target, (2, 0, 1), (1, -1, 1)), target)
    assert restored.header.get_data_shape() == target.voxels.shape
    np.testing.assert_allclose(restored.header.get_best_affine(), target.affine, atol=1e-6)
    assert restored.voxels.flags.c_contiguous


def test_reorient_like_keeps_what_else_the_header_says(target: Volume) -> None:
    other = stored_otherwise(target, (2, 0, 1), (1, -1, 1))
    other.header["descrip"] = b"as scanned"
    assert reorient_like(other, target).header["descrip"] == b"as scanned"


def test_reorient_like_returns_the_volume_itself_where_nothing_changes(target: Volume) -> None:
    tilted = moved(target, affine_of((0.2, -0.1, 0.4), (1, 2, 3)))
    assert reorient_like(tilted, target) is tilted


def test_reorient_like_leaves_another_grid_another_grid(target: Volume) -> None:
    coarse = dataclasses.replace(moved(target, target.affine @ np.diag([-1, 1, 2, 1])))
    with pytest.raises(InputError, match="spacing"):
        check_same_grid(target, reorient_like(coarse, target))
