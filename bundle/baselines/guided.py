# SPDX-License-Identifier: Apache-2.0
"""Methods led by the reference: non-local means (SSIP), and the reference's gradients (SRGR)."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from bundle.baselines.baseline import Baseline
from bundle.errors import InputError
from bundle.kspace import restore_measured, restore_measured_magnitude

FILTER_WIDTHS = (32, 16, 8, 4, 2, 1)  # h of the successive passes, for intensities of 0 to 255
SEARCH_RADIUS = 3  # candidates are 7 x 7 pixels
N_SWEEPS = 10  # Paper: 5 to 10; at factor 4 the tenth still gains 0.02 dB
MAX_SLOPE = 5.0  # largest ratio of the target's differences to the reference's
RIDGE = 0.03  # added to the squared difference of the reference, in parts of its mean over the slice


class GuidedBaseline(Baseline):
    """Alternate between a step led by the reference and putting the measured k-space back.

    ``magnitude`` says that the low-res is a magnitude image, as in :func:`bundle.kspace.zero_fill`.
    """

    def __init__(self, factor: float, magnitude: bool = True) -> None:
        super().__init__(factor)
        self.magnitude = magnitude

    def keep_measured(self, image: Tensor, low_res: Tensor) -> Tensor:
        """Put the measured block of k-space back into an estimate (N, 1, H, W), with its sign where that is unknown."""
        if not self.magnitude:
            return restore_measured(image, low_res, self.factor)
        # one alternation is enough where the method itself alternates between its own step and this one
        return restore_measured_magnitude(image, low_res, self.factor, n_alternations=1)


def neighbours(image: Tensor, radius: int) -> Iterator[Tensor]:
    """Yield ``image`` (N, 1, H, W) shifted to each position of a square of (2 radius + 1)^2 pixels, row by row.

    Edges wrap, as the Fourier transform that the low-res came by has it; H and W are at least ``radius``.
    """
    height, width = image.shape[-2:]
    padded = F.pad(image, (radius,) * 4, mode="circular")
    for row in range(2 * radius + 1):
        for column in range(2 * radius + 1):
            yield padded[..., row : row + height, column : column + width]


def local_mean(image: Tensor) -> Tensor:
    """Return the mean over the 3 x 3 pixels around each pixel of ``image`` (N, 1, H, W)."""
    return torch.stack(list(neighbours(image, 1))).mean(0)


class SSIP(GuidedBaseline):
    """Average voxels that are alike in the reference, and put the measured k-space back; again, ever more strictly.

    Manjon, Coupe, Buades, Collins and Robles 2010, doi:10.1155/2010/425891. The mean correction of that paper, whose
    low-res is a box average, is for zero-filling the projection on the measured block.

    The widths h are intensities: target and reference must be on [0, 1], and the method is not homogeneous. ``k``,
    above 0, says how much less the target's own local mean counts than the reference.
    """

    # Paper: k is open. Real T2w slices with a T1w reference want 0.5 to 4, the larger the factor the larger, and lose
    # 0.3 to 1.2 dB at 64; noise-free simulated slices with PDw gain 1 to 3 dB at 64, since every edge of the target is
    # one of the reference. With 4 no volume fell below zero-filling.
    def __init__(self, factor: float, magnitude: bool = True, k: float = 4.0) -> None:
        super().__init__(factor, magnitude)
        if not k > 0:
            raise InputError(f"k is {k!r}; give a number above 0, such as 4.")
        self.k = k

    def estimate(self, low_res: Tensor, reference: Tensor) -> Tensor:
        """Return the estimate after the last pass, which has the measured block of k-space."""
        image = low_res
        for width in FILTER_WIDTHS:
            image = self.keep_measured(guided_average(image, reference, width / 255, self.k), low_res)
        return image


def guided_average(image: Tensor, reference: Tensor, width: float, k: float) -> Tensor:
    """Average the 7 x 7 neighbours j of each pixel of ``image`` (N, 1, H, W) by their likeness to it.

    w_j = exp(-(R - R_j)^2 / h^2) exp(-(m - m_j)^2 / (k h^2)), R the reference, m the mean of the image's 3 x 3 pixels
    and h the ``width``, on the intensity scale of both.
    """
    mean = local_mean(image)
    total, total_weight = torch.zeros_like(image), torch.zeros_like(image)
    candidates = (neighbours(channel, SEARCH_RADIUS) for channel in (image, reference, mean))
    for other_image, other_reference, other_mean in zip(*candidates, strict=True):
        distance = (reference - other_reference).square() + (mean - other_mean).square() / k
        weight = torch.exp(-distance / width**2)
        total += weight * other_image
        total_weight += weight
    # Paper: C is taken for the sum of the weights, the pixel's own, 1, among them
    return total / total_weight


class SRGR(GuidedBaseline):
    """Let the target's differences follow the reference's, and put the measured k-space back, by turns.

    Zheng et al. 2018, doi:10.1109/ACCESS.2018.2873484: ``X_c`` = mean over the four neighbours n of
    ``X_n + lambda (R_c - R_n)``, where ``lambda = (X_+ - X_-) / (R_+ - R_-)`` across the pixel, in the neighbour's
    direction. Positively homogeneous: scaling both contrasts scales the output.
    """

    def estimate(self, low_res: Tensor, reference: Tensor) -> Tensor:
        """Return the estimate after the last sweep, which has the measured block of k-space."""
        image = low_res
        for _ in range(N_SWEEPS):
            image = self.keep_measured(sweep(image, reference), low_res)
        return image


def sweep(image: Tensor, reference: Tensor) -> Tensor:
    """Predict each pixel of ``image`` (N, 1, H, W) from its four neighbours, all from the old values; edges wrap."""
    total = torch.zeros_like(image)
    for axis in (-2, -1):
        after, before = image.roll(-1, axis), image.roll(1, axis)
        reference_after, reference_before = reference.roll(-1, axis), reference.roll(1, axis)
        slope = regress(after - before, reference_after - reference_before)
        total += after + before + slope * (2 * reference - reference_after - reference_before)
    return total / 4


def regress(differences: Tensor, reference_differences: Tensor) -> Tensor:
    """Return the slope of the target's differences on the reference's around each pixel: Tensor (N, 1, H, W).

    Paper: how the ratio is kept from exploding is open. Taken pixel by pixel it leaves real slices 1 to 2 dB below
    zero-filling at factor 2; here it is the ridge regression over the 3 x 3 pixels around, then clipped.
    """
    covariance = local_mean(differences * reference_differences)
    variance = local_mean(reference_differences.square())
    ridge = RIDGE * variance.mean(dim=(-2, -1), keepdim=True) + torch.finfo(variance.dtype).tiny  # a flat reference
    return (covariance / (variance + ridge)).clamp(-MAX_SLOPE, MAX_SLOPE)
