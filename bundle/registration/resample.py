# SPDX-License-Identifier: Apache-2.0
"""Bring a reference onto a target's grid, once, from the voxels that were scanned."""

import itertools
from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from nibabel.affines import apply_affine

from bundle.itk_process import ask
from bundle.itk_process.itk_images import Image
from bundle.registration.volumes import PlacedVolume, StoredVolume, block_mean

SLAB_VOXELS: Final = 2**24
"""Voxels computed at a time: 64 MB, however large the target."""
MARGIN: Final = 16
"""Voxels of the reference about a slab that its spline coefficients see; further ones count for less than 1e-9."""


def resample(
    reference: PlacedVolume | StoredVolume, shape: Sequence[int], affine: np.ndarray, matrix: np.ndarray
) -> np.ndarray:
    """Return a reference on another grid, by cubic B-splines; 0 outside its field of view and never below.

    Where a voxel of the target spans several of the reference along an axis (a thick slice over a thin-slice scan),
    it becomes their mean, as the target's own signal is.

    Args:
        reference: the volume as scanned, magnitudes with air at or near 0.
        shape: (X, Y, Z) of the target.
        affine: (4, 4) of the target, voxel index to RAS mm.
        matrix: (4, 4), rigid, RAS mm, target point to reference point.

    Returns:
        float32 (X, Y, Z).

    Raises:
        InputError: if the voxel axes of either are not at right angles.
    """
    width, height, depth = shape
    to_index = np.linalg.inv(reference.affine) @ matrix @ affine
    parts = [max(1, round(float(np.linalg.norm(to_index[:3, axis])))) for axis in range(3)]
    n_slices = max(1, SLAB_VOXELS // (width * height * int(np.prod(parts))))
    result = np.zeros((width, height, depth), dtype=np.float32)
    for first in range(0, depth, n_slices):
        last = min(first + n_slices, depth)
        to_slab = np.eye(4)
        to_slab[2, 3] = first
        slab = _slab(reference, (width, height, last - first), affine @ to_slab, matrix, (parts[0], parts[1], parts[2]))
        result[..., first:last] = slab.clip(min=0)
    return result


def _slab(
    reference: PlacedVolume | StoredVolume,
    shape: tuple[int, int, int],
    affine: np.ndarray,
    matrix: np.ndarray,
    parts: tuple[int, int, int],
) -> np.ndarray:
    """Return one slab of the target, each voxel the mean of its parts."""
    to_fine = np.diag([*(1 / n for n in parts), 1.0])
    to_fine[:3, 3] = [(1 / n - 1) / 2 for n in parts]  # the first part's centre, in voxels of the target
    fine_affine, fine_shape = affine @ to_fine, tuple(size * n for size, n in zip(shape, parts, strict=True))
    seen = _seen(reference, fine_shape, np.linalg.inv(reference.affine) @ matrix @ fine_affine)
    if seen is None:
        return np.zeros(shape, dtype=np.float32)
    return block_mean(ask("interpolate", seen, fine_shape, fine_affine, matrix, torch.get_num_threads()), parts)


def _seen(reference: PlacedVolume | StoredVolume, shape: Sequence[int], to_index: np.ndarray) -> Image | None:
    """Return the box of the reference that a grid falls into, with its margin; ``None`` where it falls outside."""
    corners = apply_affine(to_index, list(itertools.product(*((0, size - 1) for size in shape))))
    first = np.maximum(np.floor(corners.min(axis=0)).astype(int) - MARGIN, 0)
    last = np.minimum(np.ceil(corners.max(axis=0)).astype(int) + MARGIN + 1, reference.shape)
    if (first >= last).any():
        return None
    to_box = np.eye(4)
    to_box[:3, 3] = first
    box = reference.box(first.tolist(), last.tolist()).astype(np.float32, copy=False)
    return Image(box, reference.affine @ to_box, reference.name)
