# SPDX-License-Identifier: Apache-2.0
"""A DICOM series, one folder of slices, as a volume: read by ITK, placed in space as NIfTI counts it.

DICOM's positions are left-posterior-superior, NIfTI's right-anterior-superior: the signs of x and y change.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import nibabel as nib
import numpy as np

from bundle.errors import InputError
from bundle.volumes.geometry import GRID_TOLERANCE
from bundle.volumes.names import first_few
from bundle.volumes.volume import Volume

_LPS_TO_RAS: Final = np.diag([-1.0, -1.0, 1.0])
_DESCRIPTION: Final = "0008|103e"
_NUMBER: Final = "0020|0011"
_ECHO_TIME: Final = "0018|0081"
_NIFTI_TYPES: Final = {"unsigned_char": "u1", "char": "i1", "unsigned_short": "u2", "short": "i2", "int": "i4"}
"""NIfTI types by the names ITK gives to those of DICOM; all others are stored as float32."""
_ONE_SERIES: Final = "give a folder that holds one series, the slices of one image"


@dataclass(frozen=True, eq=False)
class _Slice:
    """One file of a series, by its header.

    Attributes:
        position: centre of the first voxel in mm, left-posterior-superior, (3,).
        axes: directions of the image's x, y and normal, columns of (3, 3).
        spacing: voxel size in mm along x, y and the normal.
    """

    path: str
    position: np.ndarray
    axes: np.ndarray
    spacing: np.ndarray
    kind: str
    tags: dict[str, str]


def is_dicom(path: Path) -> bool:
    """Tell whether a file starts as DICOM files do: 128 bytes of anything, then ``DICM``."""
    if not path.is_file():  # opening a pipe would wait for ever
        return False
    try:
        with path.open("rb") as stream:
            return stream.read(132)[128:] == b"DICM"
    except OSError:
        return False


def read_series(folder: Path) -> Volume:
    """Read the DICOM series of a folder.

    Args:
        folder: holds the slices of one series; other files are passed over, folders below are not looked into.

    Returns:
        The volume, intensities after rescale slope and intercept, slices in the order of their normal. Its header
        is a NIfTI header of the same geometry, which names neither patient nor study.

    Raises:
        InputError: if there is no series or more than one; if slices are missing, doubled, shifted or unevenly
            spaced; if a file is damaged, in colour, or holds several frames.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python deprecates how ITK is wrapped; as an error, that would end the process
        found = [_read_header(name) for name in _files_of_one_series(folder)]
        slices = sorted(found, key=lambda one: float(one.position @ found[0].axes[:, 2]))
        affine = _affine(slices[0], _checked_step(folder, slices))
        voxels = _read_voxels(folder, [one.path for one in slices])
    return Volume(
        voxels=voxels,
        affine=affine,
        path=folder,
        header=_nifti_header(affine, voxels.shape, slices[0].kind),
    )


def read_tags(path: Path, tags: Sequence[str]) -> dict[str, str] | None:
    """Return values of a DICOM file's header as text, empty where there is none; ``None`` if it cannot be read.

    Args:
        path: of the file.
        tags: such as ``"0008|103e"``.
    """
    image = _itk().GDCMImageIO.New()
    image.SetFileName(str(path))
    try:
        image.ReadImageInformation()
    except RuntimeError:
        return None
    return _tags_of(image, tags)


def _itk() -> Any:
    """Return ITK, which takes seconds to load and is needed for DICOM alone."""
    import itk

    return itk


def _files_of_one_series(folder: Path) -> list[str]:
    """List the files of the only series in a folder."""
    names = _itk().GDCMSeriesFileNames.New()
    names.SetUseSeriesDetails(True)  # tells apart what scanners store under one identifier, such as localizers
    display = names.GetGlobalWarningDisplay()
    names.SetGlobalWarningDisplay(False)  # an empty folder gets a sentence below
    names.SetDirectory(str(folder))
    series = [list(names.GetFileNames(identifier)) for identifier in names.GetSeriesUIDs()]
    names.SetGlobalWarningDisplay(display)
    if not series:
        raise InputError(f"{folder}: this folder holds no DICOM images{_where_instead(folder)}; {_ONE_SERIES}.")
    if len(series) > 1:
        listed = first_few([_describe(files) for files in series])
        raise InputError(f"{folder}: this folder holds {len(series)} DICOM series ({listed}); {_ONE_SERIES}.")
    _refuse_what_was_passed_over(folder, series[0])
    return series[0]


def _refuse_what_was_passed_over(folder: Path, files: Sequence[str]) -> None:
    """Refuse damaged images, which GDCM leaves out without a word; reports and directories may be left out."""
    kind = _storage_class(Path(files[0]))
    for path in sorted(set(folder.iterdir()) - {folder / Path(name).name for name in files}):
        if path.is_file() and (path.stat().st_size == 0 or (is_dicom(path) and _storage_class(path) == kind)):
            raise InputError(
                f"{path}: this file is cut short or damaged; copy the series again, or take the file away."
            )


def _storage_class(path: Path) -> bytes:
    """Return what kind of object a DICOM file holds: the value of tag (0002, 0002), at the start of the file."""
    with path.open("rb") as stream:
        start = stream.read(1024)
    at = start.find(b"\x02\x00\x02\x00UI")
    return start[at + 8 : at + 8 + int.from_bytes(start[at + 6 : at + 8], "little")] if at >= 0 else b""


def _where_instead(folder: Path) -> str:
    """Return a hint naming a folder below that holds DICOM files, or an empty text."""
    found = (path.parent for path in sorted(folder.glob("*/*")) if path.is_file() and is_dicom(path))
    below = next(found, None)
    return f" itself, {below} does" if below else ""


def _describe(files: Sequence[str]) -> str:
    """Return what a person calls a series: its number, its description and how many images it has."""
    tags = _read_header(files[0]).tags
    return f"{tags[_NUMBER] or '?'} {tags[_DESCRIPTION] or 'without description'}: {len(files)} images"


def _read_header(name: str) -> _Slice:
    """Read what one file says about its image."""
    image = _itk().GDCMImageIO.New()
    image.SetFileName(name)
    try:
        image.ReadImageInformation()
    except RuntimeError as error:
        raise InputError(f"{name}: this DICOM file cannot be read; export the series again.") from error
    if image.GetNumberOfComponents() != 1:
        raise InputError(f"{name}: this DICOM image is in colour; give a grey-scale series.")
    if image.GetNumberOfDimensions() > 2 and image.GetDimensions(2) > 1:
        raise InputError(
            f"{name}: this DICOM file holds {image.GetDimensions(2)} frames in one (enhanced multi-frame), whose order "
            "is not known; convert it with dcm2niix and give the NIfTI file."
        )
    return _Slice(
        path=name,
        position=np.array([image.GetOrigin(axis) for axis in range(3)]),
        axes=np.column_stack([image.GetDirection(axis) for axis in range(3)]),
        spacing=np.array([image.GetSpacing(axis) for axis in range(3)]),
        kind=image.GetComponentTypeAsString(image.GetComponentType()),
        tags=_tags_of(image, (_NUMBER, _DESCRIPTION, _ECHO_TIME)),
    )


def _tags_of(image: Any, tags: Sequence[str]) -> dict[str, str]:
    """Return values of a header that was read, as text; empty where there is none."""
    dictionary = image.GetMetaDataDictionary()
    known = set(dictionary.GetKeys())
    return {tag: dictionary[tag].strip() if tag in known else "" for tag in tags}


def _checked_step(folder: Path, slices: Sequence[_Slice]) -> np.ndarray:
    """Return the way from one slice to the next in mm, (3,), and refuse slices that do not follow it."""
    first, last = slices[0], slices[-1]
    if len(slices) == 1:
        return np.asarray(first.axes[:, 2] * first.spacing[2])
    tolerance = GRID_TOLERANCE * float(first.spacing[:2].min())
    if any(not np.allclose(one.axes, first.axes, atol=1e-3) for one in slices):
        raise InputError(f"{folder}: the slices of this series are turned against each other; {_ONE_SERIES}.")
    places = np.array([one.position for one in slices])
    heights = (places - places[0]) @ first.axes[:, 2]
    _check_places(folder, slices, np.diff(heights), tolerance)
    step = (last.position - first.position) / (len(slices) - 1)
    if np.abs(places - places[0] - np.outer(heights, first.axes[:, 2])).max() > tolerance:
        raise InputError(f"{folder}: the slices are shifted against each other (tilted gantry); resample them first.")
    return step


def _check_places(folder: Path, slices: Sequence[_Slice], gaps: np.ndarray, tolerance: float) -> None:
    """Refuse slices that lie in one place, leave a gap, or are spaced unevenly."""
    if gaps.min() <= tolerance:
        echoes = sorted({one.tags[_ECHO_TIME] for one in slices} - {""})
        told = f" with echo times {', '.join(echoes)} ms" if len(echoes) > 1 else ""
        raise InputError(
            f"{folder}: several of the {len(slices)} images lie in one place{told}: more than one echo, time point or "
            "export; keep the images of one only, or convert the series with dcm2niix."
        )
    usual = float(np.median(gaps))
    missing = [index for index, gap in enumerate(gaps) if gap > 1.5 * usual]
    if missing:
        between = " and ".join(Path(slices[index].path).name for index in (missing[0], missing[0] + 1))
        raise InputError(
            f"{folder}: slices are missing, {gaps[missing[0]]:.4g} mm lie between {between} where {usual:.4g} mm are "
            "usual; export the whole series again."
        )
    drift = np.abs(np.cumsum(gaps) - np.arange(1, len(gaps) + 1) * gaps.mean()).max()
    if drift > tolerance:
        raise InputError(
            f"{folder}: the slices are spaced unevenly, {gaps.min():.4g} to {gaps.max():.4g} mm apart; "
            "resample them to even spacing first."
        )


def _affine(first: _Slice, step: np.ndarray) -> np.ndarray:
    """Return the affine (4, 4) of slices that follow the first one by steps."""
    affine = np.eye(4)
    affine[:3, :3] = _LPS_TO_RAS @ np.column_stack([first.axes[:, :2] * first.spacing[:2], step])
    affine[:3, 3] = _LPS_TO_RAS @ first.position
    return affine


def _read_voxels(folder: Path, files: Sequence[str]) -> np.ndarray:
    """Read the images of a series, in the order given, as float32 (X, Y, Z)."""
    itk = _itk()
    reader = itk.ImageSeriesReader[itk.Image[itk.F, 3]].New()
    reader.SetImageIO(itk.GDCMImageIO.New())
    reader.SetFileNames(files)
    try:
        reader.Update()
    except RuntimeError as error:
        raise InputError(
            f"{folder}: the images of this DICOM series cannot be read together (damaged, or of several sizes); "
            "export the series again."
        ) from error
    return np.ascontiguousarray(itk.array_view_from_image(reader.GetOutput()).transpose(2, 1, 0))


def _nifti_header(affine: np.ndarray, shape: Sequence[int], kind: str) -> nib.Nifti1Header:
    """Return the header under which results on the grid of a series are written."""
    header = nib.Nifti1Header()
    header.set_data_shape(shape)
    header.set_data_dtype(np.dtype(_NIFTI_TYPES.get(kind, "f4")))
    header.set_slope_inter(1, 0)
    header.set_xyzt_units("mm")
    header.set_sform(affine, "scanner")
    header.set_qform(affine, "scanner")
    return header
