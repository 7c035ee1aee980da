# SPDX-License-Identifier: Apache-2.0
"""The generator, the critic and the frozen VGG16 of Section II."""

from bundle.networks.critic import Critic
from bundle.networks.generator import Generator
from bundle.networks.vgg import VGG16Features

__all__ = ["Critic", "Generator", "VGG16Features"]
