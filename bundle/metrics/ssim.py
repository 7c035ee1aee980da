# SPDX-License-Identifier: Apache-2.0
"""Structural similarity with a uniform window."""

from collections.abc import Iterator

import torch

from bundle.metrics.image_pair import as_image_pair

WINDOW = 7
"""Pixels a side of the window."""
_C1 = 0.01**2  # (K1 * data range)^2 with the data range 1
_C2 = 0.03**2  # (K2 * data range)^2


def ssim(reference: torch.Tensor, distorted: torch.Tensor) -> torch.Tensor:
    """Return the structural similarity of each slice.

    Wang, Bovik, Sheikh and Simoncelli 2004, doi:10.1109/TIP.2003.819861, Eq. 13:
    SSIM = (2 mu_x mu_y + C1) (2 cov_xy + C2) / ((mu_x^2 + mu_y^2 + C1) (var_x + var_y + C2)).

    Equal to scikit-image's default: a uniform 7 x 7 window, sample variances and covariance (divided by
    48, not by 49), C1 = 0.01^2 and C2 = 0.03^2 for the data range 1, mean over the windows that lie wholly
    inside the slice. The paper's own Gaussian 11 x 11 window, the default of MONAI and torchmetrics, gives
    values that differ by 0.03 to 0.05 on brain slices.

    Args:
        reference: the ground truth, Tensor (N, 1, H, W) in [0, 1]; H, W >= 7.
        distorted: the image to judge, Tensor (N, 1, H, W) on the same scale. The order does not matter.

    Returns:
        Tensor (N,), float64, in [-1, 1]; 1 where the two slices are identical, constant ones included.

    Raises:
        ValueError: if the shapes differ, are not (N, 1, H, W), or a side is shorter than the window.
    """
    return torch.stack([local.mean() for local in similarity(*as_image_pair(reference, distorted))])


def similarity(first: torch.Tensor, second: torch.Tensor) -> Iterator[torch.Tensor]:
    """Yield the local similarity of each slice in every window inside it, Tensor (H - 6, W - 6).

    Slice by slice: the maps of one slice stay in the processor's cache.

    Args:
        first: Tensor (N, 1, H, W), float64; H, W >= 7.
        second: likewise.

    Raises:
        ValueError: if a side is shorter than the window.
    """
    if min(first.shape[-2:]) < WINDOW:
        raise ValueError(f"a slice of {tuple(first.shape[-2:])} pixels is smaller than SSIM's 7 x 7 window; pad it.")
    return map(_local_similarity, first[:, 0], second[:, 0])


def _local_similarity(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return the local similarity of two slices (H, W) in every window: Tensor (H - 6, W - 6)."""
    n_pixels = WINDOW**2
    mean_x, mean_y = _window_mean(x), _window_mean(y)
    unbiased = n_pixels / (n_pixels - 1)
    var_x = unbiased * (_window_mean(x * x) - mean_x * mean_x)
    var_y = unbiased * (_window_mean(y * y) - mean_y * mean_y)
    cov_xy = unbiased * (_window_mean(x * y) - mean_x * mean_y)
    luminance = (2 * mean_x * mean_y + _C1) / (mean_x**2 + mean_y**2 + _C1)
    return luminance * (2 * cov_xy + _C2) / (var_x + var_y + _C2)


def _window_mean(image: torch.Tensor) -> torch.Tensor:
    """Return the mean of every window inside the image (H, W), one axis after the other."""
    return _seven_sums(_seven_sums(image, 0), 1).div_(WINDOW**2)


def _seven_sums(image: torch.Tensor, dim: int) -> torch.Tensor:
    """Return the sums of seven neighbours along an axis: those of two, then of four, then four + two + one."""
    n = image.shape[dim]
    two = image.narrow(dim, 0, n - 1) + image.narrow(dim, 1, n - 1)
    sums = two.narrow(dim, 0, n - 6) + two.narrow(dim, 2, n - 6)
    return sums.add_(two.narrow(dim, 4, n - 6)).add_(image.narrow(dim, 6, n - 6))
