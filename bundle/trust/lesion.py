# SPDX-License-Identifier: Apache-2.0
"""Lesions that are known because they were drawn: does a network keep them, and does it invent them?"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

Image = npt.NDArray[np.float32]

EDGE_MM: Final = 0.6  # standard deviation of the blur of a lesion's border
GAP_MM: Final = 1.5  # between a lesion's border and the ring that it is compared with ...
RING_MM: Final = 3.0  # ... and the width of that ring


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


def _outside(
    shape: Sequence[int], centre: Sequence[float], diameter_mm: float, spacing: Sequence[float]
) -> npt.NDArray[np.float64]:
    """Return how far each pixel lies outside a disc in mm, less than 0 inside."""
    rows, columns = ((np.arange(n) - c) * s for n, c, s in zip(shape, centre, spacing, strict=True))
    return np.hypot(rows[:, None], columns) - diameter_mm / 2
