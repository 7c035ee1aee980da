# SPDX-License-Identifier: Apache-2.0
"""Whole slices through the network, a few at a time, large ones in tiles, and pure air not at all."""

import itertools
import logging
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
from bundle.engines.regions import Region, occupied, tiles, widened
from bundle.errors import InputError

logger = logging.getLogger(__name__)

PIXELS_PER_BATCH: Final = {"cpu": 2**16, "cuda": 2**20}  # where nothing else is asked for
MINIMUM_TILE: Final = 32


@dataclass(eq=False)
class TiledSliceInferer(Inferer):
    """Super-resolve a volume slice by slice along its last axis, in mixed precision.

    A network's attribute ``reach``, how far an input pixel changes the output, allows to cut large slices into tiles
    of bounded memory; ``maps_zero_to_zero`` to leave out air, where both contrasts are 0. Neither changes the output
    by more than rounding. Of networks without these attributes whole slices are computed. ``multiple`` says at which
    pixels a part of a slice may start, where a network works on blocks of them.

    Args:
        slices_per_batch: slices that go through the network together; memory grows with it. ``auto`` takes one on
            a CPU, except of small slices, and more on a GPU.
        mixed_precision: see :func:`bundle.engines.autocast`; the output is float32 always.
        progress: whether a bar is shown.
        tile: largest number of positions along rows and columns that are computed at once, besides the overlap of
            tiles: pixels, or the blocks of ``multiple`` pixels that a network works on; ``None`` computes whole slices.

    Raises:
        InputError: if ``slices_per_batch`` or ``tile`` is too small.
    """

    slices_per_batch: int | Literal["auto"] = "auto"
    mixed_precision: MixedPrecision = "auto"
    progress: bool = False
    tile: int | None = 320

    def __post_init__(self) -> None:
        """Check sizes."""
        count, tile = self.slices_per_batch, self.tile
        if count != "auto" and not (isinstance(count, int) and count >= 1):
            raise InputError(f"slices_per_batch is {count!r}; give 1 or more, or auto.")
        if tile is not None and not (isinstance(tile, int) and tile >= MINIMUM_TILE):
            raise InputError(f"tile is {tile!r}; give {MINIMUM_TILE} pixels or more, or null for whole slices.")
        self._warned = False

    def __call__(self, inputs: Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Return super-res volumes (N, 1, H, W, D), float32, for ``inputs`` (N, 2, H, W, D).

        Of a ``network`` that returns several images a slice, such as ``Generator.forward_levels``, a tuple of them.
        """
        volumes = inputs.as_tensor() if isinstance(inputs, MetaTensor) else inputs
        outputs: list[Tensor] = []
        with autocast(inputs.device, self.mixed_precision), torch.no_grad():
            for volume, indices, read, kept in self._parts(volumes, network):
                slices = volumes[volume, :, *read, indices].movedim(-1, 0)  # n, C, rows, columns
                # on CPUs a tenth faster than with the channels first, see docs/speed.md
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
        module = getattr(network, "__self__", network)  # of a method such as forward_levels
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
        hidden = not self.progress or n_slices == 1
        with tqdm(total=n_volumes * n_slices, unit="slice", leave=False, disable=hidden) as bar:
            for volume, start in itertools.product(range(n_volumes), range(0, n_slices, count)):
                stop = min(start + count, n_slices)
                yield volume, slice(start, stop)
                bar.update(stop - start)

    def _warn_of_large(self, size: int, reach: int | None) -> None:
        """Say once why memory is not bounded."""
        if self.tile is not None and size > self.tile and reach is None and not self._warned:
            self._warned = True
            logger.warning(
                "slices of %d pixels are computed whole, which takes memory that grows with them: every output pixel "
                "of this network depends on the whole slice (a data-consistency layer, or a method without a reach)",
                size,
            )


def _zeros_like(volumes: Tensor) -> Tensor:
    """Return zeros (N, 1, H, W, D), float32, each slice in one piece of memory."""
    n_volumes, _, *shape, n_slices = volumes.shape
    return torch.zeros(n_volumes, n_slices, 1, *shape, device=volumes.device).movedim(1, -1)
