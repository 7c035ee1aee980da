# SPDX-License-Identifier: Apache-2.0
"""A strong residual network that sees the low-res alone: what a reference must beat."""

import torch
from torch import Tensor, nn

from bundle.errors import InputError

RESIDUAL_SCALE = 0.1
"""What a block's output is multiplied by before it is added: without normalisation, deep sums would grow."""


class OutputConvolution(nn.Conv2d):
    """The last convolution of a residual network: 3 x 3 to one channel, zero at the start.

    In float32 always: in bfloat16 the image would have only 8 significant bits.

    Args:
        in_channels: channels of the features.
        bias: give it a bias.
    """

    def __init__(self, in_channels: int, bias: bool = False) -> None:
        super().__init__(in_channels, 1, 3, padding=1, bias=bias)
        for parameter in self.parameters():
            nn.init.zeros_(parameter)

    def forward(self, features: Tensor) -> Tensor:
        """Return the residual image (N, 1, H, W) of ``features`` (N, C, H, W)."""
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


class SingleContrastResidual(nn.Module):
    """Super-resolve from the low-res alone: residual blocks without normalisation, output added to the low-res.

    After EDSR (Lim et al. 2017, doi:10.1109/CVPRW.2017.151), at one resolution, so without its upsampling, and
    without its convolution after the blocks. The default size spends as much on a 256 x 256 slice as the one-level
    generator: 251.4 v 251.1 billion multiply-accumulates, with 3.84 v 4.30 million weights.

    Starts as the identity on the low-res. Without biases it is positively homogeneous, as the generator.

    Args:
        n_features: channels of the blocks.
        n_blocks: residual blocks of two convolutions.
        bias: give all convolutions a bias.

    Attributes:
        reach: as :class:`bundle.networks.Generator` has it.
        maps_zero_to_zero: likewise.

    Raises:
        InputError: if ``n_features`` or ``n_blocks`` is below 1.
    """

    def __init__(self, n_features: int = 128, n_blocks: int = 13, bias: bool = False) -> None:
        super().__init__()
        if n_features < 1 or n_blocks < 1:
            raise InputError(f"n_features is {n_features} and n_blocks {n_blocks}; give 1 or more of each.")
        self.first = hidden_convolution(1, n_features, bias)
        self.blocks = nn.Sequential(*(ResidualBlock(n_features, bias) for _ in range(n_blocks)))
        self.last = OutputConvolution(n_features, bias)
        self.reach = 2 * n_blocks + 2
        self.maps_zero_to_zero = not bias

    def forward(self, image: Tensor) -> Tensor:
        """Return the super-res image (N, 1, H, W).

        Args:
            image: Tensor (N, 2, H, W), any H and W: channel 0 the low-res target. The reference is ignored.
        """
        low_res = image[:, :1]
        return low_res + self.last(self.blocks(self.first(low_res)))
