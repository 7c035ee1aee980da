# SPDX-License-Identifier: Apache-2.0
"""Values of a volume that are no signal: a constant border that some program has put, and single voxels far off.

Both would set the scale of all others, where it is taken from the largest or smallest value.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import ndimage

ENOUGH: Final = 2**20  # voxels that suffice for quantiles
OF_EDGES: Final = 0.02  # part of the edges of a volume's box that has one value, from which it may be a border's
OF_VOLUME: Final = 0.005  # part of all voxels from which a constant border counts
# Above the darkest by this many times the range of the tissue, a single voxel is no tissue; real volumes reach 3.2.
HOT: Final = 4.0
COLD: Final = 0.25  # below the darkest, and below 0, by this part of the range; ringing stays above
AROUND: Final = 2  # pixels to each side in the plane that tell what a single voxel should be


@dataclass(frozen=True, eq=False)
class ConstantBorder:
    """Hold where a volume has no data."""

    mask: np.ndarray  # bool (X, Y, Z)
    value: float  # that stands there
    air: float  # that is to be taken instead: 0, or the darkest level where that is below 0


def robust_range(values: np.ndarray) -> tuple[float, float]:
    """Return the darkest level, that of 1 in 1000 voxels, and the brightest, which 1 in 1000 voxels of tissue exceed.

    Tissue is brighter than 15 % of the way from the darkest to the 99th percentile of all that is above the darkest.
    """
    lowest = float(np.percentile(values, 0.1, method="lower"))
    above = values[values > lowest]
    if not above.size:
        return lowest, lowest
    tissue = above[above > lowest + 0.15 * (float(np.percentile(above, 99, method="lower")) - lowest)]
    return lowest, float(np.percentile(tissue, 99.9, method="lower"))


def constant_border(voxels: np.ndarray) -> ConstantBorder | None:
    """Find what of finite voxels (X, Y, Z) holds no data: one value that reaches inwards from the edges of the box.

    It lies below 0 and all that is inside, such as the -1024 of padding, or is as bright as tissue. What is dark and
    not below 0 is air.
    """
    edges = _edges(voxels)
    values, counts = np.unique(edges, return_counts=True)
    common = values[counts >= OF_EDGES * edges.size]
    some = _some(voxels)
    for value in common.tolist():
        inside = some[some != value]
        if not inside.size:
            continue
        darkest, brightest = robust_range(inside)
        if not (value < min(darkest, 0) or value > darkest + 0.15 * (brightest - darkest)):
            continue
        pieces, _ = ndimage.label(voxels == value)
        outer = np.unique(_edges(pieces))
        mask = np.isin(pieces, outer[outer > 0])
        if mask.mean() >= OF_VOLUME:
            return ConstantBorder(mask, value, min(darkest, 0.0))
    return None


def stray_voxels(voxels: np.ndarray, slice_axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Find single voxels far outside the range of finite voxels (X, Y, Z).

    Returns:
        Their indices, (n, 3), the furthest off first, and the medians of their neighbours in the plane, (n,), which lie
        within the range: where a larger region is as bright it stays.
    """
    darkest, brightest = robust_range(_some(voxels))
    length = brightest - darkest
    low, high = min(darkest, 0.0) - COLD * length, darkest + HOT * length  # what is dark and not below 0 is air
    places = np.argwhere((voxels < low) | (voxels > high)) if length > 0 else np.empty((0, 3), dtype=int)
    reach = [0 if axis == slice_axis else AROUND for axis in range(3)]
    boxes = (tuple(slice(max(p - r, 0), p + r + 1) for p, r in zip(place, reach, strict=True)) for place in places)
    medians = np.array([np.median(voxels[box]) for box in boxes], dtype=np.float32)
    single = (medians >= low) & (medians <= brightest)
    places, medians = places[single], medians[single]
    order = np.argsort(-np.abs(voxels[tuple(places.T)] - medians), kind="stable")
    return places[order], medians[order]


def _edges(volume: np.ndarray) -> np.ndarray:
    """Return what lies along the twelve edges of the box of a volume (X, Y, Z)."""
    pairs = ((0, 1), (0, 2), (1, 2))
    return np.concatenate([np.take(np.take(volume, (0, -1), a), (0, -1), b).ravel() for a, b in pairs])


def _some(voxels: np.ndarray) -> np.ndarray:
    """Return evenly spaced voxels, as many as are enough."""
    step = max(int(np.ceil(np.sqrt(voxels.size / ENOUGH))), 1)
    return voxels[::step, ::step].ravel()
