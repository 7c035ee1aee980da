# SPDX-License-Identifier: Apache-2.0
"""The headers of DICOM files, without their images: classic files hold one image, enhanced ones several frames."""

import math
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from bundle.errors import InputError


class Tag(StrEnum):
    """What of a header is read, by DICOM's keywords."""

    IMAGE_TYPE = "ImageType"
    MODALITY = "Modality"
    DESCRIPTION = "SeriesDescription"
    PROTOCOL = "ProtocolName"
    PATIENT = "PatientID"
    PATIENT_NAME = "PatientName"
    BIRTH_DATE = "PatientBirthDate"
    SEX = "PatientSex"
    BODY_PART = "BodyPartExamined"
    AGENT = "ContrastBolusAgent"
    SCANNING_SEQUENCE = "ScanningSequence"
    REPETITION_TIME = "RepetitionTime"
    ECHO_TIME = "EchoTime"
    INVERSION_TIME = "InversionTime"
    STUDY = "StudyInstanceUID"
    STUDY_DATE = "StudyDate"
    SERIES = "SeriesInstanceUID"
    NUMBER = "SeriesNumber"
    INSTANCE_NUMBER = "InstanceNumber"
    FRAME_OF_REFERENCE = "FrameOfReferenceUID"
    POSITION = "ImagePositionPatient"
    DIRECTIONS = "ImageOrientationPatient"
    PIXEL_SPACING = "PixelSpacing"
    THICKNESS = "SliceThickness"
    BETWEEN_SLICES = "SpacingBetweenSlices"
    ACQUISITION_MATRIX = "AcquisitionMatrix"
    SAMPLING = "PercentSampling"
    PHASE_FIELD = "PercentPhaseFieldOfView"
    SLOPE = "RescaleSlope"
    INTERCEPT = "RescaleIntercept"
    SAMPLES = "SamplesPerPixel"
    BITS = "BitsAllocated"
    SIGNED = "PixelRepresentation"


# What enhanced multi-frame files call the same, often in other words.
_ENHANCED: Final = {
    "EffectiveEchoTime": Tag.ECHO_TIME,
    "InversionTimes": Tag.INVERSION_TIME,
    "FrameType": Tag.IMAGE_TYPE,
    "EchoPulseSequence": Tag.SCANNING_SEQUENCE,
}
_PULSES: Final = {"SPIN": "SE", "GRADIENT": "GR", "BOTH": "SE\\GR"}
_MAGIC: Final = b"DICM"
# Storage classes of MR images: classic, enhanced, and enhanced made of classic ones.
_MR_IMAGES: Final = tuple(f"1.2.840.10008.5.1.4.1.1.4{end}" for end in ("", ".1", ".4"))


@dataclass(frozen=True, eq=False)
class Frame:
    """What one file says of one of its images, in mm, left-posterior-superior."""

    path: Path
    index: int  # among the frames of its file
    tags: Mapping[str, str]  # by Tag; empty where there is none, values separated by a backslash
    position: np.ndarray  # (3,), centre of the first voxel
    axes: np.ndarray  # (3, 3), its columns the directions of the image's x, y and normal
    spacing: tuple[float, float]  # along x and y
    matrix: tuple[int, int]  # columns and rows

    @property
    def height(self) -> float:
        """Return where the image lies along its own normal, in mm."""
        return float(self.position @ self.axes[:, 2])

    def numbers(self, tag: Tag, n_numbers: int = 1) -> list[float]:
        """Return the numbers of a tag; none where they are not as many, or no numbers."""
        return numbers_of(self.tags, tag, n_numbers)


def numbers_of(tags: Mapping[str, str], tag: Tag, n_numbers: int = 1) -> list[float]:
    """Read the numbers of a tag; none where they are not as many, or no numbers."""
    try:
        numbers = [float(part) for part in tags[tag].split("\\")]
    except ValueError:
        return []
    return numbers if len(numbers) == n_numbers and all(map(math.isfinite, numbers)) else []


def is_dicom(path: Path) -> bool:
    """Tell whether a file starts as DICOM files do: 128 bytes of anything and ``DICM``, or at once with their tags."""
    try:
        if not path.is_file():  # opening a pipe would wait for ever
            return False
        with path.open("rb") as stream:
            start = stream.read(132)
    except OSError:
        return False
    return start[128:] == _MAGIC or _starts_without_preamble(start)


def _starts_without_preamble(start: bytes) -> bool:
    """Tell whether bytes are a tag of the group 2 or 8 and a short length, or the letters of a type."""
    group, kind, length = start[:2], start[4:6], int.from_bytes(start[4:8], "little")
    return len(start) == 132 and group in (b"\x02\x00", b"\x08\x00") and (kind.isalpha() or length <= 64)


def read_dataset(path: Path, with_pixels: bool = False) -> FileDataset:
    """Read a DICOM file, without its pixels or with them, compressed as they are; ``InputError`` if it is damaged."""
    try:
        dataset = pydicom.dcmread(path, force=True, stop_before_pixels=not with_pixels)
    except Exception as error:  # a damaged file fails inside pydicom in many ways
        raise damaged(path) from error
    if "TransferSyntaxUID" not in getattr(dataset, "file_meta", ()):
        dataset.file_meta = FileMetaDataset()
        implicit = dataset.original_encoding[0]
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    return dataset


def read_frames(path: Path) -> list[Frame]:
    """Read the headers of all images of a DICOM file; none where it is of another kind, such as a report.

    ``InputError`` if the file is cut short, or does not say where its images lie and how large their voxels are.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of values that do not follow the standard; what is used is checked below
        dataset = read_dataset(path)
        kind = _text(dataset.file_meta, "MediaStorageSOPClassUID") or _text(dataset, "SOPClassUID")
        if not kind or (kind in _MR_IMAGES and not (dataset.get("Rows") and dataset.get("Columns"))):
            raise damaged(path)
        frames = list(enumerate(flat_frames(dataset))) if dataset.get("Rows") else []
        if len(frames) != int(dataset.get("NumberOfFrames") or 1) and len(frames):
            raise InputError(
                f"{path}: this file does not say where each of its frames lies; export it as single images."
            )
        if kind not in _MR_IMAGES and not all(Tag.POSITION in frame for _, frame in frames):
            return []  # a screenshot, for instance
        return [_frame(path, index, frame) for index, frame in frames]


def flat_frames(dataset: Dataset) -> Iterator[Dataset]:
    """Yield what is said of each image of a file, that of enhanced files too in one level, by classic keywords."""
    frames = dataset.get("PerFrameFunctionalGroupsSequence")
    if not frames:
        yield dataset
        return
    for frame in frames:
        flat = Dataset()
        flat.update({element.tag: element for element in dataset if element.VR != "SQ"})
        for group in (*dataset.get("SharedFunctionalGroupsSequence", ())[:1], frame):
            for element in group:
                if element.VR == "SQ" and len(element.value) and not element.tag.is_private:
                    flat.update({inner.tag: inner for inner in element.value[0] if inner.VR != "SQ"})
        for enhanced, tag in _ENHANCED.items():
            if enhanced in flat:
                value = flat[enhanced].value
                setattr(flat, tag, _PULSES.get(value, value) if tag == Tag.SCANNING_SEQUENCE else value)
        yield flat


def _frame(path: Path, index: int, dataset: Dataset) -> Frame:
    tags: dict[str, str] = {tag: _text(dataset, tag) for tag in Tag}
    spacing, position = numbers_of(tags, Tag.PIXEL_SPACING, 2), numbers_of(tags, Tag.POSITION, 3)
    directions = numbers_of(tags, Tag.DIRECTIONS, 6)
    if not spacing or min(spacing) <= 0:
        raise InputError(
            f"{path}: its pixel spacing reads {tags[Tag.PIXEL_SPACING] or 'nothing'!r}, which is no size in mm; "
            "export the series again."
        )
    x, y = np.array(directions[:3]), np.array(directions[3:])
    if not (position and directions) or not np.allclose([x @ x, y @ y, x @ y], [1, 1, 0], atol=0.01):
        raise InputError(f"{path}: this DICOM image does not say where it lies; export the series again.")
    axes = np.column_stack([x, y, np.cross(x, y)])
    matrix = int(dataset.Columns), int(dataset.Rows)
    return Frame(path, index, tags, np.array(position), axes, (spacing[1], spacing[0]), matrix)


def _text(dataset: Dataset, keyword: str) -> str:
    """Return a value as DICOM writes it; that of a number which is none as it stands there."""
    if keyword not in dataset:
        return ""
    try:
        value = dataset[keyword].value
    except Exception:  # pydicom converts on access; what it cannot convert is judged as text
        value = dataset.get_item(keyword).value
    if isinstance(value, bytes):
        value = value.decode("ascii", "replace")
    parts = value if isinstance(value, (list, tuple)) or type(value).__name__ == "MultiValue" else [value]
    return "\\".join("" if part is None else str(part) for part in parts).strip(" \0")


def damaged(path: Path) -> InputError:
    """Return the error that refuses a file."""
    return InputError(f"{path}: this file is cut short or damaged; copy the series again, or take the file away.")
