# SPDX-License-Identifier: Apache-2.0
"""How far the outputs of passes that should agree lie apart: test-time augmentation, and an ensemble."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import torch
from torch import Tensor

Predict = Callable[[Tensor], Tensor]  # from the network's input (N, 2, H, W) to its output (N, 1, H, W)
Finish = Callable[[Tensor], Tensor]  # what follows, such as data consistency: (N, 1, H, W) to the same

# Axes that both contrasts are flipped along, and pixels that the reference is shifted by along rows and columns; first
# the plain pass. Flip and shift go together, so that four passes see both.
PASSES: Final[tuple[tuple[tuple[int, ...], tuple[float, float]], ...]] = (
    ((), (0.0, 0.0)),
    ((-1,), (0.5, 0.0)),
    ((-2,), (-0.5, 0.0)),
    ((-2, -1), (0.0, 0.5)),
)


def predictive_spread(
    image: Tensor, predictors: Sequence[Predict], finish: Finish = Tensor.float, plain: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return mean and sample standard deviation (N, 1, H, W) of one pass, over ``PASSES`` of every predictor.

    The image is (N, 2, H, W), low-res and reference; ``finish`` is applied to the output of each pass, turned back,
    before it counts; ``plain`` is the first predictor's output of the plain pass, not finished, where it is known
    already. One output is held at a time, besides the two running sums (Welford 1962). A ``ValueError`` says where
    there is no predictor.
    """
    if not predictors:
        raise ValueError("there is no network to predict with; pass at least one.")
    mean, squares, count = torch.zeros(()), torch.zeros(()), 0
    for output in map(finish, _outputs(image, predictors, plain)):
        mean, squares, count = mean.to(output.device), squares.to(output.device), count + 1
        difference = output - mean
        mean = mean + difference / count
        squares = squares + difference * (output - mean)
    return mean, (squares / (count - 1)).clamp(min=0).sqrt()


def one_pass(image: Tensor, predict: Predict, flips: tuple[int, ...], pixels: tuple[float, float]) -> Tensor:
    """Return the output (N, 1, H, W) for an image whose reference is shifted, flipped on the way in and back out."""
    moved = torch.cat((image[:, :1], shift(image[:, 1:], pixels)), dim=1) if any(pixels) else image
    return predict(moved.flip(flips)).flip(flips)


def shift(image: Tensor, pixels: tuple[float, float]) -> Tensor:
    """Shift a real image (..., H, W) by fractions of a pixel along H and W, periodically: the phase of its k-space.

    Whole numbers are ``torch.roll``; at a half of an even axis the unpaired highest frequency is lost.
    """
    phase = [torch.fft.fftfreq(n, device=image.device) * d for n, d in zip(image.shape[-2:], pixels, strict=True)]
    turn = torch.exp(-2j * torch.pi * (phase[0][:, None] + phase[1]))
    return torch.fft.ifft2(torch.fft.fft2(image) * turn).real


def _outputs(image: Tensor, predictors: Sequence[Predict], plain: Tensor | None) -> Iterator[Tensor]:
    for predict in predictors:
        for flips, pixels in PASSES:
            known = plain if predict is predictors[0] and not flips else None
            yield one_pass(image, predict, flips, pixels) if known is None else known.clone()
