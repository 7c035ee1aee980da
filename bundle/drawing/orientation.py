# SPDX-License-Identifier: Apache-2.0
"""Slices the way a radiologist hangs them, whatever the order of the voxels in the file."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from nibabel.affines import voxel_sizes
from nibabel.orientations import io_orientation

_SIDES = "RAS"


class DisplayOrientation(NamedTuple):
    """How the slices of a volume, along its axis 2, are turned and flipped for display.

    Axial slices show anterior up and the patient's right on the viewer's left (radiological convention), coronal ones
    superior up and right on the left, sagittal ones superior up and anterior on the left, oblique ones the nearest of
    these, without resampling.
    """

    axes: tuple[int, int]  # that become rows and columns
    flipped: tuple[int, ...]  # axes that are reversed
    aspect: float  # height of a pixel divided by its width
    sides: tuple[str, str]  # of the patient, at the left and the top edge: letters of R A S

    @classmethod
    def of(cls, affine: npt.ArrayLike) -> "DisplayOrientation":
        """Choose by an affine (4, 4), voxel index to mm, RAS+ (not ITK's LPS); ``ValueError`` if it has no inverse."""
        matrix = np.asarray(affine, dtype=np.float64)
        if matrix.shape != (4, 4) or not np.isfinite(matrix).all() or abs(np.linalg.det(matrix[:3, :3])) < 1e-12:
            raise ValueError("affine is no invertible 4 x 4 matrix; pass the affine of the volume's file.")
        # World axis (0 right, 1 anterior, 2 superior) and direction that come closest to each voxel axis.
        world, direction = io_orientation(matrix).astype(int).T
        # In every plane the higher world axis runs down the rows and the lower along the columns, both towards
        # their negative ends: S before A before R is just what the conventions above ask for.
        row, column = (0, 1) if world[0] > world[1] else (1, 0)
        spacing = voxel_sizes(matrix)
        flipped = tuple(axis for axis in (0, 1) if direction[axis] > 0)
        sides = _SIDES[world[column]], _SIDES[world[row]]
        return cls((row, column), flipped, float(spacing[row] / spacing[column]), sides)

    def turn(self, volume: npt.ArrayLike) -> npt.NDArray[np.generic]:
        """Return the slices of a volume (H, W, n), or raise ``ValueError``, as (n, rows, columns), first row on top."""
        array = np.asarray(volume)
        if array.ndim != 3:
            raise ValueError(f"volume has shape {array.shape}; pass one volume of three dimensions.")
        return np.flip(array, self.flipped).transpose(2, *self.axes)
