# SPDX-License-Identifier: Apache-2.0
"""Read a volume of either kind: a NIfTI file, or the folder of a DICOM series."""

import os
from pathlib import Path

from bundle.dicom.series import read_series
from bundle.volumes.geometry import Volume
from bundle.volumes.nifti import read_nifti
from bundle.volumes.volume_checks import check_volume


def read_volume(path: str | os.PathLike[str], with_voxels: bool = True) -> Volume:
    """Read a NIfTI volume, or the DICOM series of a folder; an ``InputError`` where it cannot be super-resolved.

    Without voxels, they are all 0 and take no memory.
    """
    found = Path(path).expanduser()
    volume = read_series(found, with_voxels) if found.is_dir() else read_nifti(found, with_voxels)
    if with_voxels:
        check_volume(volume)
    return volume
