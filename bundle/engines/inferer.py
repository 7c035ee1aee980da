# SPDX-License-Identifier: Apache-2.0
"""Whole slices through the network, a few at a time, large ones in tiles, and pure air not at all."""

import itertools
import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer
from monai.utils import convert_to_dst_type
from torch import Tensor
from tqdm import tqdm

from bundle.engines.precision import MixedPrecision, autocast
from bundle.errors import InputError
from bundle.keys import ZERO_FILLED_BY

logger = logging.getLogger(__name__)

PIXELS_PER_BATCH: Final = {"cpu": 2**16, "cuda": 2**20}  # where nothing else is asked for
MINIMUM_TILE: Final = 32
Region = tuple[slice, slice]  # rows and columns of a slice, both with start and stop


@dataclass(eq=False)
class TiledSliceInferer(Inferer):
    """Super-resolve a volume slice by slice along its last axis, in mixed precision.

    A network's attribute ``reach``, how far an input pixel changes the output, allows to cut large slices into tiles
    of bounded memory; ``maps_zero_to_zero`` to leave out air, where both contrasts are 0. Neither changes the output
    by more than rounding. ``multiple`` says at which pixels a part of a slice may start, where a network works on
    blocks of them.
    """

    slices_per_batch: int | Literal["auto"] = "auto"  # memory grows with it; auto: one on a CPU if large, more on a GPU
    mixed_precision: MixedPrecision = "auto"
    progress: bool = False
    # pixels, or blocks of multiple pixels, along rows and columns at once besides overlap, from 32; None: whole slices
    tile: int | None = 320

    def __post_init__(self) -> None:
        count, tile = self.slices_per_batch, self.tile
        if count != "auto" and not (isinstance(count, int) and count >= 1):
            raise InputError(f"slices_per_batch is {count!r}; give 1 or more, or auto.")
        if tile is not None and not (isinstance(tile, int) and tile >= MINIMUM_TILE):
            raise InputError(f"tile is {tile!r}; give {MINIMUM_TILE} pixels or more, or null for whole slices.")
        self._warned = False

    def __call__(self, inputs: Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Return super-res volumes (N, 1, H, W, D), float32, for ``inputs`` (N, 2, H, W, D).

        What the metadata of ``inputs`` know of their zero-filling, a network with known factors is told.
        Of a ``network`` that returns several images a slice, such as ``Generator.forward_levels``, a tuple of them.
        """
        volumes, factors = inputs, None
        if isinstance(inputs, MetaTensor):
            volumes, factors = inputs.as_tensor(), inputs.meta.get(ZERO_FILLED_BY)
        if factors is None or getattr(_module(network), "known_factors", None) is None:
            known = None
        else:
            known = torch.as_tensor(factors, dtype=torch.float32).flatten().expand(len(volumes))
        outputs: list[Tensor] = []
        with autocast(inputs.device, self.mixed_precision), torch.no_grad():
            for volume, indices, read, kept in self._parts(volumes, network):
                slices = volumes[volume, :, *read, indices].movedim(-1, 0)  # n, C, rows, columns
                # on CPUs a tenth faster than with the channels first, see docs/speed.md
                if known is not None:
                    kwargs[ZERO_FILLED_BY] = known[volume].expand(len(slices))
                result = network(slices.contiguous(memory_format=torch.channels_last), *args, **kwargs)
                images = [result] if isinstance(result, Tensor) else result
                outputs = outputs or [_zeros_like(volumes) for _ in images]
                rows, columns = (slice(k.start - r.start, k.stop - r.start) for r, k in zip(read, kept, strict=True))
                for output, image in zip(outputs, images, strict=True):
                    output[volume, :, *kept, indices] = image[..., rows, columns].movedim(0, -1)
        restored = tuple(convert_to_dst_type(output, inputs)[0] for output in outputs)
        return restored[0] if isinstance(result, Tensor) else restored

    def _parts(self, volumes: Tensor, network: Callable[..., Any]) -> Iterator[tuple[int, slice, Region, Region]]:
        """Yield what goes through the network at once: volume, slices, the region to read and the one to keep."""
        module = _module(network)
        reach: int | None = getattr(module, "reach", None)
        skips_air: bool = getattr(module, "maps_zero_to_zero", False)
        multiple: int = getattr(module, "multiple", 1)
        height, width = volumes.shape[2:4]
        self._warn_of_large(max(height, width), reach)
        full, nothing = (slice(0, height), slice(0, width)), True
        size = max(height, width) if reach is None or self.tile is None else self.tile * multiple
        for volume, indices in self._batches(volumes):
            region = full
            if skips_air:
                signal = occupied(volumes[volume, ..., indices].movedim(-1, 0))
                if signal is None:
                    continue
                region = full if reach is None else widened(signal, reach, full, multiple)
            nothing = False
            for read, kept in tiles(region, size, reach or 0, multiple):
                yield volume, indices, read, kept
        if nothing:  # one call tells how many images the network returns
            yield 0, slice(0, 1), full, full

    def _batches(self, volumes: Tensor) -> Iterator[tuple[int, slice]]:
        """Yield the slices of each volume, a few at a time, and show how many are done."""
        n_volumes, _, height, width, n_slices = volumes.shape
        fitting = max(1, PIXELS_PER_BATCH.get(volumes.device.type, 2**16) // (height * width))
        count = fitting if self.slices_per_batch == "auto" else self.slices_per_batch
        hidden = not self.progress or n_slices == 1 or None  # None: where no terminal shows it
        with tqdm(total=n_volumes * n_slices, desc="network", unit="slice", leave=False, disable=hidden) as bar:
            for volume, start in itertools.product(range(n_volumes), range(0, n_slices, count)):
                stop = min(start + count, n_slices)
                yield volume, slice(start, stop)
                bar.update(stop - start)

    def _warn_of_large(self, size: int, reach: int | None) -> None:
        if self.tile is not None and size > self.tile and reach is None and not self._warned:
            self._warned = True
            logger.warning(
                "slices of %d pixels are computed whole, which takes memory that grows with them: every output pixel "
                "of this network depends on the whole slice (a data-consistency layer, or a method without a reach)",
                size,
            )


def _module(network: Callable[..., Any]) -> Any:
    """Return the network itself, of a method such as ``forward_levels`` likewise."""
    return getattr(network, "__self__", network)


def _zeros_like(volumes: Tensor) -> Tensor:
    """Return zeros (N, 1, H, W, D), float32, each slice in one piece of memory."""
    n_volumes, _, *shape, n_slices = volumes.shape
    return torch.zeros(n_volumes, n_slices, 1, *shape, device=volumes.device).movedim(1, -1)


def occupied(slices: Tensor) -> Region | None:
    """Return the smallest region that holds all voxels of slices (N, C, H, W) that are not 0, if there are any."""
    signal = (slices != 0).flatten(0, 1).any(0)  # H, W
    rows, columns = (signal.any(axis).nonzero().flatten().tolist() for axis in (1, 0))
    return (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)) if rows else None


def widened(region: Region, margin: int, whole: Region, multiple: int = 1) -> Region:
    """Return a region with a margin as far as the whole goes, from a multiple where the whole starts at one."""
    starts = [part.start - margin for part in region]
    rows, columns = (
        slice(max(start - start % multiple, axis.start), min(part.stop + margin, axis.stop))
        for start, part, axis in zip(starts, region, whole, strict=True)
    )
    return rows, columns


def tiles(region: Region, size: int, reach: int, multiple: int = 1) -> Iterator[tuple[Region, Region]]:
    """Cut a region into tiles that overlap by enough to be computed one by one.

    An output pixel depends on the input within ``reach`` pixels of it. So a tile is read with a margin of that width on
    the sides where the region goes on, and what lies within is kept, ``size`` pixels at most along rows or columns: it
    equals what the whole region would have given. Yields the region to read, from a multiple of so many pixels where
    the whole starts at one, and the region to keep of it. The latter are disjoint and fill the whole.
    """
    lengths = [axis.stop - axis.start for axis in region]
    counts = [math.ceil(length / size) for length in lengths]
    rows, columns = (
        [slice(axis.start + n * i // count, axis.start + n * (i + 1) // count) for i in range(count)]
        for axis, n, count in zip(region, lengths, counts, strict=True)
    )
    for kept in itertools.product(rows, columns):
        yield widened(kept, reach, region, multiple), kept
