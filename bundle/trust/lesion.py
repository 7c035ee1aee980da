# SPDX-License-Identifier: Apache-2.0
"""Lesions that are known because they were drawn: does a network keep them, and does it invent them?"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

Image = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

EDGE_MM: Final = 0.6
"""Standard deviation of the blur of a lesion's border."""
GAP_MM: Final = 1.5
"""Between a lesion's border and the ring that it is compared with ..."""
RING_MM: Final = 3.0
"""... and the width of that ring."""


def lesion_shape(shape: Sequence[int], centre: Sequence[float], diameter_mm: float, spacing: Sequence[float]) -> Image:
    """Return a disc with a border blurred by a Gaussian, 1 inside and 0 outside.

    Args:
        shape: rows and columns of the slice.
        centre: row and column of its middle.
        diameter_mm: where it has half its height.
        spacing: mm between rows and between columns.

    Returns:
        Array (rows, columns) in [0, 1].
    """
    signed = diameter_mm / 2 - _distance(shape, centre, spacing)
    return np.asarray(ndtr(signed / EDGE_MM), dtype=np.float32)


def lesion_contrast(image: Image, centre: Sequence[float], diameter_mm: float, spacing: Sequence[float]) -> float:
    """Return the mean inside a lesion's half-height border minus the mean of a ring around it.

    Args:
        image: array (rows, columns).
        centre: row and column of the lesion's middle.
        diameter_mm: of the lesion.
        spacing: mm between rows and between columns.

    Returns:
        The contrast, on the image's scale.

    Raises:
        ValueError: if the lesion or its ring holds no pixel of the image.
    """
    depth = _distance(image.shape, centre, spacing) - diameter_mm / 2
    inside, ring = depth <= 0, (depth > GAP_MM) & (depth <= GAP_MM + RING_MM)
    if not inside.any() or not ring.any():
        raise ValueError(f"no pixel of the image lies in a lesion of {diameter_mm} mm at {tuple(centre)} or about it.")
    return float(image[inside].mean(dtype=np.float64) - image[ring].mean(dtype=np.float64))


def recovered_share(
    with_lesion: Image, without: Image, inserted: Image, place: tuple[Sequence[float], float, Sequence[float]]
) -> float:
    """Return how much of an inserted lesion's contrast is in the difference of two images."""
    truth = lesion_contrast(inserted, *place)
    return lesion_contrast(with_lesion - without, *place) / truth


def _distance(shape: Sequence[int], centre: Sequence[float], spacing: Sequence[float]) -> npt.NDArray[np.float64]:
    """Return each pixel's distance in mm from a point given in pixels."""
    rows, columns = ((np.arange(n) - c) * s for n, c, s in zip(shape, centre, spacing, strict=True))
    return np.hypot(rows[:, None], columns)
