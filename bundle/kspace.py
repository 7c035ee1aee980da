# SPDX-License-Identifier: Apache-2.0
"""k-space zero-filling, the degradation of Section II-B, and the projection on the measured block.

Conventions: ``torch.fft`` with ``norm="ortho"`` over the last two axes; "centred" k-space holds the
zero frequency at index ``n // 2``. A mask that multiplies k-space commutes with centring the image
(the two linear phases cancel), so images are never shifted: only the mask is, once. A ``factor`` is that of
the rows axis (H) and, where no ``column_factor`` is given, of the columns axis (W) too.
"""

import math
from collections.abc import Sequence

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
    if not torch.jit.is_scripting():
        _check_factor(size, factor)
    kept = int(round(size / factor))  # noqa: RUF046 - TorchScript's round returns a float
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


def _check_factor(size: int, factor: float) -> None:
    """Refuse a factor that is no number, below 1, or keeps nothing of an axis."""
    if isinstance(factor, bool) or not isinstance(factor, (int, float)) or not factor >= 1:
        raise InputError(f"factor is {factor!r}; give a number of at least 1, such as 2, 3 or 4.")
    if round(size / factor) < 1:
        raise InputError(f"factor {factor} keeps no sample of an axis of {size}; give one below {2 * size}.")


def in_plane_factors(factor: float | Sequence[float]) -> tuple[float, float]:
    """Return the factors of rows and columns, given one for both or one for each.

    Args:
        factor: a number, or a pair [rows, columns].

    Raises:
        InputError: if it is neither, one of them is below 1, or both are 1, which leaves nothing to do.
    """
    pair = tuple(factor) if isinstance(factor, (list, tuple)) else (factor, factor)
    valid = [isinstance(f, (int, float)) and not isinstance(f, bool) and 1 <= f < math.inf for f in pair]
    if len(pair) != 2 or not all(valid) or max(pair) == 1:
        raise InputError(
            f"factor is {factor!r}; give a number above 1, such as 2, 3 or 4, or one for rows and one for columns, "
            "such as [4, 2]."
        )
    return pair[0], pair[1]


def level_factors(
    factor: float | Sequence[float], n_levels: int, supervise: str = "all"
) -> list[float] | list[list[float]]:
    """Return the factors at which the levels of a progressive generator before the last should arrive.

    Each level takes an equal share of the way: [2] for factor 4 and two levels (Section II-E), [4, 2] for
    factor 8 and three, none for one level. The last level's is always 1, the high-res itself.

    Args:
        factor: of the low-res image; a pair [rows, columns] gives pairs.
        n_levels: number of levels, the last included.
        supervise: ``all`` levels (PRO-C), or the ``final`` one alone (PRO-U), which leaves none to be told.

    Raises:
        InputError: if ``supervise`` is neither.
    """
    if supervise not in ("all", "final"):
        raise InputError(f"supervise is {supervise!r}; choose all (PRO-C) or final (PRO-U).")
    if supervise == "final":
        return []
    shares = [1 - level / n_levels for level in range(1, n_levels)]
    if isinstance(factor, Sequence):
        return [[round(f**share, 9) for f in factor] for share in shares]
    return [round(factor**share, 9) for share in shares]


def _filter(image: Tensor, factor: float, column_factor: float | None, symmetric: bool) -> Tensor:
    """Multiply k-space by the mask of both axes; return the complex image."""
    if column_factor is None:
        column_factor = factor
    rows = torch.fft.ifftshift(block_mask(image.shape[-2], factor, symmetric)).to(image.device)
    columns = torch.fft.ifftshift(block_mask(image.shape[-1], column_factor, symmetric)).to(image.device)
    return torch.fft.ifft2(torch.fft.fft2(image, norm="ortho") * (rows[:, None] & columns), norm="ortho")


def project(image: Tensor, factor: float, column_factor: float | None = None) -> Tensor:
    """Project a real image on the measured block of k-space: P of the data-consistency step.

    Linear, idempotent and self-adjoint, since the mask is conjugate-symmetric.

    Args:
        image: Tensor (..., H, W), real; (N, 1, H, W) while a network is exported.
        factor: factor of the measured block, as in :func:`zero_fill`.
        column_factor: that of the last axis, where it is another.

    Returns:
        Tensor (..., H, W), real, same scale.
    """
    if not torch.jit.is_scripting():  # noqa: SIM102 - TorchScript skips what stands below this condition alone
        if torch.compiler.is_exporting():  # to ONNX, too
            rows = projection_matrix(image.shape[-2], factor)
            columns = projection_matrix(image.shape[-1], factor if column_factor is None else column_factor)
            # one product a slice: of any other the exporter asks for a batch other than 1
            n_slices = image.shape[0]
            low = torch.bmm(rows.to(image).expand(n_slices, -1, -1), image.squeeze(1))
            return torch.bmm(low, columns.to(image).expand(n_slices, -1, -1)).unsqueeze(1)
    return _filter(image, factor, column_factor, symmetric=True).real


def projection_matrix(size: int, factor: float) -> Tensor:
    """Return what :func:`project` does along one axis as a matrix, for exports: any size, and no complex numbers.

    A[i, j] = 1 / n sum_k cos(2 pi k (i - j) / n) over the frequencies k that the symmetric mask keeps. It needs no
    more than ONNX and TensorRT have, for a ``size`` that is known only when the network runs, too.

    Args:
        size: number of samples on the axis.
        factor: ratio of the full to the kept number of samples.

    Returns:
        Tensor (size, size), float32, symmetric.
    """
    n_samples = torch.full((), size)  # tensors throughout: a size that an exporter traces cannot be rounded or compared
    kept = torch.round(n_samples.double() / factor)
    frequency = torch.arange(size) - n_samples // 2
    mask = (2 * frequency.abs() < kept) | (kept == n_samples)
    # whole turns go in integers: float32 would lose the angle's last digits
    turns = torch.remainder(frequency[:, None] * torch.arange(size), n_samples).float() / n_samples.float()
    waves = torch.cat((torch.cos(2 * math.pi * turns), torch.sin(2 * math.pi * turns)))
    return waves.T @ (waves * torch.cat((mask, mask))[:, None]) / n_samples.float()


def zero_fill(image: Tensor, factor: float, magnitude: bool = True, column_factor: float | None = None) -> Tensor:
    """Degrade high-res slices to low-res slices of the same matrix size (Section II-B).

    Keeps the central ``round(n / factor)`` samples of k-space on each axis, 1 / factor^2 of all of them
    (25 %, 11.1 %, 6.25 % for factors 2, 3, 4), zeroes the rest and transforms back. Apply it to whole
    slices, never to patches.

    Args:
        image: Tensor (..., H, W), real.
        factor: 2, 3, 4 or any number of at least 1.
        magnitude: return the magnitude (as a scanner does) of the image of the full block. Otherwise
            the real part for the conjugate-symmetric block: a linear operator, equal to :func:`project`.
        column_factor: that of the last axis, where it is another.

    Returns:
        Tensor (..., H, W), real, on the intensity scale of ``image``: neither clipped nor re-normalised.
    """
    # Paper: "the inverse Fourier transform" leaves magnitude or real part open; the reported low-res
    # scores are those of the magnitude.
    if not magnitude:
        return project(image, factor, column_factor)
    return _filter(image, factor, column_factor, symmetric=False).abs()


def restore_measured(image: Tensor, low_res: Tensor, factor: float, column_factor: float | None = None) -> Tensor:
    """Put the measured block of k-space back into an image: x - P(x) + P(low_res).

    The hard data-consistency step for a linear low-res (``magnitude=False``). What it changes lies in the
    measured block alone, so where ``low_res`` is P of the truth it can never raise the mean squared error.

    Args:
        image: Tensor (..., H, W), a network's output.
        low_res: Tensor (..., H, W), the low-res image that was measured, on the same intensity scale.
        factor: factor of the measured block, as in :func:`zero_fill`.
        column_factor: that of the last axis, where it is another.

    Returns:
        Tensor (..., H, W); differentiable in ``image`` and in ``low_res``.
    """
    return image + project(low_res - image, factor, column_factor)


def restore_measured_magnitude(
    image: Tensor, low_res: Tensor, factor: float, n_alternations: int = 3, column_factor: float | None = None
) -> Tensor:
    """Put the measured block of k-space back where only the magnitude of the low-res image is known.

    A magnitude ``|P(x)|`` lacks the sign that P(x) has next to edges, and :func:`restore_measured` would do harm
    with it. Each alternation takes the sign from the image's own low frequencies, restores the measured block
    by sign(P(image)) * low_res, and sets negative values, which no magnitude image has, to 0.

    Args:
        image: Tensor (..., H, W), a network's output.
        low_res: Tensor (..., H, W), magnitude of the low-res image, on the same intensity scale.
        factor: factor of the measured block, as in :func:`zero_fill`.
        n_alternations: how often, at least 1.
        column_factor: factor of the last axis, where it is another.

    Returns:
        Tensor (..., H, W), not negative; differentiable almost everywhere.
    """
    for _ in range(n_alternations):
        low_frequencies = project(image, factor, column_factor)
        signed = torch.where(low_frequencies < 0, -low_res.abs(), low_res.abs())  # ONNX has no copysign
        measured = project(signed, factor, column_factor)
        image = (image - low_frequencies + measured).clamp(min=0)
    return image


def zero_pad(image: Tensor, rows: int, columns: int) -> Tensor:
    """Enlarge the matrix of slices by zero-padding their k-space: the scanner's interpolation.

    Sample (0, 0) stays where it is, and the others lie closer: sample i of n moves to the place i * N / n on the new
    axis of N. (Resizing between edges, as image software does, would move every sample by (N / n - 1) / 2 of the new
    ones.) The row of frequency -n / 2, which an even axis holds without its partner, is shared by -n / 2 and
    +n / 2, so that real slices stay real.

    Args:
        image: Tensor (..., H, W), real.
        rows: new H, not below the old.
        columns: new W, not below the old.

    Returns:
        Tensor (..., rows, columns), real, on the intensity scale of ``image``: the mean is kept. Next to edges it
        rings, below 0 too.

    Raises:
        ValueError: if the new matrix is smaller.
    """
    if rows < image.shape[-2] or columns < image.shape[-1]:
        raise ValueError(f"cannot pad {tuple(image.shape[-2:])} to {rows} x {columns}: give a larger matrix.")
    return _pad_axis(_pad_axis(image, rows, -2), columns, -1)


def _pad_axis(image: Tensor, size: int, axis: int) -> Tensor:
    """Zero-pad k-space along one axis."""
    n_samples = image.shape[axis]
    if size == n_samples:
        return image
    spectrum = torch.fft.rfft(image, dim=axis, norm="forward")
    if n_samples % 2 == 0:
        spectrum.narrow(axis, n_samples // 2, 1).mul_(0.5)
    return torch.fft.irfft(spectrum, size, dim=axis, norm="forward")
