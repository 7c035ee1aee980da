# SPDX-License-Identifier: Apache-2.0
"""Zero-filling alone, plain or with a window against ringing."""

from typing import Literal, get_args

import torch
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
