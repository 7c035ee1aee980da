# SPDX-License-Identifier: Apache-2.0
"""Read a volume of either kind: a NIfTI file, or a DICOM series."""

import dataclasses
import os
from pathlib import Path

from bundle.dicom.series import is_series, read_series, series_folder
from bundle.errors import InputError
from bundle.files import fingerprint, stamp
from bundle.volumes.geometry import Volume
from bundle.volumes.header_facts import acquisition_fields, check_spacing, read_sidecar
from bundle.volumes.names import absolute_path
from bundle.volumes.nifti import read_nifti
from bundle.volumes.volume_checks import check_volume


def read_volume(path: str | os.PathLike[str], with_voxels: bool = True) -> Volume:
    """Read a NIfTI volume or a DICOM series; an ``InputError`` where it cannot be super-resolved.

    Without voxels, they are all 0 and take no memory. With them, ``source`` is the fingerprint of what was read.
    """
    found = absolute_path(path)
    if not with_voxels:
        return _read(found, with_voxels=False)
    source = source_of(found)
    try:
        before = fingerprint(source)
    except OSError as error:
        raise InputError(f"{found}: cannot read this ({error.strerror}); check the path and its rights.") from error
    volume = dataclasses.replace(_read(found, with_voxels=True), source=before)
    if before != before | stamp(source):
        raise InputError(f"{found}: this changed while it was read; run the command again once nobody writes it.")
    check_volume(volume)
    return volume


def source_of(path: str | os.PathLike[str]) -> Path:
    """Return the file that holds a volume, or the folder of its series: what tells whether it has changed."""
    found = Path(path).expanduser()
    return series_folder(found) if is_series(found) else found


def _read(path: Path, with_voxels: bool) -> Volume:
    if is_series(path):
        return read_series(path, with_voxels)
    volume = read_nifti(path, with_voxels)
    fields = acquisition_fields(read_sidecar(path))
    thickness, between = (fields.get(name, [None])[0] for name in ("SliceThickness", "SpacingBetweenSlices"))
    check_spacing(path, max(volume.spacing), thickness, between)
    return dataclasses.replace(volume, fields=fields)
