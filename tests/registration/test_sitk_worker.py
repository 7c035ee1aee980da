# SPDX-License-Identifier: Apache-2.0
import nibabel as nib
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from bundle.registration.sitk_worker import from_transform, to_image, to_transform

TO_LPS = np.array([-1.0, -1.0, 1.0])
VOXELS = np.arange(4 * 5 * 3, dtype=np.float32).reshape(4, 5, 3)
angles = st.tuples(*[st.floats(-60, 60)] * 3)
points = st.tuples(*[st.floats(-100, 100)] * 3)


def oblique(degrees: tuple[float, ...], spacing: tuple[float, ...], origin: tuple[float, ...]) -> np.ndarray:
    matrix = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix() @ np.diag(spacing)
    return nib.affines.from_matvec(matrix, origin)


@settings(deadline=None, max_examples=25)
@given(angles, points, st.sampled_from([(0.6, 0.6, 3.3), (-0.6, 0.7, 3.3), (-1, -1, 1), (1, 2, -3)]))
def test_image_puts_every_voxel_where_nifti_does(degrees, origin, spacing) -> None:
    affine = oblique(degrees, spacing, origin)
    image = to_image(VOXELS, affine)
    for index in np.ndindex(VOXELS.shape):
        place = np.array(image.TransformIndexToPhysicalPoint(index))
        np.testing.assert_allclose(place, TO_LPS * nib.affines.apply_affine(affine, index), atol=1e-6)
        assert image[index] == VOXELS[index]


@settings(deadline=None, max_examples=50)
@given(angles, points, points, points)
def test_transform_moves_points_as_its_matrix_does_about_any_centre(degrees, shift, centre, point) -> None:
    matrix = oblique(degrees, (1, 1, 1), shift)
    transform = to_transform(matrix, np.array(centre))
    moved = TO_LPS * np.array(transform.TransformPoint((TO_LPS * point).tolist()))
    np.testing.assert_allclose(moved, nib.affines.apply_affine(matrix, point), atol=1e-8)
    np.testing.assert_allclose(from_transform(transform), matrix, atol=1e-8)


def test_a_turn_to_the_left_in_ras_is_known_to_itk_by_its_own_axes() -> None:
    # 90 degrees about the upward axis: right goes to front; in LPS, left to back.
    matrix = oblique((0, 0, 90), (1, 1, 1), (0, 0, 0))
    moved = to_transform(matrix, np.zeros(3)).TransformPoint([-10.0, 0.0, 0.0])  # 10 mm to the right
    np.testing.assert_allclose(moved, [0, -10, 0], atol=1e-9)  # 10 mm to the front
