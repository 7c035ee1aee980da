# SPDX-License-Identifier: Apache-2.0
"""What every full-reference metric asks of its two arguments."""

import torch


def as_image_pair(reference: torch.Tensor, distorted: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Check two batches of slices and return them as plain float64 tensors.

    Scores are computed in float64: in float32 (or bfloat16, which a network under mixed precision returns)
    variances found as E[x^2] - E[x]^2 lose the digits that SSIM lives on. Values are neither clipped nor
    rescaled: an output beyond [0, 1] pays for it. NaN passes through, into the score.

    Args:
        reference: the ground truth, Tensor (N, 1, H, W) in [0, 1].
        distorted: the image to judge, of the same shape and on the same intensity scale.

    Returns:
        Both as float64 without gradient and without metadata, Tensors (N, 1, H, W).

    Raises:
        ValueError: if either is no real tensor of shape (N, 1, H, W), is empty, or if the shapes differ.
    """
    for name, image in (("reference", reference), ("distorted", distorted)):
        if not isinstance(image, torch.Tensor) or image.is_complex():
            kind = image.dtype if isinstance(image, torch.Tensor) else type(image).__name__
            raise ValueError(f"{name} is {kind}; pass a real tensor of shape (N, 1, H, W).")
        if image.ndim != 4 or image.shape[1] != 1 or image.numel() == 0:
            raise ValueError(f"{name} has shape {tuple(image.shape)}; pass single-channel slices (N, 1, H, W).")
    if reference.shape != distorted.shape:
        raise ValueError(
            f"reference {tuple(reference.shape)} and distorted {tuple(distorted.shape)} differ in shape; "
            "bring both to one grid before comparing them."
        )
    # MONAI's MetaTensor would carry its metadata through every operation below, at many times the cost.
    return _plain(reference), _plain(distorted)


def _plain(image: torch.Tensor) -> torch.Tensor:
    return image.detach().as_subclass(torch.Tensor).to(torch.float64)
