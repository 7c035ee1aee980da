# SPDX-License-Identifier: Apache-2.0
"""Batches of patches in an order that is a pure function of seed and position, hence exactly resumable."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from bundle.acquisition import scan
from bundle.acquisition.family import N_UNIFORM, ScannerFamily, Uniform
from bundle.data.slice_stack import SliceStack, split_channels
from bundle.errors import InputError
from bundle.keys import ZERO_FILLED_BY
from bundle.parallel import part_of_batch


@dataclass(eq=False)
class PatchStream:
    """Draw shuffled batches of patches without end; each pass visits every patch once.

    One pass is ``len(stream)`` batches; an incomplete last batch is left out. Of several processes each gets its part
    of every batch, see :mod:`bundle.parallel`. ``InputError`` if a patch does not fit, or a setting is out of range.
    """

    dataset: SliceStack
    patch_size: int = 64
    batch_size: int = 32  # at most as many as there are patches
    # grid: 16 patches of 64 x 64 from a slice of 256 x 256, which overlap evenly where the grid does not fit;
    # random: as many patches a slice, anywhere in it, new at every pass
    sampling: Literal["grid", "random"] = "grid"
    gain_jitter: float = 0.0  # low-res and targets, not the reference, times exp(-gain_jitter) to exp(gain_jitter)
    flips: bool = False  # into one of the eight mirror images and quarter turns, all channels alike
    reference_shift: int = 0  # the reference is cut up to so many pixels off, along rows and columns
    noise_jitter: float = 0.0  # white Gaussian noise on low-res and reference, of a standard deviation up to this
    family: ScannerFamily | None = (
        None  # random acquisitions, of a stack of undegraded slices; None: low-res as stacked
    )
    seed: int = 0  # streams that must differ, such as the critic's, get seeds that differ

    def __post_init__(self) -> None:
        self._check()
        starts = ([_even_starts(n, self.patch_size) for n in size] for size in self.dataset.sizes.tolist())
        grids = [torch.cartesian_prod(torch.tensor([i]), *places) for i, places in enumerate(starts)]
        self.corners = torch.cat(grids)  # (n_patches, 3): slice, first row, first column
        self.batch_size = min(self.batch_size, len(self.corners))
        self.part = part_of_batch(self.batch_size)
        self.position = 0
        self._pass: tuple[int, Tensor] = (-1, self.corners)

    def of_seed(self, seed: int) -> "PatchStream":
        """Return a stream of the same slices in another order."""
        return replace(self, seed=seed)

    def _check(self) -> None:
        if self.sampling not in ("grid", "random"):
            raise InputError(f"sampling is {self.sampling!r}; choose grid or random.")
        for name, such in (("gain_jitter", 0.2), ("noise_jitter", 0.02)):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; give 0 for none, or below 1 such as {such}.")
        if not isinstance(self.reference_shift, int) or self.reference_shift < 0:
            raise InputError(f"reference_shift is {self.reference_shift!r}; give a whole number of pixels, 0 for none.")
        if not isinstance(self.batch_size, int) or self.batch_size < 1:
            raise InputError(f"batch_size is {self.batch_size!r}; give a whole number from 1.")
        smallest = int(self.dataset.sizes.min())
        if smallest < self.patch_size:
            raise InputError(
                f"a training slice is only {smallest} voxels wide, less than a patch of {self.patch_size}; "
                "give a smaller --patch_size (a multiple of 8 from 24) or leave that volume out."
            )

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        while True:
            yield self.next_batch()

    def __len__(self) -> int:
        return len(self.corners) // self.batch_size

    def next_batch(self) -> dict[str, Tensor]:
        """Return the batch at the current position and move on."""
        self.position += 1
        return self.batch(self.position - 1)

    def batch(self, position: int) -> dict[str, Tensor]:
        """Return the batch after ``position`` others, counted over all passes: float32, see ``split_channels``."""
        number, index = divmod(position, len(self))
        if self._pass[0] != number:
            self._pass = (number, self._shuffled(number))
        corners = self._pass[1][index * self.batch_size : (index + 1) * self.batch_size][self.part]
        known: dict[str, Tensor] = {}
        if self.family is None:
            patches = self._cut(corners)
        else:
            patches, known[ZERO_FILLED_BY] = self._acquired(self.family, corners, position)
        if self.reference_shift:
            patches[:, 1:2] = self._cut(self._shifted(corners, position), slice(1, 2))
        if self.gain_jitter:
            uniform = torch.rand(self.batch_size, 1, 1, 1, generator=self._random(position, 1))
            gains = torch.exp(self.gain_jitter * (2 * uniform - 1))[self.part].to(patches.device)
            patches[:, :1] *= gains
            patches[:, 2:] *= gains
        if self.noise_jitter:
            random = self._random(position, 4)
            deviations = self.noise_jitter * torch.rand(self.batch_size, 1, 1, 1, generator=random)
            noise = deviations * torch.randn(self.batch_size, 2, self.patch_size, self.patch_size, generator=random)
            patches[:, :2] += noise[self.part].to(patches.device)
        return split_channels(self._flipped(patches, position) if self.flips else patches) | known

    def state_dict(self) -> dict[str, int]:
        """Return all the state there is."""
        return {"position": self.position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go to a stored position."""
        self.position = state["position"]

    def _shuffled(self, number: int) -> Tensor:
        random = torch.Generator().manual_seed(self.seed * 1_000_003 + number)
        corners = self.corners[torch.randperm(len(self.corners), generator=random)]
        if self.sampling == "random":
            room = self.dataset.sizes.cpu()[corners[:, 0]] - self.patch_size + 1
            shift = (torch.rand(room.shape, generator=random, dtype=torch.float64) * room).long()
            corners = torch.cat((corners[:, :1], shift), dim=1)
        return corners

    def _random(self, position: int, use: int) -> torch.Generator:
        """Return random numbers for one ``use``, from 1, in the batch at ``position``; those of passes are use 0."""
        return torch.Generator().manual_seed(self.seed * 1_000_003 + position + use * 2**32)

    def _shifted(self, corners: Tensor, position: int) -> Tensor:
        reach = self.reference_shift
        shifts = torch.randint(-reach, reach + 1, (self.batch_size, 2), generator=self._random(position, 2))[self.part]
        room = self.dataset.sizes.cpu()[corners[:, 0]] - self.patch_size
        return torch.cat((corners[:, :1], (corners[:, 1:] + shifts).clamp(min=torch.zeros_like(room), max=room)), dim=1)

    def _flipped(self, patches: Tensor, position: int) -> Tensor:
        """Mirror patches (N, C, P, P) along rows, columns and the diagonal, each with a chance of one half."""
        chances = torch.rand(3, self.batch_size, 1, 1, 1, generator=self._random(position, 3))[:, self.part] < 0.5
        rows, columns, diagonal = chances.to(patches.device)
        patches = torch.where(rows, patches.flip(-2), patches)
        patches = torch.where(columns, patches.flip(-1), patches)
        return torch.where(diagonal, patches.transpose(-2, -1), patches)

    def _acquired(self, family: ScannerFamily, corners: Tensor, position: int) -> tuple[Tensor, Tensor]:
        """Return patches (N, 3, P, P): low-res and reference by a random acquisition each, and the target.

        And what is known of each acquisition (N,), see :func:`bundle.acquisition.Scan.zero_filled_by`.
        """
        draws = torch.rand(self.batch_size, N_UNIFORM, generator=self._random(position, 5))[self.part]
        patches, known = [], []
        for (index, top, left), draw in zip(corners.tolist(), draws, strict=True):
            height, width = self.dataset.sizes[index].tolist()
            uniform, region = Uniform(draw), (top, left, self.patch_size, self.patch_size)
            reference, image = self.dataset.voxels[index, :, :height, :width]
            elsewhere = self.dataset.voxels[uniform.index(len(self.dataset)), 0, :height, :width]
            acquisition = family.acquisition(image.float(), uniform)
            low_res = scan(image.float(), acquisition, region)
            known.append(acquisition.zero_filled_by)
            guide = family.reference((reference, elsewhere), region, uniform)
            target = image[top : top + self.patch_size, left : left + self.patch_size].float()
            patches.append(torch.stack((low_res, guide, target)))
        return torch.stack(patches), torch.tensor(known)

    def _cut(self, corners: Tensor, channels: slice = slice(None)) -> Tensor:
        """Gather patches (N, C, P, P), float32, in one indexing operation."""
        voxels = self.dataset.voxels[:, channels]
        corners = corners.to(voxels.device)
        steps = torch.arange(self.patch_size, device=voxels.device)
        slices = corners[:, 0, None, None]
        rows = (corners[:, 1, None] + steps)[:, :, None]
        columns = (corners[:, 2, None] + steps)[:, None, :]
        return voxels.movedim(1, -1)[slices, rows, columns].movedim(-1, 1).float()


def _even_starts(size: int, patch_size: int) -> Tensor:
    """Return the first indices of the fewest evenly spaced patches that cover an axis."""
    n_patches = -(-size // patch_size)
    return torch.linspace(0, size - patch_size, n_patches, dtype=torch.float64).round().long()
