# SPDX-License-Identifier: Apache-2.0
"""Write a result as a DICOM series of classic MR images, derived from the series of the image that it came from."""

import contextlib
import hashlib
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from pydicom.config import RAISE
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid
from pydicom.valuerep import format_number_as_ds

from bundle.dicom.headers import Frame, Tag, flat_frames, is_dicom, read_dataset
from bundle.dicom.series import LPS_TO_RAS
from bundle.dicom.stacks import Stack
from bundle.errors import InputError
from bundle.files import atomic_folder
from bundle.version import package_version
from bundle.volumes.geometry import Placed

MARKER: Final = "SR, research only"  # at the end of the description of each series that is written
_PRODUCT: Final = "mcsr-bundle"
_LONGEST: Final = 64  # characters of a description
# What of an image's header stays, by module of the standard: patient, study, series, equipment, acquisition, window.
_KEPT: Final = (
    *("SpecificCharacterSet", "PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex"),
    *("PatientAge", "PatientSize", "PatientWeight", "PatientIdentityRemoved", "DeidentificationMethod"),
    *("DeidentificationMethodCodeSequence", "StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "AccessionNumber"),
    *("ReferringPhysicianName", "StudyDescription", "BodyPartExamined", "PatientPosition", "Laterality"),
    *(
        "SliceThickness",
        "ProtocolName",
        "FrameOfReferenceUID",
        "PositionReferenceIndicator",
        "Manufacturer",
        "InstitutionName",
    ),
    *("StationName", "ManufacturerModelName", "DeviceSerialNumber", "SoftwareVersions", "MagneticFieldStrength"),
    *("AcquisitionDate", "AcquisitionTime", "ScanningSequence", "SequenceVariant", "ScanOptions", "MRAcquisitionType"),
    *("SequenceName", "AngioFlag", "RepetitionTime", "EchoTime", "EchoTrainLength", "InversionTime", "FlipAngle"),
    *("NumberOfAverages", "ImagingFrequency", "ImagedNucleus", "EchoNumbers", "ContrastBolusAgent", "WindowCenter"),
    *("WindowWidth", "LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod"),
    *("BurnedInAnnotation",),
)
# What must be there, though it may be empty, or where it must not be empty, with what then stands there.
_NEEDED: Final = {
    **dict.fromkeys(("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime"), ""),
    **dict.fromkeys(("StudyID", "AccessionNumber", "ReferringPhysicianName", "Manufacturer", "ScanOptions"), ""),
    **dict.fromkeys(("PositionReferenceIndicator", "MRAcquisitionType", "EchoTime", "EchoTrainLength"), ""),
    **dict.fromkeys(("RepetitionTime", "PatientPosition"), ""),
}
_CHECKED: Final = {"AS", "CS", "DA", "DS", "IS", "TM"}  # types whose values are left out where they break the standard
_NOT_EMPTY: Final = {"ScanningSequence": "RM", "SequenceVariant": "NONE"}


def write_derived_series(folder: Path, placed: Placed, source: Stack) -> None:
    """Write voxels (X, Y, Z), native intensities, as images along Z, whole or not at all.

    Patient, study and frame of reference are those of ``source``; series and images get identifiers of their own, which
    follow from what they hold: equal results are written as equal files. Pixels are integers of 16 bits, in steps of
    the source's: no voxel changes by more than half a step.
    """
    check_replaceable(folder)
    slope, intercept, stored = _stored(placed.voxels, source.frames)
    content = hashlib.sha256(stored.tobytes() + np.asarray(placed.affine, dtype="<f8").tobytes()).hexdigest()
    first = source.frames[0].tags
    series = generate_uid(entropy_srcs=[first[Tag.SERIES], content, package_version()])
    with atomic_folder(folder) as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of values of the source that do not follow the standard
        headers = _headers(source)
        for index in range(stored.shape[2]):
            nearest = min(len(headers) - 1, round(index * len(headers) / stored.shape[2]))
            image = _derived(headers[nearest], source.frames[nearest])
            image.SeriesInstanceUID = series
            image.SOPInstanceUID = generate_uid(entropy_srcs=[series, str(index)])
            image.InstanceNumber = index + 1
            image.ReferencedSeriesSequence = _whole_series(headers)
            _place(image, placed, index)
            if len(headers) != stored.shape[2] or not image.get("SliceThickness"):
                image.SliceThickness = image.SpacingBetweenSlices
            _fill(image, stored[:, :, index], slope, intercept)
            image.file_meta = FileMetaDataset()
            image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            image.save_as(temporary / f"IM{index + 1:04d}.dcm", enforce_file_format=True)


def check_replaceable(folder: Path) -> None:
    """Refuse, by ``InputError``, to write over anything but a series that was written here."""
    if folder.is_dir() and all(_is_own(path) for path in folder.iterdir()):
        return
    if folder.exists() or folder.is_symlink():
        raise InputError(f"{folder}: this is no series of an earlier run; move it, or choose another output folder.")


def _is_own(path: Path) -> bool:
    with contextlib.suppress(InputError):
        return is_dicom(path) and str(read_dataset(path).get(Tag.DESCRIPTION)).endswith(MARKER)
    return False


def _headers(source: Stack) -> list[Dataset]:
    """Return the headers of the source's images, each file read once."""
    by_path = {path: list(flat_frames(read_dataset(path))) for path in {frame.path for frame in source.frames}}
    return [by_path[frame.path][frame.index] for frame in source.frames]


def _derived(header: Dataset, frame: Frame) -> Dataset:
    """Return what of a source's header stays, and that and from what this is derived."""
    image = Dataset()
    for keyword in _KEPT:
        _keep(image, header, keyword)
    _complete(image)
    for keyword in ("StudyInstanceUID", "FrameOfReferenceUID"):
        if not image.get(keyword):  # of an image whose identifiers were taken away
            setattr(
                image, keyword, generate_uid(entropy_srcs=[keyword, frame.tags[Tag.SERIES], frame.path.parent.name])
            )
    image.SOPClassUID, image.Modality = MRImageStorage, "MR"
    image.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
    words = frame.tags[Tag.DESCRIPTION][: _LONGEST - len(MARKER) - 1]
    image.SeriesDescription = f"{words} {MARKER}".strip()
    image.SeriesNumber = int((frame.numbers(Tag.NUMBER) or [0])[0]) * 100 + 1  # beside the source's in lists
    image.DerivationDescription = f"Multi-contrast super-resolution; {MARKER}"
    image.SourceImageSequence = Items([_reference(header, frame)])
    image.ContributingEquipmentSequence = Items([_equipment()])
    return image


def _keep(image: Dataset, header: Dataset, keyword: str) -> None:
    with contextlib.suppress(Exception):  # of pydicom, which converts on access: what cannot be read is left out
        element = header[keyword]
        if element.VR in _CHECKED:
            DataElement(element.tag, element.VR, element.value, validation_mode=RAISE)
        image[keyword] = element


def _complete(image: Dataset) -> None:
    """Add what must be there, and take away what must not, given the rest."""
    for keyword, value in (_NEEDED | _NOT_EMPTY).items():
        if not image.get(keyword) and (keyword not in image or value):
            setattr(image, keyword, value or None)
    if not image.get("BodyPartExamined"):
        image.Laterality = image.get("Laterality")
    elif "Laterality" in image and not image.Laterality:
        del image.Laterality
    if "InversionTime" in image and "IR" not in image.ScanningSequence:
        del image.InversionTime


def _reference(header: Dataset, frame: Frame | None = None) -> Dataset:
    """Point to an image of the source; with ``frame``, to one of several in its file, and say what for."""
    item = Dataset()
    item.ReferencedSOPClassUID = header.get("SOPClassUID") or MRImageStorage
    item.ReferencedSOPInstanceUID = header.get("SOPInstanceUID") or generate_uid(entropy_srcs=["unknown"])
    if frame:
        if header.get("NumberOfFrames"):
            item.ReferencedFrameNumber = frame.index + 1
        item.PurposeOfReferenceCodeSequence = Items([_code("121322", "Source of Image Processing Operation")])
    return item


def _whole_series(headers: Sequence[Dataset]) -> Items:
    item = Dataset()
    item.SeriesInstanceUID = headers[0].get("SeriesInstanceUID") or generate_uid(entropy_srcs=["unknown"])
    unique = {str(header.get("SOPInstanceUID")): header for header in headers}
    item.ReferencedInstanceSequence = Items(map(_reference, unique.values()))
    return Items([item])


def _equipment() -> Dataset:
    item = Dataset()
    item.PurposeOfReferenceCodeSequence = Items([_code("109103", "Modifying Equipment")])
    item.Manufacturer, item.SoftwareVersions = _PRODUCT, package_version()
    item.ContributionDescription = f"Super-resolution; {MARKER}"
    return item


def _code(value: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, "DCM", meaning
    return code


def _place(image: Dataset, placed: Placed, index: int) -> None:
    """Say where a slice lies, in mm."""
    steps = LPS_TO_RAS @ np.asarray(placed.affine)[:3, :3]
    position = LPS_TO_RAS @ (np.asarray(placed.affine) @ [0, 0, index, 1])[:3]
    sizes = np.linalg.norm(steps, axis=0)
    directions = (steps[:, :2] / sizes[:2]).T.ravel()
    image.ImagePositionPatient = list(map(_decimal, position))
    image.ImageOrientationPatient = list(map(_decimal, directions))
    image.PixelSpacing = [_decimal(sizes[1]), _decimal(sizes[0])]  # rows, then columns
    image.SpacingBetweenSlices = _decimal(sizes[2])


def _fill(image: Dataset, pixels: np.ndarray, slope: float, intercept: float) -> None:
    image.Columns, image.Rows = pixels.shape
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated, image.BitsStored, image.HighBit = 16, 16, 15
    image.PixelRepresentation = int(pixels.dtype.kind == "i")
    if (slope, intercept) != (1, 0):
        image.RescaleSlope, image.RescaleIntercept, image.RescaleType = _decimal(slope), _decimal(intercept), "US"
    image.PixelData = pixels.T.astype(pixels.dtype.newbyteorder("<")).tobytes()


def _stored(voxels: np.ndarray, frames: Sequence[Frame]) -> tuple[float, float, np.ndarray]:
    """Return slope, intercept and 16-bit integers, in steps of the source's where they reach so far."""
    slopes = [abs(frame.numbers(Tag.SLOPE)[0]) for frame in frames if frame.numbers(Tag.SLOPE)]
    step = float(_decimal(min([slope for slope in slopes if slope > 0], default=1.0)))
    low, high = float(voxels.min()), float(voxels.max())
    kind, intercept = ("u2" if low >= 0 else "i2"), 0.0
    limits = np.iinfo(kind)
    if round(low / step) < limits.min or round(high / step) > limits.max:
        kind, intercept = "u2", float(_decimal(low))
        step = max(step, float(_decimal((high - low) / 65534)))
    stored = np.rint((voxels.astype(np.float64) - intercept) / step)
    return step, intercept, stored.clip(*_limits(kind)).astype(kind)


def _limits(kind: str) -> tuple[int, int]:
    found = np.iinfo(kind)
    return int(found.min), int(found.max)


def _decimal(value: float) -> str:
    """Return a number as DICOM's decimal strings hold it, 16 characters at most."""
    return format_number_as_ds(float(value))
