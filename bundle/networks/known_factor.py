# SPDX-License-Identifier: Apache-2.0
"""Weights as a function of what is known of an acquisition: the factor of a plain zero-filling."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from bundle.errors import InputError


class KnownFactors(nn.Module):
    """Change the weights of a network by the factor by which its images were zero-filled.

    At each of some factors the weights differ from the network's own by what was learnt there. Between two of them the
    differences are mixed, linearly in the logarithm of the factor; below the first and above the last they stay.
    Starts without differences.

    Args:
        network: whose weights change, itself unchanged.
        factors: above 1, ascending.

    Raises:
        InputError: if factors are none of these.
    """

    def __init__(self, network: nn.Module, factors: Sequence[float]) -> None:
        super().__init__()
        if not factors or not all(a < b for a, b in zip((1, *factors), factors, strict=False)):
            raise InputError(f"known_factors is {list(factors)}; give factors above 1 in ascending order.")
        self.factors = tuple(map(float, factors))
        self.differences = nn.ParameterList(
            torch.zeros(len(factors), parameter.numel()) for parameter in network.parameters()
        )

    def shares(self, factor: float) -> list[float]:
        """Return how much the difference at each of the factors counts for a factor; the sum is 1."""
        places = np.log(self.factors)
        return [float(np.interp(math.log(factor), places, hat)) for hat in np.eye(len(places))]

    def weights(self, network: nn.Module, factor: float) -> dict[str, Tensor]:
        """Return the weights by name for a factor, of the network that this was made for."""
        shares = {i: share for i, share in enumerate(self.shares(factor)) if share}
        named = zip(network.named_parameters(), self.differences, strict=True)
        return {
            name: own + sum((share * one[i] for i, share in shares.items()), torch.zeros(())).view_as(own)
            for (name, own), one in named
        }
