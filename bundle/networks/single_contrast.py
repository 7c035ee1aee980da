# SPDX-License-Identifier: Apache-2.0
"""A strong residual network that sees the low-res alone: what a reference must beat."""

from torch import Tensor, nn

from bundle.errors import InputError
from bundle.networks.blocks import OutputConvolution, ResidualBlock, hidden_convolution, scaled
from bundle.networks.registry import architecture


@architecture
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
        width: channels of the blocks relative to ``n_features``.

    Attributes:
        reach: as :class:`bundle.networks.Generator` has it.
        maps_zero_to_zero: likewise.

    Raises:
        InputError: if ``n_features`` or ``n_blocks`` is below 1, or ``width`` not above 0.
    """

    def __init__(self, n_features: int = 128, n_blocks: int = 13, bias: bool = False, width: float = 1.0) -> None:
        super().__init__()
        if n_features < 1 or n_blocks < 1:
            raise InputError(f"n_features is {n_features} and n_blocks {n_blocks}; give 1 or more of each.")
        (n_features,) = scaled([n_features], width)
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
