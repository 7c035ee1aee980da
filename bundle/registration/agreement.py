# SPDX-License-Identifier: Apache-2.0
"""Whether two volumes on one grid show the same head in the same place, told by their mutual information alone.

The information that two contrasts of one head share falls steeply as one is displaced; that of two heads hardly does,
however well they were aligned. And where it is highest away from zero displacement, one of them has moved.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np

from bundle.registration.volumes import PlacedVolume, head

N_BINS: Final = 32
REACH: Final = 3  # coarse voxels along each axis that are looked at from the best displacement so far
DISPLACED: Final = 4.0  # mm by which sharpness is measured, rounded to coarse voxels
ENOUGH: Final = 20_000  # coarse voxels of the head below which histograms say little
EVERY: Final = 2  # which of the head's coarse voxels are counted

Information = Callable[[np.ndarray], float]


@dataclass(frozen=True, eq=False)
class Agreement:
    """Hold how two volumes on one grid agree."""

    # (3,), mm along the voxel axes, by which the reference seems to lie off: to 0.5 mm, or 1 mm along several axes
    displacement: np.ndarray
    information: float  # mutual information there, in nats over the head
    sharpness: float  # part of it that is lost at another 4 mm, mean over the axes

    @property
    def shift_mm(self) -> float:
        """Length of the displacement."""
        return float(np.linalg.norm(self.displacement))


def agreement(target: PlacedVolume, reference: PlacedVolume) -> Agreement | None:
    """Compare a target with a reference on its grid; ``None`` where the head is too small to tell.

    Takes about half a second, whatever the matrix. Sees no rotation about the head's centre.
    """
    mask = head(target.coarse)
    if mask.sum() < ENOUGH:
        return None
    spacing = target.coarse.spacing
    information = _displaced(target.coarse, reference.coarse, mask)
    best = _best_offset(information)
    steps = np.diag(np.maximum(1, np.rint(DISPLACED / spacing))).astype(int)
    displaced = np.mean([information(best + sign * step) for step in steps for sign in (-1, 1)])
    highest = information(best)
    between = np.array([_peak(information, best, axis) for axis in np.eye(3, dtype=int)])
    sharpness = 1 - float(displaced) / highest if highest > 0 else 0.0
    return Agreement((best + between) * spacing, highest, sharpness)


def mutual_information(counts: np.ndarray) -> float:
    """Return the mutual information in nats of a joint histogram (n, m): sum p log(p / (p_1 p_2))."""
    if not counts.any():
        return 0.0
    joint = counts / counts.sum()
    product = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    seen = joint > 0
    return float((joint[seen] * np.log(joint[seen] / product[seen])).sum())


def _displaced(target: PlacedVolume, reference: PlacedVolume, mask: np.ndarray) -> Information:
    """Return the information by the displacement of the reference in voxels, int (3,), each counted once."""
    places = np.argwhere(mask)[::EVERY]
    bins = [np.rint(volume.voxels * (N_BINS - 1)).astype(np.int64) for volume in (target, reference)]

    @cache
    def at(offset: tuple[int, ...]) -> float:
        moved = places + offset
        inside = ((moved >= 0) & (moved < mask.shape)).all(axis=1)
        first, second = (b[tuple(p[inside].T)] for b, p in zip(bins, (places, moved), strict=True))
        counts = np.bincount(first * N_BINS + second, minlength=N_BINS**2)
        return mutual_information(counts.reshape(N_BINS, N_BINS))

    return lambda offset: at(tuple(offset.tolist()))


def _best_offset(information: Information) -> np.ndarray:
    """Return the displacement in voxels that shares most, found axis by axis from none."""
    best, before = np.zeros(3, dtype=int), None
    while before is None or (best != before).any():
        before = best.copy()
        for axis in np.eye(3, dtype=int):
            nearest_first = sorted(range(-REACH, REACH + 1), key=abs)  # moves only where that gains: it must end
            best = max((best + step * axis for step in nearest_first), key=information)
    return best


def _peak(information: Information, best: np.ndarray, axis: np.ndarray) -> float:
    """Return where between voxels the information is highest, by the parabola through three values."""
    below, here, above = (information(best + step * axis) for step in (-1, 0, 1))
    curvature = 2 * here - above - below
    return (above - below) / (2 * curvature) if curvature > 0 else 0.0
