# SPDX-License-Identifier: Apache-2.0
"""Whole slices through the network, a few at a time."""

from collections.abc import Callable
from typing import Any

import monai.inferers
import torch
from torch import Tensor

from bundle.engines.precision import MixedPrecision, autocast
from bundle.errors import InputError


class SliceInferer(monai.inferers.SliceInferer):
    """Super-resolve a volume slice by slice along its last axis, in mixed precision.

    Args:
        slices_per_batch: slices that go through the network together; memory grows with it.
        mixed_precision: see :func:`bundle.engines.autocast`; the output is float32 always.
        progress: show a bar over the slices.
    """

    def __init__(
        self, slices_per_batch: int = 1, mixed_precision: MixedPrecision = "auto", progress: bool = False
    ) -> None:
        if slices_per_batch < 1:
            raise InputError(f"slices_per_batch is {slices_per_batch}; give 1 or more.")
        super().__init__(roi_size=(-1, -1), sw_batch_size=slices_per_batch, spatial_dim=2, progress=progress)
        self.mixed_precision = mixed_precision

    def __call__(self, inputs: Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Return super-res volumes (N, 1, H, W, D), float32, for ``inputs`` (N, 2, H, W, D).

        Of a ``network`` that returns several images a slice, such as ``Generator.forward_levels``, a tuple of them.
        """
        with autocast(inputs.device, self.mixed_precision), torch.inference_mode():
            output = super().__call__(inputs, network, *args, **kwargs)
        if isinstance(output, Tensor):
            return output.float().clone()
        return tuple(volume.float().clone() for volume in output)
