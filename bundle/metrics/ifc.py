# SPDX-License-Identifier: Apache-2.0
"""Information fidelity criterion."""

from collections.abc import Iterable

import torch

from bundle.metrics.block_sums import SIDE, block_covariance, by_place_in_block, n_blocks_inside, window_sums
from bundle.metrics.image_pair import as_image_pair
from bundle.metrics.steerable import pyramid_height, split_level

_WINDOWS = (17, 9, 5, 3)  # pixels a side, from the finest level to the coarsest
# The authors' constants are for grey values of 0..255. Dividing them by 255^2 spares scaling the images.
_TINY = 1e-15 / 255**2  # the sum of squares under which a window is flat
_NOISE_FLOOR = 1e-10 / 255**2  # added to the noise variance


def ifc(reference: torch.Tensor, distorted: torch.Tensor) -> torch.Tensor:
    """Return the information fidelity criterion of each slice in bits per pixel.

    Sheikh, Bovik and de Veciana 2005, doi:10.1109/TIP.2005.859389: how much the distorted image tells about
    the reference. Details of the reference, in two orientations at four scales, are modelled block by block as
    Gaussian with the variances S lambda_j; the distorted ones as g times these plus noise of variance v.
    IFC = sum log2(1 + g^2 S lambda_j / (v + 1e-10)) / (H W) over bands, 3 x 3 blocks and the 9 eigenvalues.

    As in the authors' released program, which differs a little from their paper. Conventions: the reference comes
    first, and the score is not symmetric; the constants are those for the range 0..255; the logarithm has base 2;
    the sum is divided by the number of pixels, though blocks at the borders do not count (so that small slices
    score lower); no visual noise sigma_n is added to v (that is VIF).

    Higher is better, without an upper bound. About 0.06 for unrelated noise; 5.72, 3.45 and 2.28 are quoted for
    bicubic interpolation by 2, 3 and 4 on the photographs of Set5; 40 to 90 for identical images, where only the
    1e-10 keeps it finite. Adding a constant to either image changes nothing.

    A reference without detail (a constant) has nothing to convey: 0. Slices under 72 pixels a side are too small
    for four levels, and the authors' program refuses them; here they are scored on the levels they have, good
    only to compare slices of one size. Under 21 pixels no block is left: NaN. NaN or infinity anywhere in either
    slice: NaN.

    Args:
        reference: the ground truth, Tensor (N, 1, H, W) in [0, 1].
        distorted: the image to judge, Tensor (N, 1, H, W) on the same scale.

    Returns:
        Tensor (N,), float64, >= 0; within 1e-4 of its value equal to ``ifc_reference`` on pyrtools.

    Raises:
        ValueError: if the shapes differ or are not (N, 1, H, W).
    """
    first, second = (image[:, 0] for image in as_image_pair(reference, distorted))
    valid = (first.sum(dim=(1, 2)) + second.sum(dim=(1, 2))).isfinite()
    if min(n_blocks_inside(n, _WINDOWS[0]) for n in first.shape[1:]) < 1:
        valid = torch.zeros_like(valid)
    n_at_once = max(1, 16 * _pixels_at_once(first.device) // first[0].numel())
    scores = torch.full_like(first[:, 0, 0], torch.nan)
    if valid.any():
        for indices in valid.nonzero()[:, 0].split(n_at_once):
            scores[indices] = _score(first[indices], second[indices])
    return scores


def _pixels_at_once(device: torch.device) -> int:
    """Return how many pixels to work on at once: what stays in a processor's cache, or what fills a GPU."""
    return 2**16 * torch.get_num_threads() if device.type == "cpu" else 2**21


def _score(reference: torch.Tensor, distorted: torch.Tensor) -> torch.Tensor:
    """Return the score of each slice, Tensor (N,), from two Tensors (N, H, W)."""
    n_rows, n_columns = reference.shape[1:]
    n_pixels = _pixels_at_once(reference.device)
    n_slices = max(1, n_pixels // (n_rows * n_columns))
    chunks: Iterable[torch.Tensor] = map(torch.complex, reference.split(n_slices), distorted.split(n_slices))
    bits = torch.zeros_like(reference[:, 0, 0])
    for level in range(pyramid_height(n_rows, n_columns, at_most=len(_WINDOWS))):
        chunk_bits, low = zip(*(_level(chunk, level) for chunk in chunks), strict=True)
        bits += torch.cat(chunk_bits)
        images = torch.cat(low)
        chunks = images.split(max(1, n_pixels // images[0].numel()))
    return bits / (n_rows * n_columns)


def _level(images: torch.Tensor, level: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the bits of one level, Tensor (N,), and the images of the next.

    Args:
        images: reference + i distorted, Tensor (N, H, W): both take the same steps up to the bands.
        level: 0 for the finest.
    """
    bands, low = split_level(images, finest=level == 0)
    window = _WINDOWS[level]
    if min(n_blocks_inside(n, window) for n in images.shape[1:]) < 1:
        return torch.zeros_like(images[:, 0, 0].real), low
    height, width = (n // SIDE * SIDE for n in images.shape[1:])
    information = _information(bands[..., :height, :width].flatten(0, 1), window)
    return information.unflatten(0, (-1, bands.shape[1])).sum(dim=1), low


def _information(bands: torch.Tensor, window: int) -> torch.Tensor:
    """Return the bits that each distorted band tells about the reference's, Tensor (N,).

    Args:
        bands: reference + i distorted, Tensor (N, H, W), H and W multiples of 3.
        window: side in pixels of the square around a block that its distortion is estimated on.
    """
    x, y = by_place_in_block(bands)  # each 3, 3, N, rows of blocks, columns of blocks
    variances, directions = torch.linalg.eigh(block_covariance(bands.real))
    ratio = _gain_over_noise(x, y, window)  # N, rows inside, columns inside
    n_dropped = (x.shape[-1] - ratio.shape[-1]) // 2
    inside = slice(n_dropped, -n_dropped)
    ratio *= _multiplier(x, variances, directions)[:, inside, inside]
    bits = torch.zeros_like(variances[:, 0])
    for some in variances.clamp(min=0)[..., None, None].split(5, dim=1):
        # One logarithm for several factors: products of five stay far from float64's limit, that of all may not.
        product = torch.ones_like(ratio)
        for variance in some.unbind(dim=1):
            product.addcmul_(product, ratio * variance)
        bits += product.log2_().sum(dim=(1, 2))
    return bits


def _gain_over_noise(x: torch.Tensor, y: torch.Tensor, window: int) -> torch.Tensor:
    """Return g^2 / (v + 1e-10) of the model y = g x + noise of variance v, fitted on the window around each block.

    Args:
        x: the reference's bands by place in the block, Tensor (3, 3, N, rows, columns).
        y: the distorted bands, likewise.
        window: side of the window in pixels.

    Returns:
        Tensor (N, rows - 2 n, columns - 2 n), without the n blocks at each border that the window would leave.
    """
    n_pixels = window**2
    # Image by image, so that each stays in the processor's cache from its making to its sums.
    images = (make() for make in (lambda: x, lambda: y, lambda: x * x, lambda: y * y, lambda: x * y))
    sum_x, sum_y, ss_x, ss_y, cov_xy = window_sums(images, window)
    ss_x.addcmul_(sum_x, sum_x, value=-1 / n_pixels)
    ss_y.addcmul_(sum_y, sum_y, value=-1 / n_pixels)
    cov_xy.addcmul_(sum_x, sum_y, value=-1 / n_pixels)
    gain = cov_xy / (ss_x + _TINY)
    noise = ((ss_y - gain * cov_xy) / n_pixels).clamp_(min=_TINY)
    # Where the authors replace the noise variance as well, the gain is zero: the block counts for nothing.
    known = (ss_x >= _TINY) & (ss_y >= _TINY) & (gain > 0)
    return torch.where(known, gain.square() / (noise + _NOISE_FLOOR), 0)


def _multiplier(x: torch.Tensor, variances: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
    """Return the blocks' multipliers S = b^T C^-1 b / 9, Tensor (N, rows, columns).

    Directions in which the band does not vary at all (of stripes, of a constant) are left out of C^-1.

    Args:
        x: the reference's bands by place in the block, Tensor (3, 3, N, rows, columns).
        variances: the eigenvalues of C in ascending order, Tensor (N, 9).
        directions: the eigenvectors, Tensor (N, 9, 9), one a column.
    """
    scale = torch.where(variances > 0, variances, torch.inf).rsqrt() / SIDE
    blocks = x.flatten(0, 1).flatten(2).transpose(0, 1)  # N, 9, number of blocks
    return ((directions * scale[:, None]).mT @ blocks).square_().sum(dim=1).unflatten(-1, x.shape[-2:])
