# SPDX-License-Identifier: Apache-2.0
"""What of a volume to show: chosen by fixed rules from the ground truth, never by how well the output did."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.ndimage import uniform_filter

Image = npt.NDArray[np.float32]


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
    """Return ``n`` slices that divide the given ones into equal parts: for 3, those at the quartiles.

    All of them where there are no more.

    Raises:
        ValueError: if there are no slices or ``n`` is less than 1.
    """
    if n < 1 or not len(slices):
        raise ValueError(f"cannot choose {n} of {len(slices)} slices; pass at least one slice and n >= 1.")
    ordered = sorted(slices)
    if len(ordered) <= n:
        return ordered
    return [ordered[part * len(ordered) // (n + 1)] for part in range(1, n + 1)]


def tissue_box(images: Image | Sequence[Image], threshold: float, margin: int = 4) -> Box:
    """Return the smallest box that holds everything above a threshold in any of the images, and a margin in pixels.

    Images (rows, columns) have one shape; the whole of it is returned where nothing is above the threshold.
    """
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
