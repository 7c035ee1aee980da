# SPDX-License-Identifier: Apache-2.0
"""What the methods without training share: the generator's interface, and whole slices in float32."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from bundle.kspace import kept_block


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
