# SPDX-License-Identifier: Apache-2.0
"""NIfTI in, NIfTI out: native intensities, and a header that comes back as it came."""

import contextlib
import gzip
import math
import os
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Final, Literal

import nibabel as nib
import numpy as np
from nibabel.openers import ImageOpener

from bundle.errors import InputError
from bundle.files import atomic_path, open_file
from bundle.settings import PathLike
from bundle.volumes.geometry import Volume, no_voxels
from bundle.volumes.volume_checks import check_kind

_PART: Final = 2**22  # voxels, or bytes, that are read at once
_REST: Final = 2**20  # bytes behind the voxels, which some programs leave
_HEADER: Final = 2**24  # bytes before the voxels: of the header and its extensions
_DEFLATE: Final = 1040  # more than gzip can make of a byte
_METRES, _MILLIMETRES, _MICRONS = 1, 2, 3  # NIfTI's codes of units of length
_TOO_LONG: Final = f"it is longer than {_HEADER >> 20} MB"
_TOO_SHORT: Final = "{path}: the file holds fewer voxels than its header says; copy or export it again."


def read_nifti(path: Path, with_voxels: bool = True) -> Volume:
    """Read a NIfTI volume, (X, Y, Z), (X, Y) or with trailing axes of length 1, or its header alone.

    A header in metres or microns becomes one in mm. ``InputError``: file missing, unreadable, cut short or not NIfTI;
    more than one volume; colour or complex voxels.
    """
    with _opened(path) as stream:
        image = _image(path, stream)
        check_kind(path, image)
        needed = image.dataobj.offset + math.prod(map(int, image.shape)) * image.header.get_data_dtype().itemsize
        if needed > os.fstat(stream.fileno()).st_size * (_DEFLATE if isinstance(stream, gzip.GzipFile) else 1):
            raise InputError(_TOO_SHORT.format(path=path))  # before memory is taken for what is not there
        voxels = _voxels(path, image) if with_voxels else no_voxels((*image.shape, 1)[:3])
        if with_voxels and len(stream.read(_REST + 1)) > _REST:  # to the end, where a compressed file has its checksum
            raise InputError(f"{path}: the file holds more than its header says; export it again.")
    header = image.header.copy()
    header.set_slope_inter(image.dataobj.slope, image.dataobj.inter)  # nibabel moves them out of it on loading
    affine = np.array(image.affine, dtype=np.float64)
    with np.errstate(over="ignore", invalid="ignore"):  # of damaged numbers, which are refused as such
        affine[:3] *= _to_millimetres(header)
    return Volume(voxels, affine, path, header)


def write_volume(
    path: PathLike,
    voxels: np.ndarray,
    like: Volume,
    dtype: Literal["float32", "input"] = "float32",
    check: Callable[[], object] | None = None,
) -> None:
    """Write voxels (X, Y, Z), native intensities, under the header of a volume on their grid, atomically.

    The header keeps all but data type and scaling; with ``"input"`` both are those of ``like``'s file, and integers are
    rounded and clipped to their range. ``check`` is called before the file gets its name, and may raise instead.
    ``InputError`` if the folder cannot be written, or the name is not of NIfTI;
    ``ValueError`` if the shape is not that of ``like``, a voxel is not finite, or ``dtype`` is unknown.
    """
    path = Path(path)
    if not path.name.endswith((".nii", ".nii.gz")):
        raise InputError(f"{path}: cannot tell the format by this name; choose one that ends in .nii or .nii.gz.")
    if voxels.shape != like.voxels.shape:
        raise ValueError(f"voxels are {voxels.shape}, the volume to write them like is {like.voxels.shape}: reshape.")
    if not all(np.isfinite(voxels[:, :, index]).all() for index in range(voxels.shape[2])):
        raise ValueError(f"the voxels to write to {path} hold NaN or infinity: find out where they come from.")
    if dtype not in ("float32", "input"):
        raise ValueError(f'dtype is {dtype!r}: choose "float32" or "input".')
    header = like.header.copy()
    header["magic"] = header.single_magic
    header["vox_offset"] = header.single_vox_offset + header.extensions.get_sizeondisk()
    if dtype == "float32":
        header.set_data_dtype(np.float32)
        header.set_slope_inter(1, 0)
    with atomic_path(path, check) as temporary, ImageOpener(temporary, "wb") as stream:
        header.write_to(stream)
        stream.write(bytes(header.get_data_offset() - stream.tell()))
        for index in range(voxels.shape[2]):  # one slice at a time, where a volume would be one more in memory
            stream.write(_stored(voxels[:, :, index], header).tobytes(order="F"))


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    try:
        with open_file(path) as stream:
            start = stream.read(2)
            stream.seek(0)
            yield gzip.GzipFile(fileobj=stream) if start == b"\x1f\x8b" else stream  # type: ignore[misc]
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file; check the path.") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(
            f"{path}: the compressed file is cut short or damaged ({error}); copy or download it again."
        ) from error
    except OSError as error:
        raise InputError(f"{path}: cannot read this file ({error.strerror}); check the path and its rights.") from error


class _Head:
    """The start of a stream, of which no more is read than a header may have."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.tell = stream.tell

    def read(self, size: int) -> bytes:
        if not 0 <= size <= _HEADER - self.tell():
            raise ValueError(_TOO_LONG)
        return self._stream.read(size)


def _image(path: Path, stream: IO[bytes]) -> nib.Nifti1Image:
    start = stream.read(348)
    magic_1, magic_2 = start[344:347], start[4:7]
    if magic_1 == b"ni1" or magic_2 == b"ni2":
        raise InputError(f"{path}: this is one half of a .hdr/.img pair; convert the pair to a single .nii file.")
    if magic_1 != b"n+1" and magic_2 != b"n+2":
        raise InputError(f"{path}: this is not a NIfTI file; convert the image to .nii.gz (DICOM: with dcm2niix).")
    kind = nib.Nifti2Image if magic_2 == b"n+2" else nib.Nifti1Image
    try:
        stream.seek(0)
        stored = kind.header_class.from_fileobj(_Head(stream), check=False)
        stream.seek(0)
        image = kind.from_stream(stream)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise
    except Exception as error:  # a damaged header fails inside nibabel in many ways
        raise InputError(f"{path}: the NIfTI header is damaged ({error}); export the file again.") from error
    if image.dataobj.offset > _HEADER:
        raise InputError(f"{path}: the NIfTI header is damaged ({_TOO_LONG}); export the file again.")
    sizes = stored["pixdim"][1 : 1 + min(len(image.shape), 3)]
    if stored["sform_code"] == 0 and not (np.isfinite(sizes) & (sizes != 0)).all():  # nibabel would put 1 mm
        raise InputError(f"{path}: the header gives a voxel size of zero; export the file again with its geometry.")
    return image


def _to_millimetres(header: nib.Nifti1Header) -> float:
    """Turn the lengths of a header into mm, as all other programs take them, and return what they were scaled by."""
    units = int(header["xyzt_units"])
    scale = {_METRES: 1000.0, _MICRONS: 0.001}.get(units % 8, 1.0)
    if scale != 1:
        header["pixdim"][1:4] *= scale
        for field in ("qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z"):
            header[field] *= scale
        header["xyzt_units"] = units - units % 8 + _MILLIMETRES
    return scale


def _voxels(path: Path, image: nib.Nifti1Image) -> np.ndarray:
    """Return the scaled voxels as (X, Y, Z), in the order in which they are stored: each slice is one piece."""
    voxels = np.empty((*image.shape, 1)[:3], dtype=np.float32, order="F")
    thickness = max(1, _PART // (voxels.shape[0] * voxels.shape[1]))
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows float32 is refused as infinite
            for start in range(0, voxels.shape[2], thickness):
                part = slice(start, start + thickness)
                index = (slice(None), slice(None), part, *(0 for _ in image.shape[3:]))[: len(image.shape)]
                voxels[:, :, part] = np.asarray(image.dataobj[index]).reshape(*voxels.shape[:2], -1)
    except gzip.BadGzipFile:
        raise
    except (OSError, ValueError) as error:
        raise InputError(_TOO_SHORT.format(path=path)) from error
    return voxels


def _stored(voxels: np.ndarray, header: nib.Nifti1Header) -> np.ndarray:
    stored_type = header.get_data_dtype()
    slope, inter = header.get_slope_inter()
    if (slope, inter) != (1, 0):
        voxels = (voxels.astype(np.float64) - inter) / slope
    if stored_type.kind == "f":
        return voxels.astype(stored_type)
    limits = np.iinfo(stored_type)
    # in double precision, where the limits of all integers but the longest are themselves
    return np.rint(voxels.astype(np.float64)).clip(limits.min, limits.max).astype(stored_type)
