# SPDX-License-Identifier: Apache-2.0
"""What the weights' training saw: ranges over its volumes, kept in the training record."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, Final

import numpy as np

from bundle.data import SliceStack
from bundle.data.reading import read_volume
from bundle.keys import HIGH_RES, IMAGE, LOW_RES, REFERENCE
from bundle.trust.profile import Profile, profile
from bundle.volumes.geometry import through_plane_axis

MAXIMUM: Final = 30  # volumes that are measured, at equal distances among all: a fraction of a second each
# Entries of a profile that are kept of every volume, with the largest distance of one from the nearest other ...
HISTOGRAMS: Final = ("target_histogram", "reference_histogram")
RANGES: Final = tuple(f.name for f in fields(Profile) if f.name not in HISTOGRAMS)  # ... smallest and largest value


def seen_in_training(stack: SliceStack) -> dict[str, Any]:
    """Measure the volumes of a training, as :func:`summarise` tells of them."""
    n_volumes = len(stack.data)
    chosen = np.unique(((np.arange(MAXIMUM) + 0.5) * n_volumes / MAXIMUM).astype(int))
    profiles = [_profile_of(stack, index, stack.own_slices[index]) for index in chosen]
    return summarise([found for found in profiles if found is not None])


def summarise(profiles: Sequence[Profile]) -> dict[str, Any]:
    """Return what volumes have in common, as JSON values.

    They are ``n_volumes``; ``[smallest, largest]`` of each of ``RANGES``, ``None`` where never measured; for each
    histogram those of the ``volumes``, and ``limit``, the largest distance of one volume from the nearest other:
    ``None`` with fewer than three volumes, which tell nothing about a fourth.
    """
    seen: dict[str, Any] = {"n_volumes": len(profiles)}
    for name in RANGES:
        values = np.array([getattr(p, name) for p in profiles if getattr(p, name) is not None], dtype=np.float64)
        seen[name] = [round(float(values.min()), 5), round(float(values.max()), 5)] if values.size else None
    for name in HISTOGRAMS:
        histograms = np.array([getattr(p, name) for p in profiles if getattr(p, name) is not None])
        seen[name] = _common(histograms) if len(histograms) else None
    return seen


def distance_from_training(quantiles: Sequence[float], seen: Mapping[str, Any]) -> float:
    """Return the distance of a histogram from the nearest that training saw.

    It is the mean absolute difference of quantiles: the Wasserstein-1 distance, but for the outer tails. What lies
    between two scanners is like neither, and the mean over all is no image's. ``seen`` is what :func:`summarise` keeps
    of such histograms; of weights from before 0.6.0, their mean alone.
    """
    others = np.asarray(seen.get("volumes") or [seen["mean"]])
    return float(np.abs(others - np.asarray(quantiles)).mean(axis=-1).min())


def _common(histograms: np.ndarray) -> dict[str, Any]:
    """Return histograms (n, levels), and the largest distance of one from the nearest other."""
    limit = None
    if len(histograms) >= 3:
        distances = np.abs(histograms[:, None] - histograms).mean(axis=-1)
        np.fill_diagonal(distances, np.inf)
        limit = round(float(distances.min(axis=1).max()), 4)
    return {"volumes": histograms.astype(np.float64).round(4).tolist(), "limit": limit}


def _profile_of(stack: SliceStack, index: int, where: slice) -> Profile | None:
    """Measure one volume of the stack; how far its voxels lie apart is read from its file's header."""
    height, width = stack.sizes[where.start].tolist()
    voxels = stack.voxels[where, :, :height, :width].float().cpu().movedim(0, -1).numpy()  # C, H, W, D
    header = read_volume(stack.data[index][IMAGE], with_voxels=False)
    axis = through_plane_axis(header.spacing, header.voxels.shape)
    first, second = (size for i, size in enumerate(header.spacing) if i != axis)  # as SlicesLastd orders them
    spacing = (first, second, header.spacing[axis])
    target = LOW_RES if LOW_RES in stack.channels else HIGH_RES
    return profile(voxels[stack.channels.index(target)], voxels[stack.channels.index(REFERENCE)], spacing)
