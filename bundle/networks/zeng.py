# SPDX-License-Identifier: Apache-2.0
"""The cascade of two convolutional networks of Zeng et al. 2018, a baseline of Table IV."""

import torch
from torch import Tensor, nn

from bundle.errors import InputError
from bundle.networks.blocks import OutputConvolution, hidden_convolution, scaled
from bundle.networks.registry import architecture


class PlainNetwork(nn.Module):
    """Padded 3 x 3 convolutions with ReLU, whose output is added to the first input channel.

    Args:
        in_channels: number of contrasts at the input.
        n_layers: convolutions, first and last included.
        n_features: channels between them.
        bias: give the convolutions a bias.
    """

    def __init__(self, in_channels: int, n_layers: int, n_features: int, bias: bool) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for index in range(n_layers - 1):
            layers += [hidden_convolution(n_features if index else in_channels, n_features, bias), nn.ReLU()]
        self.hidden = nn.Sequential(*layers)
        self.last = OutputConvolution(n_features, bias)

    def forward(self, contrasts: Tensor) -> Tensor:
        """Return the sharpened first channel (N, 1, H, W) of ``contrasts`` (N, C, H, W)."""
        return contrasts[:, :1] + self.last(self.hidden(contrasts))


@architecture
class ZengCascade(nn.Module):
    """Super-resolve the low-res alone, then its result with the reference, by two plain networks.

    Zeng et al. 2018, doi:10.1016/j.compbiomed.2018.06.010. Both outputs are to be trained by their mean squared error
    to the high-res. A 256 x 256 slice takes 38.8 billion multiply-accumulates, the one-level generator 251.1.

    Starts as the identity on the low-res. Without biases it is positively homogeneous, as the generator.

    Args:
        n_layers: convolutions of each network.
        n_features: their channels.
        bias: give all convolutions a bias.
        width: channels of both networks relative to ``n_features``.

    Attributes:
        reach: as :class:`bundle.networks.Generator` has it.
        maps_zero_to_zero: likewise.

    Raises:
        InputError: if ``n_layers`` is below 2, ``n_features`` below 1, or ``width`` not above 0.
    """

    # Paper: this one only cites the method, whose text we do not have; ten layers a network are half of VDSR's twenty
    # for each, so that the cascade is as deep as that network, the usual plain residual one.
    def __init__(self, n_layers: int = 10, n_features: int = 64, bias: bool = False, width: float = 1.0) -> None:
        super().__init__()
        if n_layers < 2 or n_features < 1:
            raise InputError(f"n_layers is {n_layers} and n_features {n_features}; give at least 2 and 1.")
        (n_features,) = scaled([n_features], width)
        self.single_contrast = PlainNetwork(1, n_layers, n_features, bias)
        self.multi_contrast = PlainNetwork(2, n_layers, n_features, bias)
        self.reach = 2 * n_layers
        self.maps_zero_to_zero = not bias

    def forward_levels(self, image: Tensor) -> list[Tensor]:
        """Return the outputs of both networks: without the reference, and with it.

        Args:
            image: Tensor (N, 2, H, W), any H and W: channel 0 the low-res target, channel 1 the high-res reference.

        Returns:
            Two Tensors (N, 1, H, W).
        """
        first = self.single_contrast(image[:, :1])
        return [first, self.multi_contrast(torch.cat((first, image[:, 1:2]), dim=1))]

    def forward(self, image: Tensor) -> Tensor:
        """Return the second network's super-res image (N, 1, H, W) for ``image`` (N, 2, H, W)."""
        return self.forward_levels(image)[-1]
