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

    Args:
        slices: indices of the slices that hold tissue.
        n: how many to choose; all of them where there are no more.

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
    """Return the smallest box that holds everything above a threshold in any of the images, and a margin.

    Args:
        images: arrays (rows, columns) of one shape.
        threshold: pixels up to it are background; the whole image is returned where all are.
        margin: pixels to add on each side, as far as there are any.
    """
    tissue = np.any([image > threshold for image in images], axis=0)
    if not tissue.any():
        return Box(0, 0, *tissue.shape)
    ends = []
    for axis in (1, 0):
        inside = np.flatnonzero(tissue.any(axis=axis))
        ends.append((max(inside[0] - margin, 0), min(inside[-1] + 1 + margin, tissue.shape[1 - axis])))
    (top, bottom), (left, right) = ends
    return Box(int(top), int(left), int(bottom - top), int(right - left))


def detail_box(image: Image, within: Box, height: int, width: int) -> Box:
    """Return the box of the given size that holds the most detail in the middle of an image.

    Detail is the mean squared gradient. Only boxes inside the central half of each side of ``within`` compete,
    since the strongest edges of a head, scalp and skull, are not what a reader looks for.

    Args:
        image: the ground truth, array (rows, columns).
        within: the part of the image that holds tissue.
        height: rows of the box, at most half of those of ``within``.
        width: columns of the box, likewise.

    Raises:
        ValueError: if the box is empty or larger than half of ``within``.
    """
    if not (1 <= height <= max(within.height // 2, 1) and 1 <= width <= max(within.width // 2, 1)):
        raise ValueError(f"a box of {height} x {width} pixels does not fit into half of {within}; make it smaller.")
    squares = [np.gradient(image, axis=axis) ** 2 for axis in (0, 1) if image.shape[axis] > 1]
    detail = uniform_filter(sum(squares, start=np.zeros(image.shape)), (height, width), mode="constant")
    top, left = within.top + within.height // 4, within.left + within.width // 4
    # The filter stores the mean of a window of n pixels at its pixel n // 2.
    competing = detail[
        top + height // 2 : top + (height // 2) + max(within.height // 2, 1) - height + 1,
        left + width // 2 : left + (width // 2) + max(within.width // 2, 1) - width + 1,
    ]
    row, column = np.unravel_index(np.argmax(competing), competing.shape)
    return Box(top + int(row), left + int(column), height, width)
