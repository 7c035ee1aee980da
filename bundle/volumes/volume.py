# SPDX-License-Identifier: Apache-2.0
"""One volume with its place in space and the header of its file."""

from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.affines import voxel_sizes


@dataclass(frozen=True, eq=False)
class Volume:
    """Hold one volume and what its file said about it.

    Attributes:
        voxels: float32 (X, Y, Z), native intensities, i.e. after scl_slope and scl_inter.
        affine: float64 (4, 4), voxel index to mm, right-anterior-superior; the sform where it has
            a code, else the qform, else nibabel's guess from pixdim.
        path: the file.
        header: NIfTI-1 or -2 header as stored, with its extensions; its shape may have fewer or
            more axes than ``voxels`` (a 2-D image, or trailing axes of length 1).
    """

    voxels: np.ndarray
    affine: np.ndarray
    path: Path
    header: nib.Nifti1Header

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size in mm along each axis."""
        x, y, z = voxel_sizes(self.affine).tolist()
        return x, y, z
