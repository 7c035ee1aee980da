# SPDX-License-Identifier: Apache-2.0
"""The critic's objective, Eq. 8: Wasserstein estimate with gradient penalty (Gulrajani et al. 2017)."""

from collections.abc import Callable

import torch
from torch import Tensor


def wasserstein_distance(real_scores: Tensor, fake_scores: Tensor) -> Tensor:
    """Return Eq. 14, ``|mean D(fake) - mean D(real)|``, a scalar, from scores of any shape."""
    return (fake_scores.mean() - real_scores.mean()).abs()


def gradient_penalty(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, alpha: Tensor) -> Tensor:
    """Return mean((||grad D(mix)||_2 - 1)^2), the penalty of Eq. 8 without its weight of 10.

    The mix of real and fake is one per sample; the norm runs over all pixels of a sample. A linear critic
    with ||w|| = 10 has a penalty of 81.

    Args:
        critic: maps (N, 1, H, W) to scores (N,).
        real: Tensor (N, 1, H, W), high-res patches.
        fake: Tensor (N, 1, H, W), the generator's outputs; no gradient flows into them.
        alpha: Tensor (N,) in [0, 1), share of ``real`` in each mix.

    Returns:
        Scalar tensor, differentiable with respect to the critic's weights.
    """
    # float32 throughout: in bfloat16 the second derivative is mostly rounding
    with torch.autocast(real.device.type, enabled=False):
        share = alpha.view(-1, 1, 1, 1).float()
        mix = (share * real.detach().float() + (1 - share) * fake.detach().float()).requires_grad_()
        (gradient,) = torch.autograd.grad(critic(mix).sum(), mix, create_graph=True)
        return ((gradient.flatten(1).norm(dim=1) - 1) ** 2).mean()
