# SPDX-License-Identifier: Apache-2.0
"""The generator's objective, Eq. 7, over one level or, as in Eqs. 9-11, over all."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor
from torch.nn.functional import l1_loss, mse_loss

from bundle.errors import InputError
from bundle.losses.feature import GramNorm, perceptual_loss, texture_loss

_SMOOTH_BELOW = 1e-3  # an error of a quarter of a grey value in 255
_SMALLEST_SCALE = 1e-4  # of errors: of air that is exactly 0 nothing smaller needs to be said

Critic = Callable[[Tensor], Tensor]
Features = Callable[[Tensor], Sequence[Tensor]]


@dataclass(frozen=True)
class GeneratorLoss:
    """Weigh the terms of Eq. 7: L_adv + lambda1 L_mse + lambda2 L_per + lambda3 L_txt.

    Called with the outputs of all levels and their targets, it is the constrained objective (PRO-C): MSE,
    perceptual and texture loss are summed over the levels, Eqs. 9-11. With the last level's alone it is the
    unconstrained one (PRO-U). The critic sees the last level only.

    A term of weight 0 is left out, not multiplied: without perceptual and texture loss no features are
    needed, without the adversarial one no critic.

    Args:
        adversarial: weight of -mean D(G(x)) (Eq. 3).
        mse: lambda1, weight of the mean squared error (Eq. 4).
        perceptual: lambda2, weight of Eq. 5.
        texture: lambda3, weight of Eq. 6.
        l1: weight of the mean absolute error, which the paper does not have.
        charbonnier: weight of :func:`charbonnier_loss`, which the paper does not have.
        laplace: weight of :func:`laplace_score`, for networks that predict how large their errors are.
        gram_norm: what Gram matrices are divided by, see :func:`bundle.losses.gram_matrix`.
        features: maps (N, 1, H, W) to the feature maps of Eqs. 5 and 6, such as ``VGG16Features``.

    Raises:
        InputError: if a weight is negative, all are 0, or features are needed and missing.
    """

    adversarial: float = 1.0
    mse: float = 0.1
    perceptual: float = 1.0
    texture: float = 0.1
    l1: float = 0.0
    charbonnier: float = 0.0
    laplace: float = 0.0
    gram_norm: GramNorm = "pixels"
    features: Features | None = None

    def __post_init__(self) -> None:
        """Check the weights against each other."""
        for name, weight in self.weights.items():
            if not weight >= 0:
                raise InputError(f"the weight of the {name} loss is {weight}; give 0 or more.")
        if self.gram_norm not in get_args(GramNorm):
            raise InputError(f"gram_norm is {self.gram_norm!r}; choose one of {', '.join(get_args(GramNorm))}.")
        if not any(self.weights.values()):
            raise InputError("all generator losses have weight 0; switch at least one on.")
        if (self.perceptual or self.texture) and self.features is None:
            raise InputError("perceptual and texture loss need features; give VGG16 weights or set both weights to 0.")

    @property
    def weights(self) -> dict[str, float]:
        """Return the weight of each term by its name."""
        names = ("adversarial", "mse", "l1", "charbonnier", "laplace", "perceptual", "texture")
        return {name: getattr(self, name) for name in names}

    def __call__(
        self,
        super_res: Sequence[Tensor],
        targets: Sequence[Tensor],
        critic: Critic | None = None,
        error_scale: Tensor | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the objective and its terms before weighting.

        Args:
            super_res: outputs of the levels that are supervised, first to last, Tensors (N, 1, H, W).
            targets: what each should be, Tensors (N, 1, H, W) in [0, 1]; the last is the high-res.
            critic: maps images to scores (N,); its weights must not require gradients here.
            error_scale: of the last level, predicted, Tensor (N, 1, H, W).

        Returns:
            Scalar objective, and the detached terms by name, each the sum over the levels.
        """
        terms: dict[str, Tensor] = {}
        if self.adversarial and critic is not None:
            terms["adversarial"] = -critic(super_res[-1]).float().mean()
        if self.laplace and error_scale is not None:
            terms["laplace"] = laplace_score(super_res[-1].detach(), targets[-1], error_scale)
        for output, target in zip(super_res, targets, strict=True):
            for name, term in self._level(output, target).items():
                terms[name] = terms[name] + term if name in terms else term
        objective = torch.stack([self.weights[name] * term for name, term in terms.items()]).sum()
        return objective, {name: term.detach() for name, term in terms.items()}

    def _level(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Return the terms of one level (Eqs. 4-6) by name."""
        terms: dict[str, Tensor] = {}
        if self.mse:
            terms["mse"] = mse_loss(output.float(), target.float())
        if self.l1:
            terms["l1"] = l1_loss(output.float(), target.float())
        if self.charbonnier:
            terms["charbonnier"] = charbonnier_loss(output.float(), target.float())
        if self.features is not None and (self.perceptual or self.texture):
            predicted = self.features(output)
            with torch.no_grad():
                wanted = self.features(target)
            if self.perceptual:
                terms["perceptual"] = perceptual_loss(predicted, wanted)
            if self.texture:
                terms["texture"] = texture_loss(predicted, wanted, self.gram_norm)
        return terms


def generator_loss(
    weights: Mapping[str, float], gram_norm: GramNorm = "pixels", features: Features | None = None
) -> GeneratorLoss:
    """Return the objective of some terms alone.

    Args:
        weights: by the names of ``GeneratorLoss``; a term that is not named has weight 0.
        gram_norm: as there.
        features: as there.

    Raises:
        InputError: if there is no such term; and as there.
    """
    known = GeneratorLoss(features=lambda _: []).weights
    if unknown := sorted(weights.keys() - known.keys()):
        raise InputError(f"there is no {' or '.join(unknown)} loss; loss_weights takes {', '.join(known)}.")
    return GeneratorLoss(**(dict.fromkeys(known, 0.0) | dict(weights)), gram_norm=gram_norm, features=features)


def charbonnier_loss(output: Tensor, target: Tensor) -> Tensor:
    """Return mean sqrt(error^2 + 1e-6), the mean absolute error made smooth at 0.

    Charbonnier et al. 1994, doi:10.1109/ICIP.1994.413553, as super-resolution uses it since Lai et al. 2017,
    doi:10.1109/CVPR.2017.618.

    Args:
        output: the network's images, Tensor (N, 1, H, W).
        target: what they should be, of the same shape.
    """
    return torch.hypot(output - target, torch.full_like(output, _SMOOTH_BELOW)).mean()


def laplace_score(output: Tensor, target: Tensor, scale: Tensor) -> Tensor:
    """Return mean(log s + |error| / s): how badly predicted scales describe errors, the negative log-likelihood.

    It is a proper score: of errors with a Laplace distribution the true scale, their mean size, has the lowest.
    Kendall and Gal 2017, arXiv:1703.04977, Section 3.

    Args:
        output: the network's images, Tensor (N, 1, H, W).
        target: what they should be, of the same shape.
        scale: s, predicted, of the same shape, 0 or more.
    """
    certain = scale.float() + _SMALLEST_SCALE
    return (certain.log() + (output.float() - target.float()).abs() / certain).mean()
