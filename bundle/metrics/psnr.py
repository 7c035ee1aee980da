# SPDX-License-Identifier: Apache-2.0
"""Peak signal-to-noise ratio."""

import torch

from bundle.metrics.image_pair import as_image_pair


def psnr(reference: torch.Tensor, distorted: torch.Tensor) -> torch.Tensor:
    """Return the peak signal-to-noise ratio of each slice in dB.

    PSNR = 10 log10(1 / MSE), the MSE over all pixels of the slice, background included.

    The peak is 1, the top of the normalised range: neither the slice's own maximum nor the output's,
    which other packages take by default and which moves the score by several dB. Log base 10.

    Args:
        reference: the ground truth, Tensor (N, 1, H, W) in [0, 1].
        distorted: the image to judge, Tensor (N, 1, H, W) on the same scale.

    Returns:
        Tensor (N,), float64; infinite where the two slices are identical.

    Raises:
        ValueError: if the shapes differ or are not (N, 1, H, W).
    """
    first, second = as_image_pair(reference, distorted)
    return -10.0 * torch.log10((first - second).square().mean(dim=(1, 2, 3)))
