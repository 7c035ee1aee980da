# SPDX-License-Identifier: Apache-2.0
"""Methods that do not look at the reference: zero-filling, plain or windowed, and cubic interpolation."""

from typing import Literal, get_args

import numpy as np
import torch
from scipy.ndimage import map_coordinates
from torch import Tensor

from bundle.baselines.baseline import Baseline
from bundle.errors import InputError
from bundle.kspace import kept_block

Window = Literal["none", "hann"]


class ZeroFilling(Baseline):
    """Return the low-res as it is, or with a Hann window over the measured block of k-space.

    The window, separable and periodic, has its zero at the frequency ``-kept / 2`` that an even block holds without
    its partner, so the result of a real image is real. It weakens the ringing at edges and blurs them.
    """

    def __init__(self, factor: float, window: Window = "none") -> None:
        super().__init__(factor)
        if window not in get_args(Window):
            raise InputError(f"window is {window!r}; choose one of {', '.join(get_args(Window))}.")
        self.window = window

    def estimate(self, low_res: Tensor, reference: Tensor) -> Tensor:
        """Return the low-res, windowed where asked for; the reference has no say."""
        if self.window == "none":
            return low_res
        rows, columns = (torch.fft.ifftshift(hann(size, self.factor)).to(low_res) for size in low_res.shape[-2:])
        return torch.fft.ifft2(torch.fft.fft2(low_res) * (rows[:, None] * columns)).real


def hann(size: int, factor: float) -> Tensor:
    """Return the Hann window cos(pi f / kept)^2 over the measured block (size,), float64, f = 0 at ``size // 2``."""
    start, stop = kept_block(size, factor)
    frequency = torch.arange(start, stop, dtype=torch.float64) - size // 2
    window = torch.zeros(size, dtype=torch.float64)
    window[start:stop] = torch.cos(torch.pi * frequency / (stop - start)).square()
    return window


class Cubic(Baseline):
    """Interpolate between the samples that were measured, by a cubic spline.

    The grid is the aligned one: sample k of ``kept`` lies at the high-res position k * n / kept, voxel 0 on voxel 0.
    Resizing with half-pixel centres, the default elsewhere, would shift the image by (n / kept - 1) / 2 voxels.
    Edges wrap, as in k-space.
    """

    def estimate(self, low_res: Tensor, reference: Tensor) -> Tensor:
        """Return the interpolated slices; the reference has no say."""
        small = measured_samples(low_res, self.factor).flatten(0, 1).numpy(force=True)
        sizes = zip(low_res.shape[-2:], small.shape[-2:], strict=True)
        positions = np.meshgrid(*(np.arange(n) * m / n for n, m in sizes), indexing="ij")
        slices = [map_coordinates(image, positions, order=3, mode="grid-wrap") for image in small]
        return torch.from_numpy(np.stack(slices)[:, None]).to(low_res)


def measured_samples(low_res: Tensor, factor: float) -> Tensor:
    """Return the small image that was measured, from its zero-filled one: every ``factor``-th sample.

    Tensor (N, 1, H, W) to (N, 1, kept rows, kept columns), on the same intensity scale. Where ``factor`` does not
    divide the size, the samples lie between voxels and their frequencies fold onto ``kept`` ones. Of a magnitude
    low-res this gives the magnitude of the small image; cropping k-space would not, for the magnitude has frequencies
    outside the block.
    """
    for axis in (-2, -1):
        size = low_res.shape[axis]
        start, stop = kept_block(size, factor)
        n_kept = stop - start
        spectrum = torch.fft.fftshift(torch.fft.fft(low_res, dim=axis, norm="forward"), axis)
        frequency = torch.arange(size, device=low_res.device) - size // 2
        folded = torch.zeros_like(spectrum.narrow(axis, 0, n_kept)).index_add(axis, frequency % n_kept, spectrum)
        low_res = torch.fft.ifft(folded, dim=axis, norm="forward").real
    return low_res
