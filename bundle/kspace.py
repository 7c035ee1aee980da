# SPDX-License-Identifier: Apache-2.0
"""k-space zero-filling, the degradation of Section II-B, and the projection on the measured block.

Conventions: ``torch.fft`` with ``norm="ortho"`` over the last two axes; "centred" k-space holds the
zero frequency at index ``n // 2``. A mask that multiplies k-space commutes with centring the image
(the two linear phases cancel), so images are never shifted: only the mask is, once.
"""

import torch
from torch import Tensor

from bundle.errors import InputError


def kept_block(size: int, factor: float) -> tuple[int, int]:
    """Return the half-open range of centred k-space indices that zero-filling keeps on one axis.

    ``round(size / factor)`` samples from ``size // 2 - kept // 2``, so that the zero frequency (index
    ``size // 2``) stays in its place for odd and even sizes alike.

    Args:
        size: number of samples on the axis.
        factor: ratio of the full to the kept number of samples, greater than 1 (1 keeps all).

    Returns:
        First index kept and first index after the block.

    Raises:
        InputError: if ``factor`` is below 1 or keeps no sample.
    """
    if isinstance(factor, bool) or not isinstance(factor, (int, float)) or not factor >= 1:
        raise InputError(f"factor is {factor!r}; give a number of at least 1, such as 2, 3 or 4.")
    kept = round(size / factor)
    if kept < 1:
        raise InputError(f"factor {factor} keeps no sample of an axis of {size}; give one below {2 * size}.")
    start = size // 2 - kept // 2
    return start, start + kept


def block_mask(size: int, factor: float, symmetric: bool = False) -> Tensor:
    """Return which centred k-space samples of one axis are kept.

    A block of an even number of samples holds the row of frequency ``-kept / 2`` without its conjugate
    partner ``+kept / 2``. ``symmetric`` drops it: the real part of an image filtered by the full block
    has that frequency at half its amplitude, so it is neither measured nor absent.

    Args:
        size: number of samples on the axis.
        factor: ratio of the full to the kept number of samples.
        symmetric: keep only the frequencies whose negative is kept too.

    Returns:
        Tensor (size,) of bool, zero frequency at ``size // 2``.
    """
    start, stop = kept_block(size, factor)
    index = torch.arange(size)
    mask = (index >= start) & (index < stop)
    if symmetric:
        mask &= mask[(2 * (size // 2) - index) % size]
    return mask


def _filter(image: Tensor, factor: float, symmetric: bool) -> Tensor:
    """Multiply k-space by the mask of both axes; return the complex image."""
    rows, columns = (
        torch.fft.ifftshift(block_mask(size, factor, symmetric)).to(image.device) for size in image.shape[-2:]
    )
    return torch.fft.ifft2(torch.fft.fft2(image, norm="ortho") * (rows[:, None] & columns), norm="ortho")


def project(image: Tensor, factor: float) -> Tensor:
    """Project a real image on the measured block of k-space: P of the data-consistency step.

    Linear, idempotent and self-adjoint, since the mask is conjugate-symmetric.

    Args:
        image: Tensor (..., H, W), real.
        factor: factor of the measured block, as in :func:`zero_fill`.

    Returns:
        Tensor (..., H, W), real, same scale.
    """
    return _filter(image, factor, symmetric=True).real


def zero_fill(image: Tensor, factor: float, magnitude: bool = True) -> Tensor:
    """Degrade high-res slices to low-res slices of the same matrix size (Section II-B).

    Keeps the central ``round(n / factor)`` samples of k-space on each axis, 1 / factor^2 of all of them
    (25 %, 11.1 %, 6.25 % for factors 2, 3, 4), zeroes the rest and transforms back. Apply it to whole
    slices, never to patches.

    Args:
        image: Tensor (..., H, W), real.
        factor: 2, 3, 4 or any number of at least 1, the same on both axes.
        magnitude: return the magnitude (as a scanner does) of the image of the full block. Otherwise
            the real part for the conjugate-symmetric block: a linear operator, equal to :func:`project`.

    Returns:
        Tensor (..., H, W), real, on the intensity scale of ``image``: neither clipped nor re-normalised.
    """
    # Paper: "the inverse Fourier transform" leaves magnitude or real part open; the reported low-res
    # scores are those of the magnitude.
    return _filter(image, factor, symmetric=False).abs() if magnitude else project(image, factor)
