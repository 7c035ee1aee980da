# SPDX-License-Identifier: Apache-2.0
"""What the weights' training saw: ranges over its volumes, kept in the training record."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import nibabel as nib
import numpy as np
from nibabel.affines import voxel_sizes

from bundle.data import SliceStack
from bundle.data.slice_stack import CHANNELS
from bundle.keys import IMAGE, LOW_RES, REFERENCE
from bundle.trust.profile import Profile, profile
from bundle.volumes.geometry import through_plane_axis

MAXIMUM: Final = 30
"""Volumes that are measured, at equal distances among all: a fraction of a second each."""
RANGES: Final = (
    *("spacing", "slice_distance", "matrix", "target_fluid", "target_noise"),
    *("reference_fluid", "reference_noise", "edge_agreement"),
)
"""Entries of a profile whose smallest and largest value are kept ..."""
HISTOGRAMS: Final = ("target_histogram", "reference_histogram")
"""... and those that are kept of every volume, with the largest distance of one from the nearest other."""


def seen_in_training(stack: SliceStack) -> dict[str, Any]:
    """Measure the volumes of a training.

    Args:
        stack: the slices, with ``data`` that names their files.

    Returns:
        JSON values, as :func:`summarise` returns them.
    """
    starts = np.concatenate(([0], np.cumsum(stack.counts)))
    n_volumes = len(stack.counts)
    chosen = np.unique(((np.arange(MAXIMUM) + 0.5) * n_volumes / MAXIMUM).astype(int))
    profiles = [_profile_of(stack, index, slice(starts[index], starts[index + 1])) for index in chosen]
    return summarise([found for found in profiles if found is not None])


def summarise(profiles: Sequence[Profile]) -> dict[str, Any]:
    """Return what volumes have in common, as JSON values.

    Args:
        profiles: of the volumes that trained.

    Returns:
        ``n_volumes``; the range ``[smallest, largest]`` of each of ``RANGES``, ``None`` where it was never measured;
        for each histogram those of the ``volumes``, and ``limit``, the largest distance (:func:`histogram_distance`)
        of one volume from the nearest other: ``None`` with fewer than three volumes, which tell nothing about a
        fourth.
    """
    seen: dict[str, Any] = {"n_volumes": len(profiles)}
    for name in RANGES:
        values = np.array([getattr(p, name) for p in profiles if getattr(p, name) is not None], dtype=np.float64)
        seen[name] = [round(float(values.min()), 5), round(float(values.max()), 5)] if values.size else None
    for name in HISTOGRAMS:
        histograms = np.array([getattr(p, name) for p in profiles if getattr(p, name) is not None])
        seen[name] = _common(histograms) if len(histograms) else None
    return seen


def histogram_distance(quantiles: Sequence[float], others: Sequence[float]) -> float:
    """Return the mean absolute difference of quantiles: the Wasserstein-1 distance, but for the outer tails."""
    return float(np.abs(np.asarray(quantiles) - np.asarray(others)).mean())


def distance_from_training(quantiles: Sequence[float], seen: Mapping[str, Any]) -> float:
    """Return the distance of a histogram from the nearest that training saw.

    Scanners differ: what lies between two of them is like neither, and the mean over all is no image's.

    Args:
        quantiles: the histogram.
        seen: what :func:`summarise` keeps of such histograms; of weights from before 0.6.0, their mean alone.
    """
    return min(histogram_distance(quantiles, other) for other in seen.get("volumes") or [seen["mean"]])


def _common(histograms: np.ndarray) -> dict[str, Any]:
    """Return histograms (n, levels), and the largest distance of one from the nearest other."""
    limit = None
    if len(histograms) >= 3:
        others = (np.delete(histograms, index, axis=0) for index in range(len(histograms)))
        nearest = (
            min(histogram_distance(own, other) for other in rest) for own, rest in zip(histograms, others, strict=True)
        )
        limit = round(max(nearest), 4)
    return {"volumes": [[round(float(value), 4) for value in one] for one in histograms], "limit": limit}


def _profile_of(stack: SliceStack, index: int, where: slice) -> Profile | None:
    """Measure one volume of the stack; where voxels lie is read from its file's header."""
    height, width = stack.sizes[where.start].tolist()
    voxels = stack.voxels[where, :, :height, :width].float().cpu().movedim(0, -1).numpy()  # C, H, W, D
    return profile(
        voxels[CHANNELS.index(LOW_RES)],
        voxels[CHANNELS.index(REFERENCE)],
        _slice_spacing(Path(stack.data[index][IMAGE])),
    )


def _slice_spacing(path: Path) -> tuple[float, float, float]:
    """Return the distances of voxels, the slices' last, as :class:`bundle.transforms.SlicesLastd` orders axes."""
    image = nib.load(path)
    spacing = [float(size) for size in voxel_sizes(image.affine)]
    axis = through_plane_axis(spacing, image.shape[:3])
    first, second = (size for i, size in enumerate(spacing) if i != axis)
    return first, second, spacing[axis]
