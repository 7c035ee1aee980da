# SPDX-License-Identifier: Apache-2.0
"""Slices the way a radiologist hangs them, whatever the order of the voxels in the file."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from nibabel.affines import voxel_sizes
from nibabel.orientations import io_orientation

_SIDES = "RAS"


class DisplayVolume(NamedTuple):
    """A stack of slices ready to be drawn with the first row on top.

    Attributes:
        volume: array (rows, columns, slices); slice k is slice k of the volume that came in.
        aspect: height of a pixel divided by its width, as matplotlib's ``imshow`` takes it.
        left: the patient's side at the left edge, one letter of R L A P S I.
        top: the patient's side at the top edge.
    """

    volume: npt.NDArray[np.generic]
    aspect: float
    left: str
    top: str


def display_orientation(volume: npt.ArrayLike, affine: npt.ArrayLike, axis: int = -1) -> DisplayVolume:
    """Turn and flip the slices of a volume for display.

    Axial slices show anterior up and the patient's right on the viewer's left (radiological convention),
    coronal slices superior up and right on the left, sagittal slices superior up and anterior on the left.
    An oblique slice is shown as the nearest of these, without resampling: voxels are only reordered.

    Args:
        volume: array of three dimensions, in the order of the file.
        affine: its 4 x 4 affine from voxel indices to millimetres, RAS+ as nibabel and NIfTI have it
            (not ITK's LPS).
        axis: the through-plane axis.

    Raises:
        ValueError: if the volume is not 3-D, the axis is not one of its axes or the affine cannot be inverted.
    """
    array, matrix = np.asarray(volume), np.asarray(affine, dtype=np.float64)
    _check(array, matrix, axis)
    # World axis (0 right, 1 anterior, 2 superior) and direction that come closest to each voxel axis.
    world, direction = io_orientation(matrix).astype(int).T
    through = axis % 3
    # In every plane the higher world axis runs down the rows and the lower along the columns, both towards
    # their negative ends: S before A before R is just what the conventions above ask for.
    column, row = sorted((voxel for voxel in range(3) if voxel != through), key=lambda voxel: world[voxel])
    for voxel in (row, column):
        if direction[voxel] > 0:
            array = np.flip(array, voxel)
    spacing = voxel_sizes(matrix)
    return DisplayVolume(
        volume=array.transpose(row, column, through),
        aspect=float(spacing[row] / spacing[column]),
        left=_SIDES[world[column]],
        top=_SIDES[world[row]],
    )


def _check(array: npt.NDArray[np.generic], affine: npt.NDArray[np.float64], axis: int) -> None:
    if array.ndim != 3:
        raise ValueError(f"volume has shape {array.shape}; pass one volume of three dimensions.")
    if not -3 <= axis < 3:
        raise ValueError(f"axis is {axis}; pass 0, 1 or 2, the axis across the slices.")
    if affine.shape != (4, 4) or not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
        raise ValueError("affine is no invertible 4 x 4 matrix; pass the affine of the volume's file.")
