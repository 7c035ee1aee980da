# SPDX-License-Identifier: Apache-2.0
"""What networks have in common: their width, and padded convolutions without normalisation."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from bundle.errors import InputError

RESIDUAL_SCALE = 0.1
"""What a block's output is multiplied by before it is added: without normalisation, deep sums would grow."""


def scaled(channels: Iterable[int], width: float) -> list[int]:
    """Return numbers of channels times a width, at least 1 each; ``InputError`` if the width is not above 0."""
    if not (isinstance(width, (int, float)) and width > 0):
        raise InputError(f"width is {width!r}; give a number above 0, such as 0.25, or 1 for the paper's.")
    return [max(1, round(n * width)) for n in channels]


class OutputConvolution(nn.Conv2d):
    """The last convolution of a residual network: 3 x 3, zero at the start.

    In float32 always: in bfloat16 the image would have only 8 significant bits.

    Args:
        in_channels: channels of the features.
        bias: give it a bias.
        out_channels: 1 for an image, more for one that is yet to be shuffled.
    """

    def __init__(self, in_channels: int, bias: bool = False, out_channels: int = 1) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1, bias=bias)
        for parameter in self.parameters():
            nn.init.zeros_(parameter)

    def forward(self, features: Tensor) -> Tensor:
        """Return the residual (N, out_channels, H, W) of ``features`` (N, C, H, W)."""
        if torch.jit.is_scripting():  # scripted modules run in the precision of their input
            return self._conv_forward(features, self.weight, self.bias)
        with torch.autocast(features.device.type, enabled=False):
            return self._conv_forward(features.to(self.weight.dtype), self.weight, self.bias)


def hidden_convolution(in_channels: int, out_channels: int, bias: bool) -> nn.Conv2d:
    """Return a padded 3 x 3 convolution that keeps the scale of what goes through it and a ReLU."""
    convolution = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=bias)
    nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)
    return convolution


class ResidualBlock(nn.Module):
    """Convolution, ReLU, convolution, added to the input; no normalisation.

    Args:
        n_features: channels.
        bias: give the convolutions a bias.
    """

    def __init__(self, n_features: int, bias: bool) -> None:
        super().__init__()
        self.first = hidden_convolution(n_features, n_features, bias)
        self.second = hidden_convolution(n_features, n_features, bias)
        self.scale = RESIDUAL_SCALE  # TorchScript sees attributes, not globals

    def forward(self, features: Tensor) -> Tensor:
        """Return features of the same shape (N, C, H, W)."""
        return features + self.scale * self.second(torch.relu(self.first(features)))
