# SPDX-License-Identifier: Apache-2.0
"""Lesions that are known because they were drawn: does a network keep them, and does it invent them?"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.ndimage import distance_transform_edt, uniform_filter
from scipy.special import ndtr

from bundle.volumes.intensity import tissue_threshold

Image = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

EDGE_MM: Final = 0.6  # standard deviation of the blur of a lesion's border
GAP_MM: Final = 1.5  # between a lesion's border and the ring that it is compared with ...
RING_MM: Final = 3.0  # ... and the width of that ring
EVEN_MM: Final = 14.0  # width of a patch that should be even, for a lesion to be drawn into
APART_MM: Final = 20.0  # between the middles of two such patches
DEEP_MM: Final = 12.0  # inside the outline of the head


def lesion_shape(shape: Sequence[int], centre: Sequence[float], diameter_mm: float, spacing: Sequence[float]) -> Image:
    """Return a disc (rows, columns) with a border blurred by a Gaussian, 1 inside and 0 outside.

    The centre is in pixels, the diameter where the disc has half its height; spacing is mm between rows and columns.
    """
    return np.asarray(ndtr(-_outside(shape, centre, diameter_mm, spacing) / EDGE_MM), dtype=np.float32)


def lesion_contrast(image: Image, centre: Sequence[float], diameter_mm: float, spacing: Sequence[float]) -> float:
    """Return the mean inside a lesion's half-height border minus the mean of a ring around it.

    The image is (rows, columns); the other arguments are those of :func:`lesion_shape`. A ``ValueError`` says where the
    lesion or its ring holds no pixel of the image.
    """
    outside = _outside(image.shape, centre, diameter_mm, spacing)
    inside, ring = outside <= 0, (outside > GAP_MM) & (outside <= GAP_MM + RING_MM)
    if not inside.any() or not ring.any():
        raise ValueError(f"no pixel of the image lies in a lesion of {diameter_mm} mm at {tuple(centre)} or about it.")
    return float(image[inside].mean(dtype=np.float64) - image[ring].mean(dtype=np.float64))


def homogeneous_places(
    slice_: Image, spacing: Sequence[float], n: int, among: Mask | None = None
) -> list[tuple[int, int]]:
    """Return the middles of the most even patches in the middle of the head, the most even first.

    Args:
        slice_: (rows, columns), air at or near 0.
        spacing: mm between rows and columns.
        n: how many at most; fewer where there is no more room for them.
        among: (rows, columns), where they may be; ``None`` for anywhere.
    """
    depth = distance_transform_edt(slice_ > tissue_threshold(slice_), sampling=spacing[:2])
    width = round(EVEN_MM / spacing[0])
    variance = uniform_filter(slice_**2, width) - uniform_filter(slice_, width) ** 2
    variance[depth < min(DEEP_MM, 0.6 * depth.max())] = np.inf
    if among is not None:
        variance[~among] = np.inf
    places: list[tuple[int, int]] = []
    rows, columns = np.indices(slice_.shape)
    while len(places) < n and np.isfinite(variance.min()):
        row, column = np.unravel_index(np.argmin(variance), variance.shape)
        places.append((int(row), int(column)))
        variance[np.hypot((rows - row) * spacing[0], (columns - column) * spacing[1]) < APART_MM] = np.inf
    return places


def _outside(
    shape: Sequence[int], centre: Sequence[float], diameter_mm: float, spacing: Sequence[float]
) -> npt.NDArray[np.float64]:
    """Return how far each pixel lies outside a disc in mm, less than 0 inside."""
    rows, columns = ((np.arange(n) - c) * s for n, c, s in zip(shape, centre, spacing, strict=True))
    return np.hypot(rows[:, None], columns) - diameter_mm / 2
