# SPDX-License-Identifier: Apache-2.0
"""A DICOM series, one folder of slices, as a volume: read by SimpleITK, placed in space as NIfTI counts it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import nibabel as nib
import numpy as np
from nibabel.affines import from_matvec

from bundle.dicom.headers import DicomHeader, Tag, is_dicom, read_dicom_header, storage_class
from bundle.errors import InputError
from bundle.volumes.geometry import GRID_TOLERANCE, Volume, no_voxels
from bundle.volumes.names import first_few

_LPS_TO_RAS: Final = np.diag([-1.0, -1.0, 1.0])  # from DICOM's positions to NIfTI's
# NIfTI types by the names that SimpleITK gives to those of DICOM; all others are stored as float32.
_NIFTI_TYPES: Final = {
    **{f"{bits}-bit unsigned integer": f"u{bits // 8}" for bits in (8, 16)},
    **{f"{bits}-bit signed integer": f"i{bits // 8}" for bits in (8, 16, 32)},
}
_ONE_SERIES: Final = "give a folder that holds one series, the slices of one image"


def read_series(folder: Path, with_voxels: bool = True) -> Volume:
    """Read the DICOM series of a folder, slices in the order of their normal, or without decoding an image.

    Intensities are those after rescale slope and intercept. The NIfTI header names neither patient nor study.
    ``InputError`` if there is no series or more than one; if slices are missing, doubled, shifted or unevenly spaced;
    if a file is damaged, in colour, or holds several frames.
    """
    found = [_slice_header(path) for path in _files_of_one_series(folder)]
    slices = sorted(found, key=lambda one: float(one.position @ found[0].axes[:, 2]))
    first, shape = slices[0], (*slices[0].shape[:2], len(slices))
    steps = np.column_stack([first.axes[:, :2] * first.spacing[:2], _step_between(folder, slices)])
    affine = from_matvec(_LPS_TO_RAS @ steps, _LPS_TO_RAS @ first.position)
    voxels = _read_voxels(folder, slices) if with_voxels else no_voxels(shape)
    return Volume(voxels, affine, folder, _nifti_header(affine, shape, first.kind))


def _files_of_one_series(folder: Path) -> list[Path]:
    import SimpleITK

    reader, path = SimpleITK.ImageSeriesReader, str(folder)
    display = reader.GetGlobalWarningDisplay()
    reader.SetGlobalWarningDisplay(False)  # an empty folder gets a sentence below
    # True tells apart localizers under one identifier
    identifiers = reader.GetGDCMSeriesIDs(path, True)
    series = [list(map(Path, reader.GetGDCMSeriesFileNames(path, one, True))) for one in identifiers]
    reader.SetGlobalWarningDisplay(display)
    if not series:
        raise InputError(f"{folder}: this folder holds no DICOM images{_where_instead(folder)}; {_ONE_SERIES}.")
    if len(series) > 1:
        listed = first_few([_describe(files) for files in series])
        raise InputError(f"{folder}: this folder holds {len(series)} DICOM series ({listed}); {_ONE_SERIES}.")
    _refuse_damaged(folder, series[0])
    return series[0]


def _refuse_damaged(folder: Path, files: Sequence[Path]) -> None:
    """Refuse damaged images, which GDCM leaves out without a word; reports and directories may be left out."""
    kind = storage_class(files[0])
    for path in sorted(set(folder.iterdir()) - {folder / file.name for file in files}):
        if path.is_file() and (path.stat().st_size == 0 or (is_dicom(path) and storage_class(path) == kind)):
            raise InputError(
                f"{path}: this file is cut short or damaged; copy the series again, or take the file away."
            )


def _where_instead(folder: Path) -> str:
    below = next((path.parent for path in sorted(folder.glob("*/*")) if is_dicom(path)), None)
    return f" itself, {below} does" if below else ""


def _describe(files: Sequence[Path]) -> str:
    tags = read_dicom_header(files[0]).tags
    return f"{tags[Tag.NUMBER] or '?'} {tags[Tag.DESCRIPTION] or 'without description'}: {len(files)} images"


def _slice_header(path: Path) -> DicomHeader:
    header = read_dicom_header(path)
    if header.n_channels != 1:
        raise InputError(f"{path}: this DICOM image is in colour; give a grey-scale series.")
    if header.shape[2] > 1:
        raise InputError(
            f"{path}: this DICOM file holds {header.shape[2]} frames in one (enhanced multi-frame), whose order "
            "is not known; convert it with dcm2niix and give the NIfTI file."
        )
    return header


def _step_between(folder: Path, slices: Sequence[DicomHeader]) -> np.ndarray:
    """Return the step from one slice to the next in mm, (3,), and refuse slices that do not follow it."""
    first, last = slices[0], slices[-1]
    normal = first.axes[:, 2]
    if len(slices) == 1:
        return np.asarray(normal * first.spacing[2])
    tolerance = GRID_TOLERANCE * float(first.spacing[:2].min())
    if any(not np.allclose(one.axes, first.axes, atol=1e-3) for one in slices):
        raise InputError(f"{folder}: the slices of this series are turned against each other; {_ONE_SERIES}.")
    places = np.array([one.position for one in slices])
    heights = (places - places[0]) @ normal
    _check_heights(folder, slices, np.diff(heights), tolerance)
    if np.abs(places - places[0] - np.outer(heights, normal)).max() > tolerance:
        raise InputError(f"{folder}: the slices are shifted against each other (tilted gantry); resample them first.")
    return (last.position - first.position) / (len(slices) - 1)


def _check_heights(folder: Path, slices: Sequence[DicomHeader], gaps: np.ndarray, tolerance: float) -> None:
    if gaps.min() <= tolerance:
        echoes = sorted({one.tags[Tag.ECHO_TIME] for one in slices} - {""})
        times = f" with echo times {', '.join(echoes)} ms" if len(echoes) > 1 else ""
        raise InputError(
            f"{folder}: several of the {len(slices)} images lie in one place{times}: more than one echo, time point or "
            "export; keep the images of one only, or convert the series with dcm2niix."
        )
    usual = float(np.median(gaps))
    gap = int(np.argmax(gaps > 1.5 * usual))  # the first
    if gaps[gap] > 1.5 * usual:
        between = f"{slices[gap].path.name} and {slices[gap + 1].path.name}"
        raise InputError(
            f"{folder}: slices are missing, {gaps[gap]:.4g} mm lie between {between} where {usual:.4g} mm are "
            "usual; export the whole series again."
        )
    if np.abs(np.cumsum(gaps) - np.arange(1, len(gaps) + 1) * gaps.mean()).max() > tolerance:
        raise InputError(
            f"{folder}: the slices are spaced unevenly, {gaps.min():.4g} to {gaps.max():.4g} mm apart; "
            "resample them to even spacing first."
        )


def _read_voxels(folder: Path, slices: Sequence[DicomHeader]) -> np.ndarray:
    import SimpleITK

    try:
        image = SimpleITK.ReadImage([str(one.path) for one in slices], SimpleITK.sitkFloat32, "GDCMImageIO")
    except RuntimeError as error:
        raise InputError(
            f"{folder}: the images of this DICOM series cannot be read together (damaged, or of several sizes); "
            "export the series again."
        ) from error
    return np.ascontiguousarray(SimpleITK.GetArrayViewFromImage(image).T)


def _nifti_header(affine: np.ndarray, shape: Sequence[int], kind: str) -> nib.Nifti1Header:
    header = nib.Nifti1Header()
    header.set_data_shape(shape)
    header.set_data_dtype(np.dtype(_NIFTI_TYPES.get(kind, "f4")))
    header.set_slope_inter(1, 0)
    header.set_xyzt_units("mm")
    header.set_sform(affine, "scanner")
    header.set_qform(affine, "scanner")
    return header
