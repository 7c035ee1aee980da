# SPDX-License-Identifier: Apache-2.0
"""The generator, the critic and the frozen VGG16 of Section II, and the trainable baselines beside them."""

from bundle.networks.consistency import DataConsistency
from bundle.networks.critic import Critic
from bundle.networks.generator import Generator
from bundle.networks.single_contrast import SingleContrastResidual
from bundle.networks.vgg import VGG16Features
from bundle.networks.zeng import ZengCascade

__all__ = ["Critic", "DataConsistency", "Generator", "SingleContrastResidual", "VGG16Features", "ZengCascade"]
