# SPDX-License-Identifier: Apache-2.0
"""The header of one DICOM file, without its image."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np

from bundle.errors import InputError


class Tag(StrEnum):
    """What of a header is read."""

    IMAGE_TYPE = "0008|0008"
    MODALITY = "0008|0060"
    DESCRIPTION = "0008|103e"
    PATIENT = "0010|0020"
    AGENT = "0018|0010"
    REPETITION_TIME = "0018|0080"
    ECHO_TIME = "0018|0081"
    INVERSION_TIME = "0018|0082"
    PROTOCOL = "0018|1030"
    STUDY = "0020|000d"
    SERIES = "0020|000e"
    NUMBER = "0020|0011"
    DIRECTIONS = "0020|0037"
    FRAME_OF_REFERENCE = "0020|0052"
    PIXEL_SPACING = "0028|0030"


@dataclass(frozen=True, eq=False)
class DicomHeader:
    """What one file says about its image, in mm, left-posterior-superior."""

    path: Path
    tags: Mapping[str, str]  # empty where there is none
    position: np.ndarray  # (3,), centre of the first voxel
    axes: np.ndarray  # (3, 3), its columns the directions of the image's x, y and normal
    spacing: np.ndarray
    shape: tuple[int, int, int]  # columns, rows and frames
    kind: str  # SimpleITK's name of the voxels' type
    n_channels: int


def is_dicom(path: Path) -> bool:
    """Tell whether a file starts as DICOM files do: 128 bytes of anything, then ``DICM``."""
    try:
        return path.is_file() and _start(path)[128:132] == b"DICM"  # opening a pipe would wait for ever
    except OSError:
        return False


def storage_class(path: Path) -> bytes:
    """Return what kind of object a DICOM file holds: the value of tag (0002, 0002), at its start."""
    start = _start(path)
    at = start.find(b"\x02\x00\x02\x00UI")
    return start[at + 8 : at + 8 + int.from_bytes(start[at + 6 : at + 8], "little")] if at >= 0 else b""


def _start(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(1024)


def read_dicom_header(path: Path) -> DicomHeader:
    """Read the header of a DICOM file; an ``InputError`` if it cannot be read."""
    import SimpleITK  # takes half a second, and DICOM alone needs it

    image = SimpleITK.ImageFileReader()
    image.SetImageIO("GDCMImageIO")
    image.SetFileName(str(path))
    try:
        image.ReadImageInformation()
    except RuntimeError as error:
        raise InputError(f"{path}: this DICOM file cannot be read; export the series again.") from error
    return DicomHeader(
        path=path,
        tags={tag: image.GetMetaData(tag).strip() if image.HasMetaDataKey(tag) else "" for tag in Tag},
        position=np.array(image.GetOrigin()),
        axes=np.reshape(image.GetDirection(), (3, 3)),
        spacing=np.array(image.GetSpacing()),
        shape=image.GetSize(),
        kind=SimpleITK.GetPixelIDValueAsString(image.GetPixelID()),
        n_channels=image.GetNumberOfComponents(),
    )
