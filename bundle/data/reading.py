# SPDX-License-Identifier: Apache-2.0
"""Read a volume of either kind: a NIfTI file, or the folder of a DICOM series."""

import os
from pathlib import Path

from bundle.dicom.series import read_series
from bundle.volumes.geometry import Volume
from bundle.volumes.nifti import read_nifti


def read_volume(path: str | os.PathLike[str]) -> Volume:
    """Read a NIfTI volume, or the DICOM series of a folder, and check that it can be super-resolved.

    Raises:
        InputError: as :func:`bundle.volumes.nifti.read_nifti` and :func:`bundle.dicom.series.read_series` do.
    """
    return _read(path, with_voxels=True)


def read_header(path: str | os.PathLike[str]) -> Volume:
    """Read and check what :func:`read_volume` does but for the voxels, which are all 0 and take no memory."""
    return _read(path, with_voxels=False)


def _read(path: str | os.PathLike[str], with_voxels: bool) -> Volume:
    found = Path(path).expanduser()
    return read_series(found, with_voxels) if found.is_dir() else read_nifti(found, with_voxels)
