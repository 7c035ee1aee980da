# SPDX-License-Identifier: Apache-2.0
"""The header of one DICOM file, without its image."""

import contextlib
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

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
    """What one file says about its image.

    Attributes:
        tags: values by tag, as text, empty where there is none.
        position: centre of the first voxel in mm, left-posterior-superior, (3,).
        axes: directions of the image's x, y and normal, columns of (3, 3).
        spacing: voxel size in mm along x, y and the normal.
        shape: columns, rows and frames.
        kind: ITK's name of the voxels' type.
        n_channels: more than 1 for colour.
    """

    path: Path
    tags: Mapping[str, str]
    position: np.ndarray
    axes: np.ndarray
    spacing: np.ndarray
    shape: tuple[int, int, int]
    kind: str
    n_channels: int


@contextlib.contextmanager
def itk_loaded() -> Iterator[Any]:
    """Yield ITK, which takes seconds to load and is needed for DICOM alone."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python deprecates how ITK is wrapped; as an error, that would end the process
        import itk

        yield itk


def is_dicom(path: Path) -> bool:
    """Tell whether a file starts as DICOM files do: 128 bytes of anything, then ``DICM``."""
    if not path.is_file():  # opening a pipe would wait for ever
        return False
    try:
        with path.open("rb") as stream:
            return stream.read(132)[128:] == b"DICM"
    except OSError:
        return False


def storage_class(path: Path) -> bytes:
    """Return what kind of object a DICOM file holds: the value of tag (0002, 0002), at the start of the file."""
    with path.open("rb") as stream:
        start = stream.read(1024)
    at = start.find(b"\x02\x00\x02\x00UI")
    return start[at + 8 : at + 8 + int.from_bytes(start[at + 6 : at + 8], "little")] if at >= 0 else b""


def read_dicom_header(path: Path) -> DicomHeader:
    """Read the header of a DICOM file.

    Raises:
        InputError: if it cannot be read.
    """
    with itk_loaded() as itk:
        image = itk.GDCMImageIO.New()
        image.SetFileName(str(path))
        try:
            image.ReadImageInformation()
        except RuntimeError as error:
            raise InputError(f"{path}: this DICOM file cannot be read; export the series again.") from error
        dictionary = image.GetMetaDataDictionary()
        known = set(dictionary.GetKeys())
        n_axes = image.GetNumberOfDimensions()
        columns, rows, frames = (image.GetDimensions(axis) if axis < n_axes else 1 for axis in range(3))
        return DicomHeader(
            path=path,
            tags={tag: dictionary[tag.value].strip() if tag in known else "" for tag in Tag},
            position=np.array([image.GetOrigin(axis) for axis in range(3)]),
            axes=np.column_stack([image.GetDirection(axis) for axis in range(3)]),
            spacing=np.array([image.GetSpacing(axis) for axis in range(3)]),
            shape=(columns, rows, frames),
            kind=image.GetComponentTypeAsString(image.GetComponentType()),
            n_channels=image.GetNumberOfComponents(),
        )
