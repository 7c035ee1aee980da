# SPDX-License-Identifier: Apache-2.0
"""A small matrix enlarged as a scanner does, by zero-padding k-space, and the header that belongs to a finer grid.

Along an axis that k-space enlarges, voxel 0 keeps its centre and voxels shrink by old / new size, so the last one ends
further in than before. An axis of slices that are cut into finer ones keeps both ends instead: it is *divided*.
"""

import dataclasses
from collections.abc import Sequence
from typing import Final

import numpy as np
import torch

from bundle.kspace import zero_pad
from bundle.volumes.geometry import Volume, no_voxels

CHUNK_PIXELS: Final = 2**22  # of the enlarged volume that are computed at a time


def enlarge_voxels(voxels: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Zero-pad the k-space of slices of voxels (X, Y, Z), along an axis that keeps its size, to a larger matrix.

    What rings below 0 becomes positive, as scanners store it, unless the image has values below 0 of its own.

    Raises:
        ValueError: if an axis shrinks, or all three grow.
    """
    same = [axis for axis in range(3) if shape[axis] == voxels.shape[axis]]
    if not same or any(new < old for new, old in zip(shape, voxels.shape, strict=True)):
        raise ValueError(f"cannot enlarge {voxels.shape} to {tuple(shape)}: give no axis less, and one the same.")
    enlarged = np.empty(shape, dtype=np.float32)
    before, after = np.moveaxis(voxels, same[-1], 0), np.moveaxis(enlarged, same[-1], 0)
    is_magnitude = voxels.min() >= 0
    n_slices = max(1, CHUNK_PIXELS // (after.shape[1] * after.shape[2]))
    for start in range(0, len(after), n_slices):
        chunk = torch.from_numpy(np.array(before[start : start + n_slices], dtype=np.float32))
        padded = zero_pad(chunk, after.shape[1], after.shape[2])
        after[start : start + n_slices] = (padded.abs() if is_magnitude else padded).numpy()
    return enlarged


def regrid(volume: Volume, shape: Sequence[int], divided: int | None = None) -> Volume:
    """Describe the finer grid of a volume, without voxels: what ``write_volume`` writes them like.

    Matrix, voxel sizes, qform and sform follow, each in its own frame and with its code, and when each slice was taken
    is forgotten where they are ``divided``; all else in the header stays.
    """
    header = volume.header.copy()
    stored = header.get_data_shape()  # may have fewer axes than the voxels, or more of length 1
    header.set_data_shape((*shape, *stored[3:])[: len(stored)])
    scales = [old / new for old, new in zip(volume.voxels.shape, shape, strict=True)]
    if divided is not None:
        shift = (scales[divided] - 1) / 2  # of the centre of the first voxel, in old ones
        turned = volume.header.get_qform()[:3, divided]
        for step, name in zip(turned, "xyz", strict=True):
            header[f"qoffset_{name}"] += shift * step
            header[f"srow_{name}"][3] += shift * header[f"srow_{name}"][divided]
        for field in ("slice_start", "slice_end", "slice_code", "slice_duration"):
            header[field] = 0
    for axis, scale in enumerate(scales):
        header["pixdim"][1 + axis] *= scale  # of the qform too; its quaternion and offset do not change
        for row in ("srow_x", "srow_y", "srow_z"):
            header[row][axis] *= scale
    affine = regrid_affine(volume.affine, volume.voxels.shape, shape, divided)
    if header["sform_code"] == 0 and header["qform_code"] == 0:  # readers would place it by its middle, which moves
        header.set_sform(affine, code="aligned")
    return dataclasses.replace(volume, voxels=no_voxels(shape), affine=affine, header=header)


def regrid_affine(
    affine: np.ndarray, before: Sequence[int], after: Sequence[int], divided: int | None = None
) -> np.ndarray:
    """Return the affine (4, 4), voxel index to mm, of a grid of ``after`` instead of ``before`` voxels an axis."""
    finer = np.diag([*(old / new for old, new in zip(before, after, strict=True)), 1.0])
    if divided is not None:
        finer[divided, 3] = (finer[divided, divided] - 1) / 2
    return np.asarray(affine) @ finer
