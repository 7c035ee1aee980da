# SPDX-License-Identifier: Apache-2.0
"""A volume and where its voxels lie: in mm, right-anterior-superior, ``position = affine @ (i, j, k, 1)``."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import nibabel as nib
import numpy as np
from nibabel.affines import apply_affine, voxel_sizes
from nibabel.orientations import aff2axcodes, io_orientation

from bundle.errors import InputError

# Largest distance between corresponding corners, in voxels of the target's finest spacing: rounding of header fields
# moves a corner by 1e-4 voxel, and a shift of a tenth leaves a perfect image 45 dB, above what a network reaches.
GRID_TOLERANCE: Final = 0.1


@dataclasses.dataclass(frozen=True, eq=False)
class Volume:
    """Hold one volume and what its file, or its folder of a DICOM series, said about it."""

    voxels: np.ndarray  # float32 (X, Y, Z), native intensities, i.e. after scl_slope and scl_inter
    affine: np.ndarray  # (4, 4); the sform where it has a code, else the qform, else nibabel's guess from pixdim
    path: Path
    header: nib.Nifti1Header  # or -2, as stored; a 2-D image, or trailing axes of length 1, have other axes than voxels
    source: Mapping[str, Any] | None = None  # what was read, see bundle.files.fingerprint; None without voxels
    # how it was acquired, see bundle.volumes.header_facts.acquisition_fields
    fields: Mapping[str, Sequence[float]] = dataclasses.field(default_factory=dict)
    patient: str = dataclasses.field(default="", repr=False)  # DICOM's identifier, which is written nowhere

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size in mm along each axis."""
        x, y, z = voxel_sizes(self.affine).tolist()
        return x, y, z


class Placed(Protocol):
    """Anything with voxels (X, Y, Z) and an affine (4, 4) that puts them in mm."""

    @property
    def voxels(self) -> np.ndarray: ...  # noqa: D102
    @property
    def affine(self) -> np.ndarray: ...  # noqa: D102


def no_voxels(shape: Sequence[int]) -> np.ndarray:
    """Return voxels (X, Y, Z) that are all 0 and take no memory."""
    return np.broadcast_to(np.float32(0), tuple(shape))


def through_plane_axis(spacing: Sequence[float], shape: Sequence[int] | None = None) -> int:
    """Return the slice axis: the only one of a single voxel, else that of the largest spacing, the last within 1e-3."""
    single = [axis for axis, n_voxels in enumerate(shape or ()) if n_voxels == 1]
    if len(single) == 1:
        return single[0]
    sizes = [float(size) for size in spacing]
    return max(axis for axis, size in enumerate(sizes) if size >= max(sizes) * (1 - 1e-3))


def corner_distance(affine: np.ndarray, other: np.ndarray, shape: Sequence[int]) -> float:
    """Return the largest distance in mm between the same corner, hence any, voxel under two affines (4, 4)."""
    return float(np.linalg.norm(corners(affine, shape) - corners(other, shape), axis=1).max())


def corners(affine: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Return where the centres of the eight corner voxels lie, (8, 3) in mm."""
    indices = np.array(list(itertools.product(*((0, n_voxels - 1) for n_voxels in shape))))
    return np.asarray(apply_affine(affine, indices))


def same_grid(a: Placed, b: Placed) -> bool:
    """Tell whether each voxel of ``b`` lies where the same voxel of ``a`` does, within ``GRID_TOLERANCE``."""
    shape, finest = a.voxels.shape, float(voxel_sizes(a.affine).min())
    return shape == b.voxels.shape and corner_distance(a.affine, b.affine, shape) <= GRID_TOLERANCE * finest


def check_same_grid(target: Volume, reference: Volume) -> None:
    """Refuse, by ``InputError``, a reference after ``reorient_like`` whose voxels do not lie on the target's."""
    if not same_grid(target, reference):
        raise InputError(
            f"{reference.path}: this reference is not on the voxel grid of {target.path} "
            f"({'; '.join(_differences(target, reference))}); register the reference to the target and resample it "
            "to the target's grid first, for instance with ANTs, FSL FLIRT or NiftyReg."
        )


def reorient_like(volume: Volume, like: Volume) -> Volume:
    """Flip and permute the axes of a volume so that they run as another's do, at any angle, without interpolation."""
    orientation = io_orientation(np.linalg.inv(like.affine) @ volume.affine)
    if np.array_equal(orientation, [[0, 1], [1, 1], [2, 1]]):
        return volume
    image = nib.Nifti1Image(volume.voxels, volume.affine, volume.header).as_reoriented(orientation)
    voxels = np.ascontiguousarray(image.dataobj)
    return dataclasses.replace(volume, voxels=voxels, affine=image.affine, header=image.header.copy())


def _differences(target: Volume, reference: Volume) -> list[str]:
    found = []
    shapes = [volume.voxels.shape for volume in (reference, target)]
    if shapes[0] != shapes[1]:
        found.append(f"{_times(shapes[0])} voxels against {_times(shapes[1])}")
    if not np.allclose(reference.spacing, target.spacing, rtol=1e-3):
        found.append(f"spacing {_times(reference.spacing)} mm against {_times(target.spacing)} mm")
    codes = ["".join(aff2axcodes(volume.affine)) for volume in (reference, target)]
    axes = [volume.affine[:3, :3] / volume.spacing for volume in (target, reference)]
    angle = float(np.degrees(np.arccos((axes[0] * axes[1]).sum(axis=0).clip(-1, 1))).max())
    if codes[0] != codes[1]:
        found.append(f"axes run {codes[0]} against {codes[1]}")
    elif angle > 0.01:
        found.append(f"axes turned by up to {angle:.2f} degrees")
    places = [corners(volume.affine, volume.voxels.shape) for volume in (reference, target)]
    return [*found, f"corners up to {np.linalg.norm(places[0] - places[1], axis=1).max():.2f} mm apart"]


def _times(numbers: Sequence[float]) -> str:
    return " x ".join(f"{number:.4g}" for number in numbers)
