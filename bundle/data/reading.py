# SPDX-License-Identifier: Apache-2.0
"""Read a volume of either kind: a NIfTI file, or a DICOM series."""

import os
from pathlib import Path

from bundle.dicom.series import is_series, read_series, series_folder
from bundle.volumes.acquisition import check_sidecar
from bundle.volumes.geometry import Volume
from bundle.volumes.nifti import read_nifti
from bundle.volumes.volume_checks import check_volume


def read_volume(path: str | os.PathLike[str], with_voxels: bool = True) -> Volume:
    """Read a NIfTI volume or a DICOM series; an ``InputError`` where it cannot be super-resolved.

    Without voxels, they are all 0 and take no memory.
    """
    found = Path(path).expanduser()
    if is_series(found):
        volume = read_series(found, with_voxels)
    else:
        volume = read_nifti(found, with_voxels)
        check_sidecar(volume)
    if with_voxels:
        check_volume(volume)
    return volume


def files_of(path: str | os.PathLike[str]) -> list[Path]:
    """Return the files that make a volume, or lie in the folder of its series: what tells whether it has changed."""
    found = Path(path).expanduser()
    return [file for file in series_folder(found).iterdir() if file.is_file()] if is_series(found) else [found]
