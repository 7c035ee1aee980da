# SPDX-License-Identifier: Apache-2.0
"""The generator, the critic and the frozen VGG16 of Section II, a fast generator, and the trainable baselines."""

from bundle.networks.build import build
from bundle.networks.consistency_layer import DataConsistency
from bundle.networks.critic import Critic
from bundle.networks.fast import FastGenerator
from bundle.networks.generator import Generator
from bundle.networks.single_contrast import SingleContrastResidual
from bundle.networks.vgg import VGG16Features
from bundle.networks.zeng import ZengCascade

__all__ = [
    "Critic",
    "DataConsistency",
    "FastGenerator",
    "Generator",
    "SingleContrastResidual",
    "VGG16Features",
    "ZengCascade",
    "build",
]
