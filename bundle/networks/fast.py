# SPDX-License-Identifier: Apache-2.0
"""A generator for hospital use: the paper's idea at a twentieth of its cost, by working on unshuffled pixels."""

from collections.abc import Sequence
from typing import Final, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from bundle.errors import InputError
from bundle.networks.blocks import OutputConvolution, ResidualBlock, hidden_convolution
from bundle.networks.known_factor import KnownFactors
from bundle.networks.registry import architecture

SMALLEST_SIZE: Final = 1e-12
"""Of features, below which there are none."""
Fusion = Literal["feature", "image", "none"]


class FastLevel(nn.Module):
    """One level on unshuffled pixels: residual blocks, reference features half-way where asked, a correction out.

    Args:
        in_channels: channels of the unshuffled contrasts that it sees.
        out_channels: channels of the unshuffled correction.
        n_features: channels of the blocks.
        n_blocks: residual blocks of two convolutions.
        with_features: join reference features after half of the blocks.
        bias: give all convolutions a bias.
    """

    def __init__(
        self, in_channels: int, out_channels: int, n_features: int, n_blocks: int, with_features: bool, bias: bool
    ) -> None:
        super().__init__()
        n_before = n_blocks // 2 if with_features else 0
        self.first = hidden_convolution(in_channels, n_features, bias)
        self.before = _blocks(n_features, n_before, bias)
        self.join = hidden_convolution(2 * n_features, n_features, bias) if with_features else None
        self.after = _blocks(n_features, n_blocks - n_before, bias)
        self.last = OutputConvolution(n_features, bias, out_channels)

    def forward(self, contrasts: Tensor, reference_features: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Return the unshuffled correction (N, out_channels, h, w) for ``contrasts`` (N, in_channels, h, w).

        And the features (N, n_features, h, w) that it is made of.
        """
        features = self.before(self.first(contrasts))
        if self.join is not None:
            features = self.join(torch.cat((features, reference_features[0]), dim=1))
        features = self.after(features)
        return self.last(features), features


class ErrorScale(nn.Module):
    """Predict how large the error of each pixel is, from the features that made it.

    The features are divided by their size around each pixel, and what is found is multiplied by it: so the scale is
    positive, and of an image twice as bright twice as large.

    Args:
        in_channels: channels of the features.
        out_channels: channels of the unshuffled scale.
        n_features: channels of its own.
    """

    def __init__(self, in_channels: int, out_channels: int, n_features: int) -> None:
        super().__init__()
        self.first = hidden_convolution(in_channels, n_features, bias=True)
        self.block = ResidualBlock(n_features, bias=True)
        self.last = OutputConvolution(n_features, bias=True, out_channels=out_channels)
        self.smallest = SMALLEST_SIZE  # TorchScript sees attributes, not globals

    def forward(self, features: Tensor) -> Tensor:
        """Return the unshuffled scale (N, out_channels, h, w) for ``features`` (N, in_channels, h, w)."""
        features = features.float()
        squares = features.square().mean(dim=1, keepdim=True)
        size = F.avg_pool2d(squares, 3, stride=1, padding=1).sqrt()
        relative = features / (size + self.smallest)
        return size * self.last(self.block(torch.relu(self.first(relative)))).clamp(-10, 10).exp()


@architecture
class FastGenerator(nn.Module):
    """Super-resolve a low-res target with a high-res reference, on a coarser grid of more channels.

    The paper's generator keeps 32 to 256 channels at every pixel. Here both contrasts are unshuffled first: ``r x r``
    neighbouring pixels become ``r * r`` channels of one (Shi et al. 2016, doi:10.1109/CVPR.2016.207, the other way
    round), which loses nothing and leaves ``1 / (r * r)`` of the positions. Residual blocks without normalisation work
    there; their output is shuffled back and added to the low-res. The default size takes 12.2 billion
    multiply-accumulates for a slice of 256 x 256, the paper's one-level generator 251.1.

    Starts as the identity on the low-res. Without biases (the default) it is positively homogeneous, as the paper's.

    Args:
        fusion: where the reference joins: ``image`` (at the input), ``feature`` (features of a branch of its own,
            after half of the blocks) or ``none``.
        levels: number of networks in sequence, as in :class:`bundle.networks.Generator`; the branch of the reference
            serves them all.
        bias: give all convolutions a bias.
        consistency: as :class:`bundle.networks.Generator` has it.
        n_features: channels of the blocks.
        n_blocks: residual blocks of each level.
        unshuffle: r.
        error_features: channels of an :class:`ErrorScale` on the last level's features; 0 for none. It learns from
            them and does not change them.
        known_factors: with one level, factors of plain zero-filling at which :class:`KnownFactors` change its weights
            for images that are known to be of such; empty for a network that works blind always.

    Attributes:
        reach: as :class:`bundle.networks.Generator` has it.
        maps_zero_to_zero: likewise.
        multiple: parts of a slice give what the whole gives where they start at a multiple of this many pixels.
        may_be_new: parts that weights to go on from need not have.

    Raises:
        InputError: if a setting is none of these, or a size is below 1.
    """

    may_be_new: Final = ("error_scale.", "known_factors.")

    def __init__(
        self,
        fusion: Fusion = "image",
        levels: int = 1,
        bias: bool = False,
        consistency: nn.Module | None = None,
        n_features: int = 64,
        n_blocks: int = 10,
        unshuffle: int = 2,
        error_features: int = 0,
        known_factors: Sequence[float] = (),
    ) -> None:
        super().__init__()
        if fusion not in get_args(Fusion):
            raise InputError(f"fusion is {fusion!r}; the fast generator has {', '.join(get_args(Fusion))}.")
        if levels not in (1, 2, 3):
            raise InputError(f"levels is {levels!r}; choose 1 (one-level), 2 (factor 4) or 3 (factor 8).")
        if min(n_features, n_blocks, unshuffle) < 1:
            raise InputError(
                f"n_features is {n_features}, n_blocks {n_blocks} and unshuffle {unshuffle}; give 1 or more of each."
            )
        self.fusion = fusion
        self.n_levels = levels
        self.consistency = consistency
        if error_features < 0:
            raise InputError(f"error_features is {error_features}; give 0 for none, or more.")
        n_channels = unshuffle**2
        self.reference_encoder = (
            nn.Sequential(hidden_convolution(n_channels, n_features, bias), _blocks(n_features, n_blocks // 2, bias))
            if fusion == "feature"
            else None
        )
        n_inputs = n_channels * (2 if fusion == "image" else 1)
        self.levels = nn.ModuleList(
            FastLevel(n_inputs, n_channels, n_features, n_blocks, fusion == "feature", bias) for _ in range(levels)
        )
        if known_factors and levels > 1:
            raise InputError(f"known_factors are of one level, and levels is {levels}; leave one of both out.")
        self.known_factors = KnownFactors(self.levels[0], known_factors) if known_factors else None
        self.error_scale = ErrorScale(n_features, n_channels, error_features) if error_features else None
        self.unshuffle = nn.PixelUnshuffle(unshuffle)
        self.shuffle = nn.PixelShuffle(unshuffle)
        self.multiple = unshuffle
        # first and last convolution, two a block, one to join; each reaches the next r x r pixels on every side
        n_convolutions = 2 + 2 * n_blocks + (1 if fusion == "feature" else 0)
        n_convolutions += 4 if error_features else 0  # the size of features, its first and its block's
        reach = levels * n_convolutions * unshuffle + unshuffle - 1
        self.reach: int | None = None if consistency is not None else reach
        self.maps_zero_to_zero = not bias

    def forward_levels(self, image: Tensor, zero_filled_by: Tensor | None = None) -> list[Tensor]:
        """Return the output of every level, first to last.

        Args:
            image: Tensor (N, 2, H, W), any H and W: channel 0 the low-res target, channel 1 the high-res reference.
            zero_filled_by: Tensor (N,), the factor of each image where it is known to be zero-filled without a window
                by one factor along rows and columns, else 0; ``None`` where nothing is known. Programs of TorchScript
                work blind.

        Returns:
            One Tensor (N, 1, H, W) per level.
        """
        return self._levels_and_features(image, zero_filled_by)[0]

    def with_error_scale(self, image: Tensor, zero_filled_by: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the super-res image and the scale of its errors, both (N, 1, H, W), as :meth:`forward_levels` does.

        Raises:
            ValueError: if the network was built without ``error_features``.
        """
        if self.error_scale is None:
            raise ValueError("this network predicts no error scale; build it with error_features.")
        outputs, features = self._levels_and_features(image, zero_filled_by)
        return outputs[-1], self._shuffled(self.error_scale(features.detach()), image)

    def _levels_and_features(self, image: Tensor, zero_filled_by: Tensor | None) -> tuple[list[Tensor], Tensor]:
        """Return the output of every level, and the features of the last."""
        measured = image[:, :1]
        reference = self._unshuffled(image[:, 1:2])
        reference_features: list[Tensor] = []
        if self.reference_encoder is not None:
            reference_features.append(self.reference_encoder(reference))
        outputs: list[Tensor] = []
        low_res, features = measured, reference
        for level in self.levels:
            contrasts = self._unshuffled(low_res)
            if self.fusion == "image":
                contrasts = torch.cat((contrasts, reference), dim=1)
            if torch.jit.is_scripting() or zero_filled_by is None:
                correction, features = level(contrasts, reference_features)
            else:
                correction, features = self._knowing(zero_filled_by, level, contrasts, reference_features)
            low_res = low_res + self._shuffled(correction, image)
            if self.consistency is not None:
                low_res = self.consistency(low_res, measured)
            outputs.append(low_res)
        return outputs, features

    @torch.jit.unused
    def _knowing(
        self, zero_filled_by: Tensor, level: nn.Module, contrasts: Tensor, reference_features: list[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Return correction and features of a level whose weights follow the known factors, images of one together."""
        parts = []
        factors, counts = zero_filled_by.unique_consecutive(return_counts=True)
        split = [images.split(counts.tolist()) for images in (contrasts, *reference_features)]
        for factor, part, *features in zip(factors.tolist(), *split, strict=True):
            changed = self.known_factors.weights(level, factor) if self.known_factors is not None and factor else {}
            parts.append(functional_call(level, changed, (part, features)))
        corrections, made_of = zip(*parts, strict=True)
        return torch.cat(corrections), torch.cat(made_of)

    def forward(self, image: Tensor, zero_filled_by: Tensor | None = None) -> Tensor:
        """Return the last level's super-res image (N, 1, H, W), as :meth:`forward_levels` does."""
        return self.forward_levels(image, zero_filled_by)[-1]

    def _shuffled(self, channels: Tensor, image: Tensor) -> Tensor:
        """Return (N, r * r, h, w) as an image (N, 1, H, W) of the size of another."""
        return self.shuffle(channels)[..., : image.shape[-2], : image.shape[-1]]

    def _unshuffled(self, image: Tensor) -> Tensor:
        """Return an image (N, 1, H, W), filled up with zeros to whole blocks, as (N, r * r, h, w)."""
        height, width = image.shape[-2:]
        return self.unshuffle(F.pad(image, (0, -width % self.multiple, 0, -height % self.multiple)))


def _blocks(n_features: int, count: int, bias: bool) -> nn.Sequential:
    return nn.Sequential(*(ResidualBlock(n_features, bias) for _ in range(count)))
