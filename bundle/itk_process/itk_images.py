# SPDX-License-Identifier: Apache-2.0
"""Volumes and rigid transforms as ITK takes them: the only place where right-anterior-superior meets ITK's axes.

NIfTI counts millimetres to the right, to the front and upwards (RAS), ITK to the left, to the back and upwards (LPS).
Everything outside this package is RAS.
"""

import functools
import warnings
from typing import Any, Final, NamedTuple

import numpy as np
from nibabel.affines import voxel_sizes

from bundle.errors import InputError

LPS: Final = np.diag([-1.0, -1.0, 1.0, 1.0])
"""RAS to LPS, and its own inverse."""
SHEAR: Final = 1e-3
"""Largest cosine between two voxel axes that counts as a right angle: 0.06 degrees, 0.2 mm over a head."""


class Image(NamedTuple):
    """Hold a volume as it goes from process to process.

    Attributes:
        voxels: (X, Y, Z), float32 or uint8.
        affine: (4, 4), voxel index to RAS mm.
        name: what to call the volume in messages.
    """

    voxels: np.ndarray
    affine: np.ndarray
    name: str


@functools.cache
def load_itk() -> Any:
    """Return the module ``itk`` with the parts that registration needs, loaded: seconds, once a process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # loading warns of its own classes, and crashes where warnings are errors
        import itk

        # What is first used outside this block would warn there.
        image = type(itk.image_from_array(np.zeros((1, 1, 1), np.float32)))
        itk.array_view_from_image(image.New())
        itk.array_from_matrix(itk.matrix_from_array(np.eye(3)))
        metric = itk.MattesMutualInformationImageToImageMetricv4[image, image].New()
        itk.RegistrationParameterScalesFromPhysicalShift[type(metric)].New()
        itk.RegularStepGradientDescentOptimizerv4.D.New()
        itk.ImageRegistrationMethodv4[image, image].New()
        itk.ImageMaskSpatialObject[3].New()
        itk.Euler3DTransform.D.New()
        itk.ResampleImageFilter[image, image].New()
        itk.BSplineInterpolateImageFunction[image, itk.D, itk.F].New()
    return itk


def to_itk(voxels: np.ndarray, affine: np.ndarray, name: str) -> Any:
    """Return a volume as an ITK image with spacing, origin and direction.

    Args:
        voxels: (X, Y, Z), float32 or uint8.
        affine: (4, 4), voxel index to RAS mm; left-handed ones are as good.
        name: what to call the volume in messages.

    Raises:
        InputError: if the voxel axes are not at right angles, which ITK's gradients take for granted.
    """
    itk = load_itk()
    axes = (LPS @ affine)[:3]
    spacing = voxel_sizes(affine)
    direction = axes[:, :3] / spacing
    shear = float(np.abs(direction.T @ direction - np.eye(3)).max())
    if shear > SHEAR:
        raise InputError(
            f"{name}: the voxel axes are {np.degrees(np.arcsin(min(shear, 1))):.1f} degrees off a right angle, which "
            "registration cannot use; resample this image to a grid with right angles first."
        )
    # A copy: ITK's own references do not keep a view's memory. Its arrays run (Z, Y, X).
    image = itk.image_from_array(np.ascontiguousarray(voxels.T))
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(axes[:, 3].tolist())
    image.SetDirection(itk.matrix_from_array(np.ascontiguousarray(direction)))
    return image


def to_transform(matrix: np.ndarray, centre: np.ndarray) -> Any:
    """Return a rigid transform as ITK's Euler3DTransform.

    Args:
        matrix: (4, 4), rigid, RAS mm, target point to reference point as ITK's resampling wants it.
        centre: (3,), RAS mm: the point that the angles turn about.
    """
    itk = load_itk()
    in_lps = LPS @ matrix @ LPS
    fixed = LPS[:3, :3] @ centre
    transform = itk.Euler3DTransform.D.New()
    transform.SetCenter(fixed.tolist())
    transform.SetMatrix(itk.matrix_from_array(np.ascontiguousarray(in_lps[:3, :3])))
    transform.SetTranslation((in_lps[:3, :3] @ fixed + in_lps[:3, 3] - fixed).tolist())
    return transform


def from_transform(transform: Any) -> np.ndarray:
    """Return ITK's Euler3DTransform as a matrix (4, 4), RAS mm."""
    in_lps = np.eye(4)
    in_lps[:3, :3] = load_itk().array_from_matrix(transform.GetMatrix())
    in_lps[:3, 3] = list(transform.GetOffset())
    return LPS @ in_lps @ LPS
