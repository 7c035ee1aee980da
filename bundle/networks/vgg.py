# SPDX-License-Identifier: Apache-2.0
"""VGG16 features for the perceptual and the texture loss (Simonyan and Zisserman 2014).

Two published sets of ImageNet weights are read: the original Oxford ones (``.npz``, shipped with the
bundle; input RGB 0..255 minus the channel means) and torchvision's retrained ones (``.pth``; input RGB
0..1, standardised). Their activations differ in size, so each tap is divided by its mean activation:
the loss weights of the paper then mean the same for both.
"""

import os
import pickle
import zipfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from bundle.errors import InputError

CONVOLUTION_CHANNELS = (64, 64, 128, 128, 256, 256, 256, 512, 512, 512)
"""Filters of the first ten convolutions, conv1_1 to conv4_3."""
TAPS = (2, 4, 7, 10)
"""Convolutions whose features, after ReLU, enter the losses: relu1_2, relu2_2, relu3_3, relu4_3."""
POOLED = (2, 4, 7)
"""Convolutions followed by a 2 x 2 max-pool."""
STATE_DICT_INDEX = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21)
"""Positions N of the ten convolutions in the published keys ``features.N.weight``."""
OXFORD_MEAN = (123.68, 116.779, 103.939)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
OXFORD_MEAN_ACTIVATION = (105.3, 128.2, 95.3, 10.44)
"""Mean activation of the Oxford taps over axial T2w brain slices of two subjects, [0, 1] by the volume's maximum."""
OXFORD_PATTERN_ACTIVATION = (145.77, 276.83, 299.16, 44.640)
"""Their mean activation over :func:`calibration_pattern`, which transfers the scale to other weights."""


class VGG16Features(nn.Module):
    """Frozen VGG16 up to conv4_3; returns the four tapped feature maps, scaled to a mean near 1.

    Args:
        weights: ``.npz`` of the Oxford weights or ``.pth`` of torchvision's, keys ``features.N.weight``
            and ``features.N.bias``.

    Raises:
        InputError: if the file is missing or is not a set of VGG16 weights.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, weights: str | os.PathLike[str]) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv2d(n_in, n_out, 3, padding=1) for n_in, n_out in pairwise((3, *CONVOLUTION_CHANNELS))
        )
        path = Path(weights)
        oxford = path.suffix == ".npz"
        _load(self.convolutions, path)
        mean = torch.tensor(OXFORD_MEAN) / 255 if oxford else torch.tensor(IMAGENET_MEAN)
        scale = torch.full((3,), 255.0) if oxford else 1 / torch.tensor(IMAGENET_STD)
        self.register_buffer("mean", mean.view(1, 3, 1, 1), persistent=False)
        self.register_buffer("scale", scale.view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False)
        self.eval()
        activation = torch.tensor(OXFORD_MEAN_ACTIVATION)
        if not oxford:
            activation *= self._pattern_activation() / torch.tensor(OXFORD_PATTERN_ACTIVATION)
        self._divide_taps(activation)

    def train(self, mode: bool = True) -> "VGG16Features":
        """Stay in evaluation mode: the network is a fixed yardstick."""
        return super().train(False)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return four feature maps, each divided by its recorded mean activation.

        Args:
            image: Tensor (N, 1, H, W) in [0, 1], H and W at least 8; repeated to three channels.

        Returns:
            Tensors (N, 64, H, W), (N, 128, H/2, W/2), (N, 256, H/4, W/4), (N, 512, H/8, W/8).
        """
        image = (image.expand(-1, 3, -1, -1) - self.mean) * self.scale
        taps: list[Tensor] = []
        for number, convolution in enumerate(self.convolutions, start=1):
            image = torch.relu(convolution(image))
            if number in TAPS:
                taps.append(image)
            if number in POOLED:
                image = torch.max_pool2d(image, 2)
        return taps

    @torch.no_grad()
    def _pattern_activation(self) -> Tensor:
        """Return the mean activation (4,) of each tap over a fixed pattern, to compare sets of weights."""
        return torch.stack([tap.mean() for tap in self(calibration_pattern())])

    def _divide_taps(self, activation: Tensor) -> None:
        """Change the weights so that each tap comes out divided by its ``activation`` (4,), and fast: channels-last."""
        gain = 1.0  # of what a convolution gets
        for number, convolution in enumerate(self.convolutions, start=1):
            new = 1 / float(activation[TAPS.index(number)]) if number in TAPS else gain
            weight = convolution.get_parameter("weight")
            weight.data = weight.mul_(new / gain).contiguous(memory_format=torch.channels_last)
            convolution.get_parameter("bias").mul_(new)
            gain = new


def calibration_pattern(size: int = 64) -> Tensor:
    """Return a fixed image (1, 1, size, size) in [0, 1] of edges and waves, the same on every machine."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, size), torch.linspace(-1, 1, size), indexing="ij")
    waves = 0.5 + 0.2 * torch.sin(9 * x * x + 5 * y) + 0.2 * torch.sin(17 * y - 6 * x * y)
    return (waves * (x**2 + y**2 < 0.8)).clamp(0, 1)[None, None]


def _load(convolutions: nn.ModuleList, path: Path) -> None:
    """Copy published weights into ``convolutions``."""
    arrays = _read(path)
    try:
        for index, convolution in zip(STATE_DICT_INDEX, convolutions, strict=True):
            for name, parameter in convolution.named_parameters():
                with torch.no_grad():
                    parameter.copy_(arrays[f"features.{index}.{name}"].reshape(parameter.shape))
    except (KeyError, RuntimeError) as error:
        raise InputError(
            f"{path}: these are not VGG16 weights ({error}); give the bundle's own .npz or torchvision's vgg16 .pth."
        ) from error


def _read(path: Path) -> dict[str, Tensor]:
    """Read the arrays of an ``.npz`` or the state_dict of a ``.pth`` file."""
    if not path.is_file():
        raise InputError(
            f"{path}: no VGG16 weights here; give --vgg_weights FILE (the bundle's .npz or torchvision's vgg16 .pth), "
            "or train without them: --perceptual_weight 0 --texture_weight 0."
        )
    try:
        if path.suffix == ".npz":
            with np.load(path) as arrays:
                return {name: torch.from_numpy(arrays[name].astype(np.float32)) for name in arrays.files}
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except (OSError, ValueError, zipfile.BadZipFile, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise InputError(f"{path}: cannot be read as VGG16 weights; fetch the file again.") from error
