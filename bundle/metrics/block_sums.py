# SPDX-License-Identifier: Apache-2.0
"""Sums over the 3 x 3 blocks of a band and over the windows around them."""

import functools
from collections.abc import Iterable

import torch
from torch.nn.functional import pad

SIDE = 3
"""Pixels a side of the blocks that IFC models a band by."""


def n_blocks_inside(n_pixels: int, window: int) -> int:
    """Return for how many blocks along a side of so many pixels the window counts; less than 1 for none."""
    return n_pixels // SIDE - 2 * _n_dropped(window)


def _n_dropped(window: int) -> int:
    """Return how many blocks at each border the window around them would leave the band."""
    return -(-(window // 2) // SIDE)


def by_place_in_block(bands: torch.Tensor) -> torch.Tensor:
    """Return real and imaginary part of complex bands with the pixels sorted by their place in the blocks.

    Args:
        bands: Tensor (N, H, W), H and W multiples of 3.

    Returns:
        Tensor (2, 3, 3, N, H / 3, W / 3): part, row in the block, column in it, band, row and column of the block.
    """
    n_bands, height, width = bands.shape
    parts = torch.view_as_real(bands).reshape(n_bands, height // SIDE, SIDE, width // SIDE, SIDE, 2)
    return parts.permute(5, 2, 4, 0, 1, 3).contiguous()


def window_sums(images: Iterable[torch.Tensor], window: int) -> torch.Tensor:
    """Return the sums of several images over the square windows centred on the blocks.

    Args:
        images: n Tensors (3, 3, N, rows, columns), their pixels sorted by place in the blocks.
        window: side of the window in pixels: 3, 5, 9 or 17.

    Returns:
        Tensor (n, N, rows - 2 m, columns - 2 m), without the m blocks at each border that the window would leave.
    """
    strips = [_side_sums(image, window, -2) for image in images]  # each 3, N, rows - 2 m, columns
    return _side_sums(torch.stack(strips, dim=1), window, -1)


def _side_sums(pixels: torch.Tensor, window: int, dim: int) -> torch.Tensor:
    """Return the sums over the windows along one axis.

    17 pixels are five whole blocks, the last pixel of the block before and the first of the one after; 5 are one
    block and two such pixels; 9 and 3 are whole blocks.

    Args:
        pixels: Tensor (3, ...), the blocks' first, middle and last pixels.
        window: side of the window in pixels.
        dim: the axis along which the blocks lie, counted from the end.
    """
    first, middle, last = pixels
    blocks = (first + middle).add_(last)
    start, n = _n_dropped(window), n_blocks_inside(SIDE * blocks.shape[dim], window)
    reach = (window // 2 - 1) // SIDE  # whole blocks in the window on each side of the one at its centre
    parts = [blocks.narrow(dim, start + shift, n) for shift in range(-reach, reach + 1)]
    if window % SIDE:
        parts += [last.narrow(dim, start - reach - 1, n), first.narrow(dim, start + reach + 1, n)]
    return functools.reduce(torch.add, parts)


def block_covariance(bands: torch.Tensor) -> torch.Tensor:
    """Return the covariance of the nine pixels over all overlapping 3 x 3 blocks of each band.

    The blocks overlap, so the product of two pixels r rows and c columns apart recurs in many of them. The sums over
    blocks are therefore sums of such products over the whole band (in a frame of zeros, which blocks may stick out
    into) minus those over the blocks that do stick out: 13 sums over all pixels in place of 45.

    Args:
        bands: Tensor (N, H, W), real.

    Returns:
        Tensor (N, 9, 9), divided by the number of blocks, not by one less.
    """
    framed = pad(bands, (2, 2, 2, 2))
    n_columns = framed.shape[-1]
    flat = framed.flatten(1)[:, None]
    lags = [(lag + 2) // 5 * n_columns + (lag + 2) % 5 - 2 for lag in range(13)]  # lag = 5 r + c, c = -2 ... 2
    products = torch.cat([torch.bmm(flat[..., : flat.shape[-1] - lag], flat[..., lag:].mT) for lag in lags], 1)[..., 0]
    strips = (framed[:, :4], framed[:, -4:], framed[:, 2:-2, :4], framed[:, 2:-2, -4:])
    outside = torch.cat([_all_blocks(strip) for strip in strips], dim=-1)
    n_blocks = (bands.shape[1] - 2) * (bands.shape[2] - 2)
    mean = (flat.sum(dim=-1) - outside.sum(dim=-1)) / n_blocks
    place = torch.tensor([5 * row + column for row in range(SIDE) for column in range(SIDE)], device=bands.device)
    moments = products[:, (place[:, None] - place).abs()] - outside @ outside.mT
    return moments / n_blocks - mean[:, :, None] * mean[:, None]


def _all_blocks(image: torch.Tensor) -> torch.Tensor:
    """Return the pixels of all overlapping 3 x 3 blocks, Tensor (N, 9, number of blocks), from Tensor (N, H, W)."""
    blocks = image.unfold(1, SIDE, 1).unfold(2, SIDE, 1)
    return blocks.permute(0, 3, 4, 1, 2).reshape(image.shape[0], SIDE**2, -1)
