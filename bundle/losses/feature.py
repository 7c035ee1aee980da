# SPDX-License-Identifier: Apache-2.0
"""Perceptual and texture loss on feature maps, Eqs. 5 and 6."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from bundle.errors import InputError

GramNorm = Literal["pixels", "elements", "none"]


def perceptual_loss(prediction: Sequence[Tensor], target: Sequence[Tensor]) -> Tensor:
    """Return Eq. 5: the MSE of each layer's feature maps, averaged over the layers.

    Args:
        prediction: feature maps (N, C, H, W) of the super-res images, after ReLU.
        target: those of the high-res images.

    Returns:
        Scalar tensor.
    """
    return torch.stack([mse_loss(p.float(), t.float()) for p, t in zip(prediction, target, strict=True)]).mean()


def gram_matrix(features: Tensor, norm: GramNorm = "pixels") -> Tensor:
    """Return F F^T for F of shape (C, H * W), the Gram matrix of Eq. 6, in float32.

    Args:
        features: Tensor (N, C, H, W).
        norm: what the sums over pixels are divided by: ``pixels`` (H * W, the correlation of two
            channels), ``elements`` (C * H * W) or ``none``.

    Returns:
        Tensor (N, C, C), symmetric.

    Raises:
        InputError: if ``norm`` is none of these.
    """
    n_channels, height, width = features.shape[1:]
    # Paper: no division is given. Raw sums swamp the other terms, C * H * W makes this one vanish.
    divisors = {"pixels": height * width, "elements": n_channels * height * width, "none": 1}
    if norm not in divisors:
        raise InputError(f"norm is {norm!r}; choose one of {', '.join(divisors)}.")
    with torch.autocast(features.device.type, enabled=False):
        flat = features.flatten(2).float()
        return flat @ flat.transpose(1, 2) / divisors[norm]


def texture_loss(prediction: Sequence[Tensor], target: Sequence[Tensor], norm: GramNorm = "pixels") -> Tensor:
    """Return Eq. 6: the MSE of each layer's Gram matrices, averaged over the layers.

    Args:
        prediction: feature maps (N, C, H, W) of the super-res images, after ReLU.
        target: those of the high-res images.
        norm: see :func:`gram_matrix`.

    Returns:
        Scalar tensor.
    """
    terms = [mse_loss(gram_matrix(p, norm), gram_matrix(t, norm)) for p, t in zip(prediction, target, strict=True)]
    return torch.stack(terms).mean()
