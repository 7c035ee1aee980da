# SPDX-License-Identifier: Apache-2.0
"""What cannot be super-resolved is refused on reading, in one sentence each."""

import math
from pathlib import Path
from typing import Final

import nibabel as nib
import numpy as np

from bundle.errors import InputError
from bundle.volumes.geometry import GRID_TOLERANCE, Volume, corner_distance, through_plane_axis

VOXEL_SIZES: Final = (0.01, 100.0)  # mm; outside of these, lengths are in metres or microns
MAXIMUM_VOXELS: Final = 2**29  # 2 GB in memory; 1024 x 1024 x 512
MINIMUM_MATRIX: Final = 17  # voxels along each in-plane axis: eight unpadded 3 x 3 convolutions take 16 away


def check_kind(path: Path, image: nib.Nifti1Image) -> None:
    """Refuse, by its header alone, an image without voxels, of several volumes, in colour or complex."""
    shape, dtype = image.shape, image.header.get_data_dtype()
    if len(shape) < 2 or min(shape) < 1:
        raise InputError(f"{path}: the image has no voxels (shape {shape}); export the file again.")
    if math.prod(map(int, shape)) > MAXIMUM_VOXELS and max(shape[3:], default=1) == 1:
        size = " x ".join(map(str, shape))
        raise InputError(
            f"{path}: {size} voxels are more than {MAXIMUM_VOXELS:,}; crop the image, or give a smaller one."
        )
    if dtype.names is not None:
        raise InputError(f"{path}: the voxels are RGB colours; give a grey-scale image.")
    if dtype.kind not in "iuf":
        raise InputError(f"{path}: the voxels are of type {dtype}; give a magnitude image of integers or floats.")
    if max(shape[3:], default=1) > 1:
        n_volumes = math.prod(shape[3:])
        raise InputError(f"{path}: this is a series of {n_volumes} volumes (shape {shape}); split it and give one.")


def check_volume(volume: Volume) -> None:
    """Refuse a volume that cannot be super-resolved, by ``InputError``."""
    _check_grid(volume)
    n_bad = volume.voxels.size - int(np.count_nonzero(np.isfinite(volume.voxels)))
    if n_bad:
        raise InputError(f"{volume.path}: {n_bad} voxels are NaN or infinite; replace them, for instance by 0.")
    lowest, highest = float(volume.voxels.min()), float(volume.voxels.max())
    if lowest == highest:
        raise InputError(f"{volume.path}: every voxel is {lowest:g}; give an image that shows something.")
    if highest <= 0:
        raise InputError(f"{volume.path}: no voxel is above 0 (the largest is {highest:g}); give a magnitude image.")


def _check_grid(volume: Volume) -> None:
    sizes, shape = np.array(volume.spacing), volume.voxels.shape
    placed = np.isfinite(volume.affine).all() and (sizes > 0).all()
    # Relative to the voxel sizes: 1 for right angles, 0 where an axis lies in the plane of the others.
    if not (placed and abs(np.linalg.det(volume.affine[:3, :3] / sizes)) > 1e-3):
        raise InputError(
            f"{volume.path}: the affine in the header is degenerate (voxel size {sizes.tolist()} mm); "
            "export the file again with its geometry."
        )
    if not (sizes.min() >= VOXEL_SIZES[0] and sizes.max() <= VOXEL_SIZES[1]):
        size = " x ".join(f"{size:.3g}" for size in sizes)
        raise InputError(
            f"{volume.path}: the header gives voxels of {size} mm, which no image of a patient has; correct its units."
        )
    slice_axis = through_plane_axis(volume.spacing, shape)
    in_plane = [n for axis, n in enumerate(shape) if axis != slice_axis]
    if min(in_plane) < MINIMUM_MATRIX:
        raise InputError(
            f"{volume.path}: slices along axis {slice_axis + 1} have a matrix of {in_plane[0]} x {in_plane[1]}; "
            f"the network needs at least {MINIMUM_MATRIX} x {MINIMUM_MATRIX}, so give a larger image."
        )


def two_places(volume: Volume) -> str | None:
    """Return what to say of a volume whose header gives it two places; ``None`` where it gives one."""
    if volume.header["qform_code"] == 0:
        return None
    try:
        with np.errstate(invalid="ignore", over="ignore"):  # damaged numbers give an infinite distance or none
            distance = corner_distance(volume.affine, volume.header.get_qform(), volume.voxels.shape)
    except ValueError:  # nibabel: a quaternion longer than 1
        distance = math.inf
    if distance <= GRID_TOLERANCE * min(volume.spacing):
        return None
    return (
        f"{volume.path}: qform and sform disagree by up to {distance:.2f} mm; the sform is used: see in a viewer "
        "that it is right."
    )
