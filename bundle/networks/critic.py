# SPDX-License-Identifier: Apache-2.0
"""The critic of Section II-C (the paper's discriminator)."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from bundle.errors import InputError
from bundle.networks.blocks import scaled

CRITIC_CHANNELS = (64, 128, 256)
"""Filters of both convolutions of each block."""
N_HIDDEN = 128
"""Neurons of the first fully connected layer."""


class Critic(nn.Module):
    """Score patches: three blocks of two 3 x 3 convolutions and a 2 x 2 max-pool, then two linear layers.

    No activation on the score and no normalisation, as WGAN-GP asks.

    Args:
        patch_size: height and width of the patches, a multiple of 8 from 24.
        width: filters of the convolutions relative to the paper's.

    Raises:
        InputError: if ``patch_size`` is not a multiple of 8 from 24.
    """

    def __init__(self, patch_size: int = 64, width: float = 1.0) -> None:
        super().__init__()
        if patch_size < 24 or patch_size % 8:
            raise InputError(
                f"patch_size is {patch_size}; the critic halves it three times and the generator needs 17 pixels: "
                "give a multiple of 8 from 24."
            )
        layers: list[nn.Module] = []
        channels = scaled(CRITIC_CHANNELS, width)
        for n_in, n_out in pairwise((1, *channels)):
            layers += [nn.Conv2d(n_in, n_out, 3, padding=1), nn.ReLU()]
            layers += [nn.Conv2d(n_out, n_out, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        self.features = nn.Sequential(*layers)
        self.hidden = nn.Linear(channels[-1] * (patch_size // 8) ** 2, N_HIDDEN)
        self.score = nn.Linear(N_HIDDEN, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Return the scores (N,) of ``image`` (N, 1, patch_size, patch_size)."""
        hidden = torch.relu(self.hidden(self.features(image).flatten(1)))
        # float32: scores wander far from 0, where bfloat16 could not tell real from fake
        with torch.autocast(hidden.device.type, enabled=False):
            return self.score(hidden.float()).squeeze(1)
