# SPDX-License-Identifier: Apache-2.0
"""The generators of Section II-C and II-E: encoder-decoders guided by a reference feature network."""

from itertools import pairwise
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from bundle.errors import InputError
from bundle.networks.blocks import scaled
from bundle.networks.registry import architecture

Fusion = Literal["feature", "image", "none", "reference"]

ENCODER_CHANNELS = (32, 32, 64, 64, 128, 128, 256, 256)
"""Filters of the eight convolutions (Section II-C)."""
DECODER_CHANNELS = (256, 128, 128, 64, 64, 32, 32, 1)
"""Filters of the eight transposed convolutions (Section II-C)."""


class Encoder(nn.Module):
    """Eight 3 x 3 convolutions without padding, each followed by ReLU.

    Serves as the encoder of an encoder-decoder and, with weights of its own, as the reference feature
    extraction network ("the structure of the reference feature extraction network is the same").

    Args:
        in_channels: number of contrasts at the input.
        bias: give the convolutions a bias.
        width: filters of each convolution relative to the paper's.
    """

    def __init__(self, in_channels: int = 1, bias: bool = False, width: float = 1.0) -> None:
        super().__init__()
        channels = scaled(ENCODER_CHANNELS, width)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(n_in, n_out, 3, bias=bias) for n_in, n_out in pairwise((in_channels, *channels))
        )

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the feature maps 2, 4, 6 and 8 after their ReLU: map i (from 1) has size (H - 2 i, W - 2 i).

        The others are not kept: outside training their memory is free for the next.
        """
        features: list[Tensor] = []
        for index, convolution in enumerate(self.convolutions):
            image = torch.relu_(convolution(image))
            if index % 2 == 1:
                features.append(image)
        return features


class Decoder(nn.Module):
    """Eight transposed 3 x 3 convolutions without padding; encoder maps 6, 4, 2 join inputs 3, 5, 7.

    Args:
        n_contrasts: whose features meet at the bottleneck: 1, or 2 where reference features join.
        bias: give the transposed convolutions a bias.
        residual: add the input image to the last layer, which then has no ReLU.
        width: as of :class:`Encoder`.
    """

    def __init__(self, n_contrasts: int = 1, bias: bool = False, residual: bool = False, width: float = 1.0) -> None:
        super().__init__()
        self.residual = residual
        # Paper: three skip connections of unstated position; concatenation at equal size, after
        # transposed convolutions 2, 4 and 6.
        encoded = scaled(ENCODER_CHANNELS, width)
        decoded = scaled(DECODER_CHANNELS[:-1], width)
        skips = (0, 0, encoded[5], 0, encoded[3], 0, encoded[1], 0)
        n_inputs = [n + skip for n, skip in zip((encoded[-1] * n_contrasts, *decoded), skips, strict=True)]
        self.convolutions = nn.ModuleList(
            nn.ConvTranspose2d(n_in, n_out, 3, bias=bias) for n_in, n_out in zip(n_inputs[:-1], decoded, strict=True)
        )
        self.last = nn.ConvTranspose2d(n_inputs[-1], DECODER_CHANNELS[-1], 3, bias=bias)

    def forward(self, bottleneck: Tensor, skips: list[Tensor], image: Tensor) -> Tensor:
        """Decode ``bottleneck`` (N, C, H - 16, W - 16) to an image (N, 1, H, W).

        Args:
            bottleneck: the deepest features, those of the reference concatenated where it has any.
            skips: the encoder's feature maps 2, 4, 6 and 8.
            image: Tensor (N, 1, H, W), what ``residual`` adds.
        """
        for index, convolution in enumerate(self.convolutions):
            if index == 2 or index == 4 or index == 6:
                bottleneck = torch.cat((bottleneck, skips[3 - index // 2]), dim=1)  # maps 6, 4, 2
            bottleneck = torch.relu_(convolution(bottleneck))
        output = self._last_layer(bottleneck)
        return output + image if self.residual else torch.relu(output)

    def _last_layer(self, features: Tensor) -> Tensor:
        """Apply the last layer in float32: in bfloat16 the image would have only 8 significant bits."""
        if torch.jit.is_scripting():  # scripted modules run in the precision of their input
            return self.last(features)
        with torch.autocast(features.device.type, enabled=False):
            return self.last(features.to(self.last.weight.dtype))


class EncoderDecoder(nn.Module):
    """One level: encoder, optional reference features at the bottleneck, decoder (Fig. 1a).

    Args:
        fusion: where the reference joins, see :class:`Generator`.
        bias: give all convolutions a bias.
        residual: add the low-res input to the output.
        width: as of :class:`Encoder`.
    """

    def __init__(self, fusion: Fusion, bias: bool, residual: bool, width: float = 1.0) -> None:
        super().__init__()
        self.encoder = Encoder(2 if fusion == "image" else 1, bias, width)
        self.decoder = Decoder(2 if fusion == "feature" else 1, bias, residual, width)

    @torch.no_grad()
    def start_as_identity(self) -> None:
        """Give one channel of the shallowest skip the input image, and let the last layer show it alone.

        The other channels keep their random weights and join as the last layer learns to use them. The
        outermost two pixels start at 0, since the convolutions up to that skip are unpadded.
        """
        self.decoder.last.weight.zero_()
        if self.decoder.residual:
            return
        for index in (0, 1):
            weight = self.encoder.convolutions[index].get_parameter("weight")  # out, in, 3, 3
            weight[0] = 0
            weight[0, 0, 1, 1] = 1
        weight = self.decoder.convolutions[-1].get_parameter("weight")  # in, out, 3, 3
        n_decoded = (
            weight.shape[0] - self.encoder.convolutions[1].get_parameter("weight").shape[0]
        )  # the skip's channels follow these
        weight[:, 0] = 0
        weight[n_decoded, 0, 1, 1] = 1
        self.decoder.last.weight[0, 0, 1, 1] = 1

    def forward(self, contrasts: Tensor, low_res: Tensor, reference_features: list[Tensor]) -> Tensor:
        """Return the super-res image (N, 1, H, W).

        Args:
            contrasts: Tensor (N, 1 or 2, H, W), what the encoder sees.
            low_res: Tensor (N, 1, H, W), what a residual output is added to.
            reference_features: the deepest reference features, or an empty list.
        """
        features = self.encoder(contrasts)
        bottleneck = torch.cat(features[-1:] + reference_features, dim=1)  # 256 or 512 channels
        return self.decoder(bottleneck, features, low_res)


@architecture
class Generator(nn.Module):
    """Super-resolve a low-res target with a high-res reference (Fig. 1, Fig. 4, Table I).

    Without biases (the default) the network is positively homogeneous, G(a x) = a G(x) for a > 0: it
    does not depend on the intensity scale that the two contrasts share.

    Args:
        fusion: where the reference joins: ``feature`` (SR4, the proposed network: features concatenated at
            the bottleneck), ``image`` (SR3: two input channels), ``none`` (SR1: low-res only),
            ``reference`` (SR2: reference only, synthesis).
        levels: number of encoder-decoders in sequence: 1 one-level, 2 progressive for factor 4, 3 for
            factor 8. One reference feature network feeds them all.
        residual: each level adds its low-res input to its last layer, which then has no ReLU. The
            paper's network does not.
        bias: give all convolutions a bias.
        share_levels: use one set of weights for all levels: the G(G(x)) reading of Eqs. 9-11.
        width: filters of each convolution relative to the paper's, such as 0.25.
        consistency: layer after each level that puts what was measured back, such as
            :class:`bundle.networks.DataConsistency`; the measured image is the input's channel 0 at every level.
            The paper has none.

    Attributes:
        reach: how many pixels away, along rows or columns, an input pixel still changes the output; ``None`` where
            it changes the whole slice.
        maps_zero_to_zero: whether the output is 0 wherever the input is 0 within reach.

    Raises:
        InputError: if ``fusion`` or ``levels`` is none of these, or ``residual`` lacks a low-res input.
    """

    def __init__(
        self,
        fusion: Fusion = "feature",
        levels: int = 1,
        residual: bool = False,
        bias: bool = False,
        share_levels: bool = False,
        width: float = 1.0,
        consistency: nn.Module | None = None,
    ) -> None:
        super().__init__()
        if fusion not in get_args(Fusion):
            raise InputError(f"fusion is {fusion!r}; choose one of {', '.join(get_args(Fusion))}.")
        if levels not in (1, 2, 3):
            raise InputError(f"levels is {levels!r}; choose 1 (one-level), 2 (factor 4) or 3 (factor 8).")
        if residual and fusion == "reference":
            raise InputError("residual adds the low-res input, which fusion 'reference' never sees; turn one off.")
        self.fusion = fusion
        self.n_levels = levels
        self.reference_encoder = Encoder(1, bias, width) if fusion == "feature" else None
        self.consistency = consistency
        # a level's eight convolutions and eight transposed convolutions, each 3 x 3, reach one pixel further each
        self.reach = None if consistency is not None else 16 * levels
        self.maps_zero_to_zero = not bias
        self.levels = nn.ModuleList(
            EncoderDecoder(fusion, bias, residual, width) for _ in range(1 if share_levels else levels)
        )
        self._initialise()

    def _initialise(self) -> None:
        """Start at the scale of the input, and as the identity on the low-res where there is one.

        Paper: the initialisation is not stated. With random weights the last ReLU can be shut for every pixel,
        which leaves no gradient; and the first epochs would go into learning to copy.
        """
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
                # fan_out of a transposed weight (in, out, 3, 3) counts what one of its outputs sums over
                mode: Literal["fan_in", "fan_out"]
                mode = "fan_out" if isinstance(module, nn.ConvTranspose2d) else "fan_in"
                nn.init.kaiming_normal_(module.weight, mode=mode, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for module in self.modules():
            if isinstance(module, EncoderDecoder):
                module.start_as_identity()

    def forward_levels(self, image: Tensor) -> list[Tensor]:
        """Return the output of every level, first to last.

        Args:
            image: Tensor (N, 2, H, W), H and W at least 17: channel 0 the low-res target, channel 1 the
                high-res reference.

        Returns:
            One Tensor (N, 1, H, W) per level.
        """
        measured, reference = image[:, :1], image[:, 1:2]
        reference_features: list[Tensor] = []
        if self.reference_encoder is not None:
            reference_features.append(self.reference_encoder(reference)[-1])
        outputs: list[Tensor] = []
        low_res = measured
        for index in range(self.n_levels):
            low_res = self._level(index, low_res, reference, reference_features)
            if self.consistency is not None:
                low_res = self.consistency(low_res, measured)
            outputs.append(low_res)
        return outputs

    def _level(self, index: int, low_res: Tensor, reference: Tensor, reference_features: list[Tensor]) -> Tensor:
        """Run level ``index``, or the one shared level."""
        if self.fusion == "image":
            contrasts = torch.cat((low_res, reference), dim=1)
        else:
            contrasts = reference if self.fusion == "reference" else low_res
        output = low_res
        for number, level in enumerate(self.levels):  # scripted modules cannot be indexed by a variable
            if number == index or len(self.levels) == 1:
                output = level(contrasts, low_res, reference_features)
        return output

    def forward(self, image: Tensor) -> Tensor:
        """Return the last level's super-res image (N, 1, H, W) for ``image`` (N, 2, H, W)."""
        return self.forward_levels(image)[-1]
