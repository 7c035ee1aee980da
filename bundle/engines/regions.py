# SPDX-License-Identifier: Apache-2.0
"""Which parts of a slice the network has to see: where there is signal, and tiles of what is large.

What a network makes of a part equals what it makes of the whole, as far as it reaches: see :func:`tiles`.
"""

import itertools
import math
from collections.abc import Iterator

from torch import Tensor

Region = tuple[slice, slice]
"""Rows and columns of a slice, both with start and stop."""


def occupied(slices: Tensor) -> Region | None:
    """Return the smallest region that holds all voxels of some slices that are not 0.

    Args:
        slices: Tensor (N, C, H, W).

    Returns:
        The region; ``None`` where every voxel is 0.
    """
    signal = (slices != 0).flatten(0, 1).any(0)  # H, W
    rows, columns = (signal.any(axis).nonzero().flatten().tolist() for axis in (1, 0))
    return (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)) if rows else None


def widened(region: Region, margin: int, shape: tuple[int, int], multiple: int = 1) -> Region:
    """Return a region with a margin on every side, as far as the slice of some (H, W) goes.

    Args:
        region: of the slice.
        margin: in pixels.
        shape: of the slice.
        multiple: the region starts at a multiple of so many pixels, where a network needs that.
    """
    rows, columns = (
        slice(max(_floor(axis.start - margin, multiple), 0), min(axis.stop + margin, size))
        for axis, size in zip(region, shape, strict=True)
    )
    return rows, columns


def tiles(region: Region, size: int, reach: int, multiple: int = 1) -> Iterator[tuple[Region, Region]]:
    """Cut a region into tiles that overlap by enough to be computed one by one.

    An output pixel depends on the input within ``reach`` pixels of it. So a tile is read with a margin of that
    width on the sides where the region goes on, and only what lies within the margin is kept: it equals what the
    whole region would have given.

    Args:
        region: of a slice; it starts at multiples of ``multiple``.
        size: largest number of pixels that is kept of a tile along rows or columns.
        reach: of the network.
        multiple: what is read starts at a multiple of so many pixels.

    Yields:
        The region to read, and the region to keep of it. The latter are disjoint and fill the whole.
    """
    parts = [
        [slice(axis.start + n * i // count, axis.start + n * (i + 1) // count) for i in range(count)]
        for axis in region
        for n in [axis.stop - axis.start]
        for count in [math.ceil(n / size)]
    ]
    for rows, columns in itertools.product(*parts):
        read_rows, read_columns = (
            slice(max(_floor(kept.start - reach, multiple), axis.start), min(kept.stop + reach, axis.stop))
            for kept, axis in zip((rows, columns), region, strict=True)
        )
        yield (read_rows, read_columns), (rows, columns)


def _floor(position: int, multiple: int) -> int:
    return position - position % multiple
