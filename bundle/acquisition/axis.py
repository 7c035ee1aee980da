# SPDX-License-Identifier: Apache-2.0
"""What an acquisition does to one axis of an image, as a matrix: y = A x, and both axes y = A_rows x A_columns^T.

In plane a scanner measures the middle of k-space, weights it by a window, and zero-fills the rest. Across slices it
sums over the thickness of each slice, and what shows the slices interpolates between them. Sizes and places are in
voxels of the fine grid; frequencies as in :mod:`bundle.kspace`.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from scipy.interpolate import CubicSpline
from scipy.special import ndtr
from torch import Tensor

from bundle.errors import InputError
from bundle.kspace import block_mask, kept_block

Window = Literal["box", "tukey", "hann", "hamming", "fermi", "gaussian"]
Profile = Literal["box", "trapezoid", "gaussian"]


@dataclass(frozen=True)
class KSpaceAxis:
    """An in-plane axis: a block of k-space times a window, the rest zero.

    Args:
        size: samples of the axis.
        factor: ratio of all samples to those in the block, at least 1.
        window: over the block. ``tukey`` falls as a cosine over its outer part, ``hann`` and ``hamming`` over all of
            it, ``fermi`` near its edge; ``gaussian`` is exp(-2 (taper d)^2), d = 1 at the edge.
        taper: of ``tukey`` the share of the block that falls; of ``fermi`` how far from the edge it is at one half.
        partial: share of the block that was measured (partial Fourier, asymmetric echo), above 0.5: what is missing
            lies on the side of the positive frequencies, or of the negative ones where ``partial`` is negative.
    """

    size: int
    factor: float
    window: Window = "box"
    taper: float = 1.0
    partial: float = 1.0

    def __post_init__(self) -> None:
        if self.window not in get_args(Window):
            raise InputError(f"window is {self.window!r}; choose one of {', '.join(get_args(Window))}.")
        if not self.taper > 0 or not 0.5 < abs(self.partial) <= 1:
            raise InputError(
                f"taper is {self.taper} and partial {self.partial}; give a taper above 0 and a share of the block "
                "above 0.5 and up to 1, or its negative."
            )

    def response(self) -> Tensor:
        """Return what each centred frequency is multiplied by, Tensor (size,) of float64, zero outside the block."""
        start, stop = kept_block(self.size, self.factor)
        frequency = torch.arange(self.size) - self.size // 2
        distance = (2 * frequency.abs() / (stop - start)).clamp(max=1).double()
        weights = block_mask(self.size, self.factor) * _window(distance, self.window, self.taper)
        if abs(self.partial) < 1:
            limit = (abs(self.partial) - 0.5) * (stop - start)
            weights = weights * ((-frequency if self.partial < 0 else frequency) <= limit)
        return weights

    def kernel(self) -> Tensor:
        """Return the first column of the circulant matrix A, Tensor (size,); complex for a lopsided block."""
        kernel: Tensor = torch.fft.ifft(torch.fft.ifftshift(self.response()))
        return kernel.real if kernel.imag.abs().max() < 1e-12 else kernel

    def matrix(self, first: int = 0, count: int | None = None, dtype: torch.dtype = torch.float64) -> Tensor:
        """Return ``count`` rows of A from row ``first`` on, or all, Tensor (count, size), complex as the kernel is."""
        kernel = self.kernel()
        kernel = kernel.to(dtype.to_complex() if kernel.is_complex() else dtype)
        return circulant(kernel, first, self.size if count is None else count)


@dataclass(frozen=True)
class SliceAxis:
    """The axis across slices: each slice sums over a profile, and a cubic spline goes through the slices.

    Args:
        size: voxels of the fine grid.
        spacing: of the slices, from centre to centre; above ``thickness`` there is a gap, below an overlap.
        thickness: full width at half maximum of the profile.
        first: centre of the first slice; voxel i has its centre at i.
        profile: ``box``, ``trapezoid`` (ramps of a third of the thickness) or ``gaussian``.
    """

    size: int
    spacing: float
    thickness: float
    first: float = 0.0
    profile: Profile = "trapezoid"

    def __post_init__(self) -> None:
        if self.profile not in get_args(Profile):
            raise InputError(f"profile is {self.profile!r}; choose one of {', '.join(get_args(Profile))}.")
        if not (self.spacing > 0 and self.thickness > 0) or len(self.centres()) < 2:
            raise InputError(
                f"slices of {self.thickness:.3g} voxels every {self.spacing:.3g} leave fewer than two on an axis of "
                f"{self.size}; give a positive thickness, and a spacing that fits at least twice."
            )

    def centres(self) -> np.ndarray:
        """Return the places of the slices on the fine grid, as many as lie on it, (n_slices,)."""
        return np.arange(self.first, self.size - 0.5 + 1e-6, self.spacing)

    def sampling(self) -> Tensor:
        """Return S: what each slice takes of each fine voxel, Tensor (n_slices, size) of float64; rows sum to 1."""
        edges = np.arange(self.size + 1) - 0.5
        cumulative = _cumulative((edges - self.centres()[:, None]) / self.thickness, self.profile)
        weights = np.diff(cumulative, axis=1)
        return torch.from_numpy(weights / weights.sum(axis=1, keepdims=True))

    def interpolation(self) -> Tensor:
        """Return B: the cubic spline through the slices at each fine voxel, Tensor (size, n_slices) of float64.

        Beyond the outer slices their value goes on.
        """
        centres = self.centres()
        places = np.clip(np.arange(self.size), centres[0], centres[-1])
        return torch.from_numpy(CubicSpline(centres, np.eye(len(centres)))(places))

    def matrix(self) -> Tensor:
        """Return A = B S, Tensor (size, size) of float64."""
        return self.interpolation() @ self.sampling()


Axis = KSpaceAxis | SliceAxis


def circulant(kernel: Tensor, first: int, count: int) -> Tensor:
    """Return rows ``first`` to ``first + count`` of the circulant matrix with a first column ``kernel`` (size,)."""
    size = len(kernel)
    rows = kernel.flip(0).repeat(2).unfold(0, size, 1)  # row i of the matrix is row size - 1 - i
    return rows[size - first - count : size - first].flip(0)


def _window(distance: Tensor, window: Window, taper: float) -> Tensor:
    """Return a window at distances from the middle of the block, 1 at its edge."""
    match window:
        case "box":
            return torch.ones_like(distance)
        case "tukey":
            return 0.5 + 0.5 * torch.cos(torch.pi * ((distance - 1 + taper) / taper).clamp(min=0))
        case "hann":
            return 0.5 + 0.5 * torch.cos(torch.pi * distance)
        case "hamming":
            return 0.54 + 0.46 * torch.cos(torch.pi * distance)
        case "fermi":
            return 1 / (1 + torch.exp((distance - 1 + taper) / (0.4 * taper)))
        case _:
            return torch.exp(-2 * (taper * distance) ** 2)


def _cumulative(place: np.ndarray, profile: Profile) -> np.ndarray:
    """Return the part of a profile of width 1 that lies below each place."""
    if profile == "gaussian":
        return np.asarray(ndtr(place * np.sqrt(8 * np.log(2))))
    if profile == "box":
        return np.clip(place + 0.5, 0, 1)
    ramp = 1 / 3  # from -1/2 - ramp / 2 to -1/2 + ramp / 2, and likewise down
    risen, fallen = (np.clip((place + edge + ramp / 2) / ramp, 0, None) for edge in (0.5, -0.5))

    def area(part: np.ndarray) -> np.ndarray:
        """Integrate a ramp from 0 to 1 that stays at 1."""
        return np.where(part < 1, 0.5 * part**2, part - 0.5) * ramp

    return np.asarray(area(risen) - area(fallen))
