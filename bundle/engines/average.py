# SPDX-License-Identifier: Apache-2.0
"""The moving average of a network's weights."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from bundle.errors import InputError


class WeightAverage:
    """Keep the exponential moving average of a network's weights over its updates.

    After n updates the average moves by 1 - min(decay, (1 + n) / (10 + n)) towards the weights, so that the start is
    soon forgotten.

    Args:
        network: the network that is trained.
        decay: above 0 and below 1; 0.999 averages over about the last thousand updates.

    Raises:
        InputError: if ``decay`` is out of range.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        if not 0 < decay < 1:
            raise InputError(f"weight_average is {decay}; give 0 for none, or a number below 1 such as 0.999.")
        self.decay = decay
        self._trained = network
        self._averaged = AveragedModel(network, avg_fn=self._mix)

    @property
    def network(self) -> nn.Module:
        """Return the network that holds the average."""
        return self._averaged.module

    def update(self) -> None:
        """Move the average towards the weights."""
        self._averaged.update_parameters(self._trained)

    def _mix(self, average: Tensor, current: Tensor, n_updates: Tensor | int) -> Tensor:
        decay = min(self.decay, (1 + int(n_updates)) / (10 + int(n_updates)))
        return torch.lerp(average, current, 1 - decay)

    def state_dict(self) -> dict[str, Any]:
        """Return the average and the number of updates."""
        return dict(self._averaged.state_dict())

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self._averaged.load_state_dict(state)
