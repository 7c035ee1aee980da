# SPDX-License-Identifier: Apache-2.0
"""The objectives of Section II-D: pure functions of images, features and scores."""

from bundle.losses.feature import GramNorm, gram_matrix, perceptual_loss, texture_loss
from bundle.losses.objective import GeneratorLoss, generator_loss, laplace_score
from bundle.losses.wasserstein import gradient_penalty, wasserstein_distance

__all__ = [
    "GeneratorLoss",
    "GramNorm",
    "generator_loss",
    "gradient_penalty",
    "gram_matrix",
    "laplace_score",
    "perceptual_loss",
    "texture_loss",
    "wasserstein_distance",
]
