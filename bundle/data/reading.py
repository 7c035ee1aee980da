# SPDX-License-Identifier: Apache-2.0
"""Read a volume of either kind: a NIfTI file, or the folder of a DICOM series."""

import dataclasses
import os

from bundle.dicom.series import read_series
from bundle.errors import InputError
from bundle.files import fingerprint, stamp
from bundle.volumes.geometry import Volume
from bundle.volumes.names import absolute_path
from bundle.volumes.nifti import read_nifti
from bundle.volumes.volume_checks import check_volume


def read_volume(path: str | os.PathLike[str], with_voxels: bool = True) -> Volume:
    """Read a NIfTI volume, or the DICOM series of a folder; an ``InputError`` where it cannot be super-resolved.

    Without voxels, they are all 0 and take no memory. With them, ``source`` is the fingerprint of what was read.
    """
    found = absolute_path(path)
    read = read_series if found.is_dir() else read_nifti
    if not with_voxels:
        return read(found, with_voxels=False)
    try:
        source = fingerprint(found)
    except OSError as error:
        raise InputError(f"{found}: cannot read this ({error.strerror}); check the path and its rights.") from error
    volume = dataclasses.replace(read(found), source=source)
    if source != source | stamp(found):
        raise InputError(f"{found}: this changed while it was read; run the command again once nobody writes it.")
    check_volume(volume)
    return volume
