# SPDX-License-Identifier: Apache-2.0
"""What of a volume to show, and on which scales: by fixed rules, never by how well the output did."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.ndimage import uniform_filter

_BACKGROUND = 0.05  # of the grey window: darker pixels do not keep a tile from being cropped
_ROUND_STEPS = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 20.0)  # 20 where 10 is missed by rounding

Image = npt.NDArray[np.float32]
Stack = Image | Sequence[Image]  # images (rows, columns): a list of them, or an array (n, rows, columns)


class Box(NamedTuple):
    """A rectangle of pixels: its first row and column, and its size."""

    top: int
    left: int
    height: int
    width: int

    def crop(self, image: Image) -> Image:
        """Return the part of an image (..., rows, columns) inside the box."""
        return image[..., self.top : self.top + self.height, self.left : self.left + self.width]


def quartile_slices(slices: Sequence[int], n: int = 3) -> list[int]:
    """Return ``n`` >= 1 slices, or all of at least one, that divide them into equal parts: for 3, at the quartiles."""
    if n < 1 or not len(slices):
        raise ValueError(f"cannot choose {n} of {len(slices)} slices; pass at least one slice and n >= 1.")
    ordered = sorted(slices)
    if len(ordered) <= n:
        return ordered
    return [ordered[part * len(ordered) // (n + 1)] for part in range(1, n + 1)]


def grey_limit(images: Stack) -> float:
    """Return the upper end of the grey window, which 0.2 % of the pixels exceed; 1 where all are dark."""
    return _percentile(images, 99.8) or 1.0


def grey_window(images: Stack) -> tuple[float, Box]:
    """Return the upper end of the grey window of images, and the box that holds what is not background in it."""
    limit = grey_limit(images)
    return limit, tissue_box(images, _BACKGROUND * limit)


def error_limit(errors: Stack) -> float:
    """Return a round number that 99 % of all errors stay below."""
    high = max(_percentile(errors, 99), 1e-6)
    power = 10.0 ** math.floor(math.log10(high))
    return power * next(step for step in _ROUND_STEPS if step * power >= high)


def _percentile(images: Stack, percent: float) -> float:
    """Return a percentile of all finite pixels, 0 if there are none above 0."""
    pixels = np.concatenate([image[np.isfinite(image)] for image in images])
    return max(float(np.percentile(pixels, percent)), 0.0) if pixels.size else 0.0


def tissue_box(images: Stack, threshold: float, margin: int = 4) -> Box:
    """Return the smallest box that holds what is above a threshold in any of the images, or all, and a margin."""
    tissue = np.any([image > threshold for image in images], axis=0)
    height, width = tissue.shape
    rows, columns = np.flatnonzero(tissue.any(axis=1)).tolist(), np.flatnonzero(tissue.any(axis=0)).tolist()
    if not rows:
        return Box(0, 0, height, width)
    top, left = max(rows[0] - margin, 0), max(columns[0] - margin, 0)
    return Box(top, left, min(rows[-1] + 1 + margin, height) - top, min(columns[-1] + 1 + margin, width) - left)


def detail_box(image: Image, part: int) -> Box:
    """Return the box with the most detail in the middle of an image: the largest mean squared gradient.

    Each side of the image (rows, columns) is ``part`` times that of the box, at least 2. Only boxes inside the central
    half of each side compete, since the strongest edges of a head, scalp and skull, are not what a reader looks for.
    """
    height, width = (max(side // part, 1) for side in image.shape)
    squares = [np.gradient(image, axis=axis) ** 2 for axis in (0, 1) if image.shape[axis] > 1]
    detail = uniform_filter(sum(squares, start=np.zeros(image.shape)), (height, width), mode="constant")
    top, left = (side // 4 for side in image.shape)
    n_tops, n_lefts = (max(n // 2, 1) - size + 1 for n, size in zip(image.shape, (height, width), strict=True))
    # The filter stores the mean of a window of n pixels at its pixel n // 2.
    competing = Box(top + height // 2, left + width // 2, n_tops, n_lefts).crop(detail)
    row, column = np.unravel_index(np.argmax(competing), competing.shape)
    return Box(top + int(row), left + int(column), height, width)
