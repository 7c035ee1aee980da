# SPDX-License-Identifier: Apache-2.0
"""The moving average of a network's weights."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from bundle.engines.precision import channels_last
from bundle.errors import InputError


class WeightAverage(AveragedModel):
    """Keep the exponential moving average of a network's weights over its updates.

    After n updates the average moves by 1 - min(decay, (1 + n) / (10 + n)) towards the weights, so that the start is
    soon forgotten, as TensorFlow's ``ExponentialMovingAverage`` does with ``num_updates``.

    Args:
        network: the network that is trained.
        decay: 0.999 averages over about the last thousand updates.

    Raises:
        InputError: if ``decay`` is not above 0 and below 1.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        if not 0 < decay < 1:
            raise InputError(f"weight_average is {decay}; give 0 for none, or a number below 1 such as 0.999.")

        def mix(averages: Sequence[Tensor], weights: Sequence[Tensor], n_updates: Tensor | int) -> None:
            n = int(n_updates)
            torch._foreach_lerp_(list(averages), list(weights), 1 - min(decay, (1 + n) / (10 + n)))

        super().__init__(network, multi_avg_fn=mix)
        channels_last(self.module)
        self._trained = (network,)  # in a tuple, or it would count as a part of the average

    @property
    def network(self) -> nn.Module:
        """Return the network that holds the average."""
        return self.module

    def update(self) -> None:
        """Move the average towards the weights."""
        self.update_parameters(*self._trained)
