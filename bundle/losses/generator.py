# SPDX-License-Identifier: Apache-2.0
"""The generator's objective, Eq. 7."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from bundle.errors import InputError
from bundle.losses.feature import GramNorm, perceptual_loss, texture_loss

Critic = Callable[[Tensor], Tensor]
Features = Callable[[Tensor], Sequence[Tensor]]


@dataclass(frozen=True)
class GeneratorLoss:
    """Weigh the terms of Eq. 7: L_adv + lambda1 L_mse + lambda2 L_per + lambda3 L_txt.

    A term of weight 0 is left out, not multiplied: without perceptual and texture loss no features are
    needed, without the adversarial one no critic.

    Args:
        adversarial: weight of -mean D(G(x)) (Eq. 3).
        mse: lambda1, weight of the mean squared error (Eq. 4).
        perceptual: lambda2, weight of Eq. 5.
        texture: lambda3, weight of Eq. 6.
        gram_norm: what Gram matrices are divided by, see :func:`bundle.losses.gram_matrix`.
        features: maps (N, 1, H, W) to the feature maps of Eqs. 5 and 6, such as ``VGG16Features``.

    Raises:
        InputError: if a weight is negative, all are 0, or features are needed and missing.
    """

    adversarial: float = 1.0
    mse: float = 0.1
    perceptual: float = 1.0
    texture: float = 0.1
    gram_norm: GramNorm = "pixels"
    features: Features | None = None

    def __post_init__(self) -> None:
        """Check the weights against each other."""
        weights = {"adversarial": self.adversarial, "mse": self.mse, "perceptual": self.perceptual}
        weights["texture"] = self.texture
        for name, weight in weights.items():
            if not weight >= 0:
                raise InputError(f"the weight of the {name} loss is {weight}; give 0 or more.")
        if self.gram_norm not in get_args(GramNorm):
            raise InputError(f"gram_norm is {self.gram_norm!r}; choose one of {', '.join(get_args(GramNorm))}.")
        if not any(weights.values()):
            raise InputError("all generator losses have weight 0; switch at least one on.")
        if (self.perceptual or self.texture) and self.features is None:
            raise InputError("perceptual and texture loss need features; give VGG16 weights or set both weights to 0.")

    def __call__(
        self, super_res: Tensor, high_res: Tensor, critic: Critic | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the objective and its terms before weighting.

        Args:
            super_res: Tensor (N, 1, H, W), the generator's output.
            high_res: Tensor (N, 1, H, W) in [0, 1], the target.
            critic: maps images to scores (N,); its weights must not require gradients here.

        Returns:
            Scalar objective, and the detached terms by name.
        """
        weighted: list[Tensor] = []
        terms: dict[str, Tensor] = {}

        def add(name: str, weight: float, term: Tensor) -> None:
            terms[name] = term.detach()
            weighted.append(weight * term)

        if self.adversarial and critic is not None:
            add("adversarial", self.adversarial, -critic(super_res).float().mean())
        if self.mse:
            add("mse", self.mse, mse_loss(super_res.float(), high_res.float()))
        if self.features is not None and (self.perceptual or self.texture):
            predicted = self.features(super_res)
            with torch.no_grad():
                target = self.features(high_res)
            if self.perceptual:
                add("perceptual", self.perceptual, perceptual_loss(predicted, target))
            if self.texture:
                add("texture", self.texture, texture_loss(predicted, target, self.gram_norm))
        return torch.stack(weighted).sum(), terms
