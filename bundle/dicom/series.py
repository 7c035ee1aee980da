# SPDX-License-Identifier: Apache-2.0
"""A DICOM series as a volume, placed in space as NIfTI counts it."""

import itertools
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import nibabel as nib
import numpy as np
from nibabel.affines import from_matvec
from pydicom.dataset import Dataset

from bundle.dicom.headers import Frame, Tag, is_dicom, read_dataset
from bundle.dicom.stacks import Stack, heights_of, stacks_in, tolerance_of
from bundle.errors import InputError
from bundle.volumes.geometry import Volume, no_voxels
from bundle.volumes.header_facts import acquisition_fields, check_spacing
from bundle.volumes.names import first_few

LPS_TO_RAS: Final = np.diag([-1.0, -1.0, 1.0])  # from DICOM's positions to NIfTI's
_NO_MAGNITUDE: Final = {"P", "PHASE", "PHASE MAP", "R", "REAL", "I", "IMAGINARY"}  # image types
_ONE_SERIES: Final = "give a folder that holds one series, or name one of its files"


def is_series(path: Path) -> bool:
    """Tell whether a path is a folder, a DICOM file, or the number of a volume among those of a file."""
    return os.path.isdir(path) or is_dicom(path) or is_dicom(path.parent)  # noqa: PTH112 - no path is too long for it


def read_series(path: Path, with_voxels: bool = True) -> Volume:
    """Read a DICOM series, its slices in the order of their normal, or without decoding an image.

    ``path`` is a folder that holds nothing else, or one of the series' files; where a file holds several volumes, the
    number of one of them below it. Intensities are those after rescale slope and intercept. The NIfTI header names
    neither patient nor study. ``InputError`` if there is no series or more than one; if slices are missing, doubled,
    shifted or unevenly spaced; if a file is damaged or in colour.
    """
    stack = find_stack(path)
    frames = stack.frames
    for frame in frames:
        if frame.tags[Tag.SAMPLES] not in ("", "1"):
            raise InputError(f"{frame.path}: this DICOM image is in colour; give a grey-scale series.")
    _check_alike(frames)
    first, shape = frames[0], (*frames[0].matrix, len(frames))
    steps = np.column_stack([first.axes[:, :2] * first.spacing, _step_between(stack)])
    affine = from_matvec(LPS_TO_RAS @ steps, LPS_TO_RAS @ first.position)
    voxels = _read_voxels(frames) if with_voxels else no_voxels(shape)
    header = _nifti_header(affine, shape, _stored_type(frames))
    fields, patient = acquisition_fields(first.tags), first.tags[Tag.PATIENT]
    return Volume(voxels, affine, path, header, fields=fields, patient=patient)


def find_stack(path: Path) -> Stack:
    """Return the volume that a path means, see :func:`read_series`; ``InputError`` if it is none, or several."""
    folder = series_folder(path)
    stacks = stacks_in(folder)
    if not stacks:
        raise InputError(f"{path}: this folder holds no DICOM images{_where_instead(path)}; {_ONE_SERIES}.")
    meant = stacks
    if path != folder:
        named = [stack for stack in stacks if stack.path == path]
        meant = named or [stack for stack in stacks if any(frame.path == path for frame in stack.frames)]
    if len(meant) != 1:
        listed = first_few([stack.describe() for stack in meant or stacks])
        several = (
            f"{len(meant)} DICOM series or images lie here" if meant else "this is none of the series that lie here"
        )
        raise InputError(f"{path}: {several} ({listed}); {_ONE_SERIES}.")
    return meant[0]


def series_folder(path: Path) -> Path:
    """Return the folder of a series, however long its path is."""
    if os.path.isdir(path):  # noqa: PTH112
        return path
    return path.parent if os.path.isfile(path) else path.parent.parent  # noqa: PTH113


def _where_instead(folder: Path) -> str:
    below = next((path.parent for path in sorted(folder.glob("*/*")) if is_dicom(path)), None)
    return f" itself, {below} does" if below else ""


def _step_between(stack: Stack) -> np.ndarray:
    """Return the step from one slice to the next in mm, (3,), and refuse slices that do not follow it."""
    frames, path = stack.frames, stack.path
    first, last = frames[0], frames[-1]
    normal = first.axes[:, 2]
    if len(frames) == 1:
        thickness = first.numbers(Tag.THICKNESS) or first.numbers(Tag.BETWEEN_SLICES) or [1.0]
        return np.asarray(normal * thickness[0])
    tolerance = tolerance_of(first)
    places = np.array([one.position for one in frames])
    heights = heights_of(frames) - float(first.position @ normal)
    _check_heights(stack, np.diff(heights), tolerance)
    if np.abs(places - places[0] - np.outer(heights, normal)).max() > tolerance:
        raise InputError(f"{path}: the slices are shifted against each other (tilted gantry); resample them first.")
    return np.asarray((last.position - first.position) / (len(frames) - 1))


def _check_heights(stack: Stack, gaps: np.ndarray, tolerance: float) -> None:
    frames, path = stack.frames, stack.path
    if gaps.min() <= tolerance:
        echoes = sorted({one.tags[Tag.ECHO_TIME] for one in frames} - {""})
        times = f" with echo times {', '.join(echoes)} ms" if len(echoes) > 1 else ""
        raise InputError(
            f"{path}: several of the {len(frames)} images lie in one place{times}: more than one time point or "
            "export; move the images of one of them into a folder of its own."
        )
    usual = float(np.median(gaps))
    gap = int(np.argmax(gaps > 1.5 * usual))  # the first
    if gaps[gap] > 1.5 * usual:
        between = f"{frames[gap].path.name} and {frames[gap + 1].path.name}"
        raise InputError(
            f"{path}: slices are missing, {gaps[gap]:.4g} mm lie between {between} where {usual:.4g} mm are "
            "usual; export the whole series again."
        )
    if np.abs(np.cumsum(gaps) - np.arange(1, len(gaps) + 1) * gaps.mean()).max() > tolerance:
        raise InputError(
            f"{path}: the slices are spaced unevenly, {gaps.min():.4g} to {gaps.max():.4g} mm apart; "
            "resample them to even spacing first."
        )
    said = (frames[0].numbers(tag) for tag in (Tag.THICKNESS, Tag.BETWEEN_SLICES))
    check_spacing(path, float(gaps.mean()), *(values[0] if values else None for values in said))


def _read_voxels(frames: Sequence[Frame]) -> np.ndarray:
    """Return the rescaled voxels, float32 (X, Y, Z); each file is opened once."""
    voxels = np.empty((*frames[0].matrix, len(frames)), dtype=np.float32, order="F")
    numbered = sorted(enumerate(frames), key=lambda item: (str(item[1].path), item[1].index))
    for path, group in itertools.groupby(numbered, key=lambda item: item[1].path):
        images = _stored_pixels(path)
        for index, frame in group:
            (slope,), (intercept,) = _rescale(frame)
            image = images[frame.index] if images.ndim == 3 else images
            if image.shape != voxels.shape[1::-1]:
                raise InputError(f"{path}: the image is not of the size that its header says; export the series again.")
            voxels[:, :, index] = image.T * slope + intercept
    return voxels


def _stored_pixels(path: Path) -> np.ndarray:
    """Return the pixels of a file, (Y, X) or (frames, Y, X); ``InputError`` where they are not all there."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of values that are not used, and of bytes behind the pixels
        try:
            image = read_dataset(path, with_pixels=True)
            pixels = np.asarray(image.pixel_array)
        except Exception as error:  # a damaged image fails in as many ways as there are compressions
            raise InputError(
                f"{path}: the image is cut short, damaged or compressed in an unknown way; copy or export the series "
                "again."
            ) from error
    if reason := _other_than_brightness(image, pixels):
        raise InputError(f"{path}: {reason}; export the series as grey values, the brighter the larger.")
    return pixels


def _other_than_brightness(image: Dataset, pixels: np.ndarray) -> str:
    """Return why pixels are no numbers that grow with the brightness; empty where they are."""
    if (kind := str(image.get("PhotometricInterpretation"))) != "MONOCHROME2":
        return f"its pixels are {kind}"
    if image.get("HighBit") not in (None, image.BitsStored - 1):
        return f"its pixels end at bit {image.HighBit} where {image.BitsStored} bits are stored"
    if image.get("ModalityLUTSequence"):
        return "its pixels are to be looked up in a table"
    padding = image.get("PixelPaddingValue")
    if isinstance(padding, int) and padding != pixels.min() and (pixels == padding).any():
        return f"it is padded with pixels of {padding}, which are no brightness"
    return ""


def _check_alike(frames: Sequence[Frame]) -> None:
    """Refuse images of one volume that are no magnitudes, or of several contrasts."""
    for frame in frames:
        if found := _NO_MAGNITUDE.intersection(frame.tags[Tag.IMAGE_TYPE].split("\\")[2:]):
            raise InputError(
                f"{frame.path}: this is no magnitude image (image type {found.pop()}); give another series."
            )
    times = sorted(time for frame in frames for time in frame.numbers(Tag.ECHO_TIME))
    if times and times[-1] > 1.1 * times[0]:
        raise InputError(
            f"{frames[0].path.parent}: the slices have echo times of {times[0]:g} to {times[-1]:g} ms, so they are of "
            "several images; move those of one into a folder of its own."
        )


def _rescale(frame: Frame) -> tuple[list[float], list[float]]:
    for tag in (Tag.SLOPE, Tag.INTERCEPT):
        if frame.tags[tag] and not frame.numbers(tag):
            raise InputError(f"{frame.path}: its {tag} reads {frame.tags[tag]!r}, which is no number; export it again.")
    return frame.numbers(Tag.SLOPE) or [1.0], frame.numbers(Tag.INTERCEPT) or [0.0]


def _stored_type(frames: Sequence[Frame]) -> np.dtype:
    """Return the integers of the files where they need no rescaling, else float32."""
    tags = frames[0].tags
    if any(_rescale(frame) != ([1.0], [0.0]) for frame in frames) or tags[Tag.BITS] not in ("8", "16"):
        return np.dtype("f4")
    return np.dtype(f"{'i' if tags[Tag.SIGNED] == '1' else 'u'}{int(tags[Tag.BITS]) // 8}")


def _nifti_header(affine: np.ndarray, shape: Sequence[int], stored: np.dtype) -> nib.Nifti1Header:
    header = nib.Nifti1Header()
    header.set_data_shape(shape)
    header.set_data_dtype(stored)
    header.set_slope_inter(1, 0)
    header.set_xyzt_units("mm")
    header.set_sform(affine, "scanner")
    header.set_qform(affine, "scanner")
    return header
