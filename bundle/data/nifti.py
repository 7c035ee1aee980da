# SPDX-License-Identifier: Apache-2.0
"""NIfTI in, NIfTI out: native intensities, and a header that comes back as it came.

``read_volume`` refuses whatever cannot be super-resolved, in one sentence each. ``write_volume``
writes new voxels under the header of a volume that was read.
"""

import gzip
import io
import os
import zlib
from pathlib import Path
from typing import Literal

import nibabel as nib
import numpy as np

from bundle.data.refusals import check_kind, check_volume
from bundle.data.volume import Volume
from bundle.errors import InputError
from bundle.files import atomic_path


def read_volume(path: str | os.PathLike[str]) -> Volume:
    """Read a NIfTI volume and check that it can be super-resolved.

    Args:
        path: ``.nii`` or ``.nii.gz``; what the file is, its content tells. Voxels may be (X, Y, Z),
            (X, Y) or have trailing axes of length 1.

    Returns:
        The volume; the whole file has been read and, where compressed, its checksum verified.

    Raises:
        InputError: file missing, unreadable, cut short or not NIfTI; more than one volume; colour
            or complex voxels; NaN or infinite voxels; nothing but one value or no positive value;
            fewer than 17 voxels in plane; an affine that cannot be inverted.
    """
    path = Path(path).expanduser()
    image = _image(path, _content(path))
    check_kind(path, image)
    affine = np.asarray(image.affine, dtype=np.float64)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    volume = Volume(
        voxels=_voxels(path, image),
        affine=affine,
        spacing=(float(spacing[0]), float(spacing[1]), float(spacing[2])),
        path=path,
        header=_header(image),
    )
    check_volume(volume)
    return volume


def write_volume(
    path: str | os.PathLike[str],
    voxels: np.ndarray,
    like: Volume,
    dtype: Literal["float32", "input"] = "float32",
) -> None:
    """Write voxels under the header of a volume that was read, atomically.

    Kept as they were: shape, both forms with their codes, pixdim, units, intent, description, display
    window (the intensity scale is the same), extensions, byte order. Set anew: data type and scaling.

    Args:
        path: name of the new file, ending in ``.nii`` or ``.nii.gz``; its folder is made.
        voxels: (X, Y, Z), native intensities on the grid of ``like``.
        like: the volume whose header is used.
        dtype: ``"float32"``, or ``"input"`` for the type of ``like``'s file: integers are rounded and
            clipped to their range, and a file with scl_slope and scl_inter keeps both.

    Raises:
        InputError: if the folder cannot be written, or the name ends otherwise.
        ValueError: if the shape is not that of ``like``, a voxel is not finite, or ``dtype`` is unknown.
    """
    path = Path(path)
    if not path.name.endswith((".nii", ".nii.gz")):
        raise InputError(f"{path}: cannot tell the format by this name; choose one that ends in .nii or .nii.gz.")
    if voxels.shape != like.voxels.shape:
        raise ValueError(f"voxels are {voxels.shape}, the volume to write them like is {like.voxels.shape}: reshape.")
    if not np.isfinite(voxels).all():
        raise ValueError(f"the voxels to write to {path} hold NaN or infinity: find out where they come from.")
    header = like.header.copy()
    stored = _stored(voxels, header, dtype)
    kind = nib.Nifti2Image if isinstance(header, nib.Nifti2Header) else nib.Nifti1Image
    # With no affine given, nibabel leaves both forms and their codes alone.
    image = kind(stored.reshape(header.get_data_shape()), None, header)
    image.header.set_slope_inter(*header.get_slope_inter())  # forgotten by the line above; set, voxels go as they are
    with atomic_path(path) as temporary:
        nib.save(image, temporary)


def _content(path: Path) -> bytes:
    """Return the bytes of a file, decompressed where they are gzip."""
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file; check the path.") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(
            f"{path}: the compressed file is cut short or damaged ({error}); copy or download it again."
        ) from error
    except OSError as error:
        raise InputError(f"{path}: cannot read this file ({error.strerror}); check the path and its rights.") from error


def _image(path: Path, content: bytes) -> nib.Nifti1Image:
    """Return the image over a file's content; its voxels are not read yet."""
    magic_1, magic_2 = content[344:347], content[4:7]
    if magic_1 == b"ni1" or magic_2 == b"ni2":
        raise InputError(f"{path}: this is one half of a .hdr/.img pair; convert the pair to a single .nii file.")
    if magic_1 != b"n+1" and magic_2 != b"n+2":
        raise InputError(f"{path}: this is not a NIfTI file; convert the image to .nii.gz (DICOM: with dcm2niix).")
    kind = nib.Nifti2Image if magic_2 == b"n+2" else nib.Nifti1Image
    try:
        stored = kind.header_class.from_fileobj(io.BytesIO(content), check=False)
        image = kind.from_bytes(content)
    except Exception as error:  # a damaged header fails inside nibabel in many ways
        raise InputError(f"{path}: the NIfTI header is damaged ({error}); export the file again.") from error
    sizes = stored["pixdim"][1 : 1 + min(len(image.shape), 3)]
    if stored["sform_code"] == 0 and not (np.isfinite(sizes) & (sizes != 0)).all():  # nibabel would put 1 mm
        raise InputError(f"{path}: the header gives a voxel size of zero; export the file again with its geometry.")
    return image


def _header(image: nib.Nifti1Image) -> nib.Nifti1Header:
    """Return a copy of the header with the scaling that nibabel moves out of it on loading."""
    header = image.header.copy()
    header.set_slope_inter(image.dataobj.slope, image.dataobj.inter)
    return header


def _voxels(path: Path, image: nib.Nifti1Image) -> np.ndarray:
    """Return the scaled voxels as (X, Y, Z)."""
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows float32 is refused as infinite
            voxels = np.array(image.get_fdata(caching="unchanged", dtype=np.float32), order="C")
    except (OSError, ValueError, EOFError) as error:
        raise InputError(
            f"{path}: the file holds fewer voxels than its header says; copy or export it again."
        ) from error
    return voxels.reshape((*image.shape, 1)[:3])


def _stored(voxels: np.ndarray, header: nib.Nifti1Header, dtype: Literal["float32", "input"]) -> np.ndarray:
    """Return the voxels as they go into the file, and set the header's type and scaling to match."""
    if dtype == "float32":
        header.set_data_dtype(np.float32)
        header.set_slope_inter(1, 0)
        return voxels.astype(np.float32)
    if dtype != "input":
        raise ValueError(f'dtype is {dtype!r}: choose "float32" or "input".')
    stored_type = header.get_data_dtype()
    slope, inter = header.get_slope_inter()
    values = (voxels.astype(np.float64) - inter) / slope
    if stored_type.kind == "f":
        return values.astype(stored_type)
    limits = np.iinfo(stored_type)
    return np.rint(values).clip(limits.min, limits.max).astype(stored_type)
