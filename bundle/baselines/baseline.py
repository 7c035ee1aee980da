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

    Args:
        factor: ratio of the full to the measured number of k-space samples on each axis.

    Raises:
        InputError: if ``factor`` is not a number of at least 1.
    """

    def __init__(self, factor: float) -> None:
        super().__init__()
        kept_block(2**20, factor)  # refuses what is no factor now, not at the first slice
        self.factor = factor

    @abstractmethod
    def estimate(self, low_res: Tensor, reference: Tensor) -> Tensor:
        """Return the super-res slices for ``low_res`` and ``reference``, all three (N, 1, H, W), in [0, 1]."""

    def forward(self, image: Tensor) -> Tensor:
        """Super-resolve whole slices.

        Args:
            image: Tensor (N, 2, H, W): channel 0 the zero-filled low-res target, channel 1 the high-res
                reference, each on the [0, 1] scale of its volume.

        Returns:
            Tensor (N, 1, H, W), float32, or float64 where ``image`` is; neither clipped nor re-normalised.

        Raises:
            ValueError: if ``image`` has another shape.
        """
        if image.ndim != 4 or image.shape[1] != 2:
            raise ValueError(f"the image has shape {tuple(image.shape)}; give (N, 2, H, W), low-res and reference.")
        with torch.autocast(image.device.type, enabled=False):
            image = image.to(torch.promote_types(image.dtype, torch.float32))
            return self.estimate(image[:, :1], image[:, 1:])


def keep_measured(image: Tensor, low_res: Tensor, factor: float, magnitude: bool) -> Tensor:
    """Put the measured block of k-space back into an estimate: the back-projection of an iterative method.

    Args:
        image: Tensor (N, 1, H, W), the estimate.
        low_res: Tensor (N, 1, H, W), what was measured.
        factor: factor of the measured block.
        magnitude: ``low_res`` is a magnitude image; its sign is then taken from the estimate.

    Returns:
        Tensor (N, 1, H, W).
    """
    if not magnitude:
        return restore_measured(image, low_res, factor)
    # one alternation is enough where the method itself alternates between its own step and this one
    return restore_measured_magnitude(image, low_res, factor, n_alternations=1)


def neighbours(image: Tensor, radius: int) -> Iterator[Tensor]:
    """Yield the image shifted to each of the (2 radius + 1)^2 positions of a square window, row by row.

    Edges wrap, as the Fourier transform that the low-res came by has it.

    Args:
        image: Tensor (N, 1, H, W), H and W at least ``radius``.
        radius: half the width of the window.
    """
    height, width = image.shape[-2:]
    padded = F.pad(image, (radius,) * 4, mode="circular")
    for row in range(2 * radius + 1):
        for column in range(2 * radius + 1):
            yield padded[..., row : row + height, column : column + width]


def local_mean(image: Tensor) -> Tensor:
    """Return the mean over the 3 x 3 pixels around each pixel of ``image`` (N, 1, H, W)."""
    return torch.stack(list(neighbours(image, 1))).mean(0)
