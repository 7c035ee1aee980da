# SPDX-License-Identifier: Apache-2.0
"""What the methods without training share: the generator's interface, and whole slices in float32."""

from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bundle.kspace import kept_block, restore_measured, restore_measured_magnitude


class Baseline(nn.Module, ABC):
    """Stand in for a generator, without weights, in float32 whatever the engine's precision.

    ``factor`` is the ratio of the full to the measured number of k-space samples on each axis, at least 1; others
    raise an ``InputError``.
    """

    def __init__(self, factor: float) -> None:
        super().__init__()
        kept_block(2**20, factor)  # refuses what is no factor now, not at the first slice
        self.factor = factor

    @abstractmethod
    def estimate(self, low_res: Tensor, reference: Tensor) -> Tensor:
        """Return the super-res slices for ``low_res`` and ``reference``, all three (N, 1, H, W), in [0, 1]."""

    def forward(self, image: Tensor) -> Tensor:
        """Super-resolve whole slices (N, 2, H, W): zero-filled low-res and high-res reference, each in [0, 1].

        Returns a Tensor (N, 1, H, W), float32, or float64 where ``image`` is; neither clipped nor re-normalised.
        """
        if image.ndim != 4 or image.shape[1] != 2:
            raise ValueError(f"the image has shape {tuple(image.shape)}; give (N, 2, H, W), low-res and reference.")
        with torch.autocast(image.device.type, enabled=False):
            image = image.to(torch.promote_types(image.dtype, torch.float32))
            return self.estimate(image[:, :1], image[:, 1:])


class GuidedBaseline(Baseline):
    """Alternate between a step led by the reference and putting the measured k-space back.

    ``magnitude`` says that the low-res is a magnitude image, as in :func:`bundle.kspace.zero_fill`.
    """

    def __init__(self, factor: float, magnitude: bool = True) -> None:
        super().__init__(factor)
        self.magnitude = magnitude

    def keep_measured(self, image: Tensor, low_res: Tensor) -> Tensor:
        """Put the measured block of k-space back into an estimate (N, 1, H, W), with its sign where that is unknown."""
        if not self.magnitude:
            return restore_measured(image, low_res, self.factor)
        # one alternation is enough where the method itself alternates between its own step and this one
        return restore_measured_magnitude(image, low_res, self.factor, n_alternations=1)


def neighbours(image: Tensor, radius: int) -> Iterator[Tensor]:
    """Yield ``image`` (N, 1, H, W) shifted to each position of a square of (2 radius + 1)^2 pixels, row by row.

    Edges wrap, as the Fourier transform that the low-res came by has it; H and W are at least ``radius``.
    """
    height, width = image.shape[-2:]
    padded = F.pad(image, (radius,) * 4, mode="circular")
    for row in range(2 * radius + 1):
        for column in range(2 * radius + 1):
            yield padded[..., row : row + height, column : column + width]


def local_mean(image: Tensor) -> Tensor:
    """Return the mean over the 3 x 3 pixels around each pixel of ``image`` (N, 1, H, W)."""
    return torch.stack(list(neighbours(image, 1))).mean(0)
