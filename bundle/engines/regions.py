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
    """Return the smallest region that holds all voxels of slices (N, C, H, W) that are not 0, if there are any."""
    signal = (slices != 0).flatten(0, 1).any(0)  # H, W
    rows, columns = (signal.any(axis).nonzero().flatten().tolist() for axis in (1, 0))
    return (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)) if rows else None


def widened(region: Region, margin: int, whole: Region, multiple: int = 1) -> Region:
    """Return a region with a margin in pixels on every side, as far as the whole goes.

    It starts at a multiple of so many pixels, where a network needs that and the whole does.
    """
    starts = [part.start - margin for part in region]
    rows, columns = (
        slice(max(start - start % multiple, axis.start), min(part.stop + margin, axis.stop))
        for start, part, axis in zip(starts, region, whole, strict=True)
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
    lengths = [axis.stop - axis.start for axis in region]
    counts = [math.ceil(length / size) for length in lengths]
    rows, columns = (
        [slice(axis.start + n * i // count, axis.start + n * (i + 1) // count) for i in range(count)]
        for axis, n, count in zip(region, lengths, counts, strict=True)
    )
    for kept in itertools.product(rows, columns):
        yield widened(kept, reach, region, multiple), kept
