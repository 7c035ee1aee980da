# SPDX-License-Identifier: Apache-2.0
"""Bring a reference onto a target's grid, once, from the voxels that were scanned."""

import itertools
from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from nibabel.affines import apply_affine, from_matvec, voxel_sizes

from bundle.registration.isolation import isolated
from bundle.registration.volumes import PlacedVolume, StoredVolume, block_mean, refuse_shear

SLAB_VOXELS: Final = 2**24  # computed at a time: 64 MB, however large the target
MARGIN: Final = 16  # voxels about a slab that its spline coefficients see; further ones count for less than 1e-9


def resample(
    reference: PlacedVolume | StoredVolume, shape: Sequence[int], affine: np.ndarray, matrix: np.ndarray
) -> np.ndarray:
    """Return a reference on another grid, by cubic B-splines; 0 outside its field of view and never below.

    Where a voxel of the target spans several of the reference along an axis (a thick slice over a thin-slice scan),
    it becomes their mean, as the target's own signal is. The reference has air at or near 0, shape (X, Y, Z) and affine
    (4, 4) are the target's, and the matrix, rigid, RAS mm, leads from a target point to a reference point.

    Raises:
        InputError: if the voxel axes of either are not at right angles.
    """
    for axes in (reference.affine, affine):
        refuse_shear(axes, reference.name)
    to_index = np.linalg.inv(reference.affine) @ matrix
    parts = np.rint(voxel_sizes(to_index @ affine)).clip(1).astype(int)  # of one voxel, along each axis
    n_slices = max(1, SLAB_VOXELS // int(shape[0] * shape[1] * parts.prod()))
    result = np.zeros(tuple(shape), dtype=np.float32)
    for first in range(0, shape[2], n_slices):
        slab = result[..., first : first + n_slices]
        # from the first part's centre, in voxels of the target
        fine_affine = affine @ from_matvec(np.diag(1 / parts), (1 / parts - 1) / 2 + [0, 0, first])
        fine_shape = (slab.shape * parts).tolist()
        seen = _seen(reference, fine_shape, to_index @ fine_affine)
        if seen is not None:
            fine = isolated("interpolate", seen, fine_shape, fine_affine, matrix, torch.get_num_threads())
            slab[...] = block_mean(fine, parts).clip(min=0)
    return result


def _seen(
    reference: PlacedVolume | StoredVolume, shape: Sequence[int], to_index: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return what a grid sees of the reference: a box of voxels and its affine; ``None`` where it falls outside."""
    corners = apply_affine(to_index, list(itertools.product(*((0, size - 1) for size in shape))))
    first = np.maximum(np.floor(corners.min(axis=0)).astype(int) - MARGIN, 0)
    last = np.minimum(np.ceil(corners.max(axis=0)).astype(int) + MARGIN + 1, reference.shape)
    if (first >= last).any():
        return None
    box = reference.box(tuple(map(slice, first, last))).astype(np.float32, copy=False)
    return box, reference.affine @ from_matvec(np.eye(3), first)
