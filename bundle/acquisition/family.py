# SPDX-License-Identifier: Apache-2.0
"""Random acquisitions to train on: every factor, window, slice thickness, noise, and references as hospitals have them.

The shares and ranges are those of :class:`ScannerFamily`. A draw is a pure function of its row of uniform random
numbers, so a training that is interrupted goes on exactly.
"""

import math
from dataclasses import dataclass, field
from typing import Final

import torch
from torch import Tensor

from bundle.acquisition.axis import Axis, KSpaceAxis, SliceAxis, Window, circulant
from bundle.acquisition.scan import Region, Scan, white_deviation

N_UNIFORM: Final = 64  # random numbers of a draw; about 50 are used
NOISE_SAMPLES: Final = 2**22  # of the white noise that draws take their pieces from
WINDOWS: Final[tuple[Window, ...]] = ("box", "tukey", "tukey", "hann", "hamming", "fermi", "gaussian")
PROFILES: Final = ("trapezoid", "gaussian", "box")


class Uniform:
    """Hand out the uniform random numbers of one draw, in order."""

    def __init__(self, row: Tensor) -> None:
        self._values = iter(row.tolist())

    def chance(self, share: float) -> bool:
        """Return true in a share of the draws."""
        return next(self._values) < share

    def between(self, low: float, high: float) -> float:
        """Return a number of a range, all equally likely."""
        return low + (high - low) * next(self._values)

    def log_between(self, low: float, high: float) -> float:
        """Return a number of a range, all ratios equally likely."""
        return math.exp(self.between(math.log(low), math.log(high)))

    def index(self, count: int) -> int:
        """Return a whole number from 0 and below ``count``."""
        return min(int(next(self._values) * count), count - 1)


@dataclass(frozen=True)
class ScannerFamily:
    """Shares and ranges of what is drawn; see docs/scanners.md for why."""

    clean: float = 0.5  # the paper's zero-filling: a whole block, no noise, no phase
    through_plane: float = 0.25  # slices thicker than the pixels, along one of the axes
    noisy: float = 0.4  # of what is not clean ...
    noisy_clean: float = 0.0  # ... and of what would be
    alike: float = 0.8  # of clean acquisitions: one factor along rows and columns
    largest_factor: float = 4.6
    largest_noise: float = 0.05  # standard deviation, of the mean tissue
    no_reference: float = 0.1
    partial_reference: float = 0.06  # ends inside the head
    wrong_reference: float = 0.06  # of another place, far aside, or noise
    remapped_reference: float = 0.08  # a random contrast
    noise: Tensor = field(default_factory=lambda: _white_noise(), repr=False, compare=False)

    def acquisition(self, image: Tensor, uniform: Uniform) -> Scan:
        """Draw how a slice is acquired.

        Args:
            image: Tensor (H, W), high-res, not negative.
            uniform: of this draw.
        """
        is_clean, offset, strength = (
            uniform.chance(self.clean),
            uniform.index(NOISE_SAMPLES // 2),
            uniform.between(0, 1),
        )
        rows, columns = self._clean_axes(image, uniform) if is_clean else self._axes(image, uniform)
        noise = phase = None
        if (not is_clean or self.noisy_clean) and uniform.chance(self.noisy_clean if is_clean else self.noisy):
            deviation = self.largest_noise * strength**2 * _tissue(image)
            noise = white_deviation(deviation, rows, columns) * self.noise[offset : offset + 2 * image.numel()].view(
                2, *image.shape
            )
        if not is_clean and uniform.chance(0.3):
            phase = _smooth_phase(image.shape, uniform)
        return Scan(rows, columns, noise, phase)

    def reference(self, slices: tuple[Tensor, Tensor], region: Region, uniform: Uniform) -> Tensor:
        """Return the region of a reference as it may come with the target.

        Args:
            slices: Tensors (H, W), the reference at the target's place and one at another place.
            region: of the slice, which to return.
            uniform: of this draw.

        Returns:
            Tensor (rows, columns); zeros without a reference.
        """
        first_row, first_column, n_rows, n_columns = region
        if uniform.chance(self.no_reference):
            return slices[0].new_zeros(n_rows, n_columns)
        image = (self._wrong(slices, uniform) if uniform.chance(self.wrong_reference) else slices[0]).float()
        is_aside, is_blurred = uniform.chance(0.5), uniform.chance(0.3)
        matrices = []
        for first, count, size in zip((first_row, first_column), (n_rows, n_columns), image.shape, strict=True):
            shift = uniform.between(-1.5, 1.5) if is_aside else 0.0
            blur = uniform.between(0.2, 1.2) if is_blurred else 0.0
            matrices.append(circulant(_shift_and_blur(size, shift, blur).to(image), first, count))
        aside = (
            matrices[0] @ (image @ matrices[1].T)
            if is_aside or is_blurred
            else image[first_row : first_row + n_rows, first_column : first_column + n_columns].clone()
        )
        if uniform.chance(self.remapped_reference):
            aside = _remapped(aside, float(image.max()), uniform)
        if uniform.chance(0.3):
            offset = uniform.index(NOISE_SAMPLES // 2)
            deviation = uniform.between(0, 0.06) * _tissue(image)
            aside = (aside + deviation * self.noise[offset : offset + aside.numel()].view(aside.shape)).abs()
        if uniform.chance(self.partial_reference):
            _end(aside, uniform)
        return aside

    def _wrong(self, slices: tuple[Tensor, Tensor], uniform: Uniform) -> Tensor:
        """Return what is no reference for a target: another place mirrored, the right one far aside, or noise."""
        kind, aside, offset = uniform.index(3), uniform.index(20) + 4, uniform.index(NOISE_SAMPLES // 2)
        if kind == 0:
            return slices[1].flip(-1)
        if kind == 1:
            return slices[0].roll((aside, -aside), (0, 1))
        return _tissue(slices[0].float()) * self.noise[offset : offset + slices[0].numel()].view(slices[0].shape).abs()

    def _clean_axes(self, image: Tensor, uniform: Uniform) -> list[Axis]:
        """Draw the paper's zero-filling at any factor, alike on both axes in a share of the draws."""
        factors = [uniform.log_between(1.2, self.largest_factor) for _ in range(2)]
        if uniform.chance(self.alike):
            factors[1] = factors[0] = (2.0, 3.0, 4.0)[uniform.index(3)] if uniform.chance(0.7) else factors[0]
        return [KSpaceAxis(n, f) for n, f in zip(image.shape, factors, strict=True)]

    def _axes(self, image: Tensor, uniform: Uniform) -> list[Axis]:
        """Draw what happens to the rows and to the columns."""
        window = WINDOWS[uniform.index(len(WINDOWS))]
        factors = [uniform.log_between(1.0, self.largest_factor) for _ in range(2)]
        if uniform.chance(0.5):
            factors[1] = factors[0]
        elif uniform.chance(0.5):
            factors[1] = 1.0
        taper = {"tukey": (0.1, 1.0), "fermi": (0.05, 0.3), "gaussian": (0.5, 1.25)}.get(window, (1.0, 1.0))
        parameter = uniform.between(*taper)
        is_partial, share = uniform.chance(0.2), uniform.between(5 / 8, 7 / 8)
        axes: list[Axis] = [
            KSpaceAxis(n, f, window, parameter, share if is_partial and i == 0 else 1.0)
            for i, (n, f) in enumerate(zip(image.shape, factors, strict=True))
        ]
        across = uniform.index(2)
        if uniform.chance(self.through_plane):
            size = image.shape[across]
            spacing = uniform.log_between(1.5, 7)
            thickness = max(spacing * uniform.between(0.6, 1.2), 0.8)
            first = uniform.between(-0.5, spacing - 0.5)
            axes[across] = SliceAxis(size, spacing, thickness, first, PROFILES[uniform.index(3)])
            if uniform.chance(0.6):
                axes[1 - across] = KSpaceAxis(image.shape[1 - across], 1.0)
        return axes


def _white_noise() -> Tensor:
    return torch.randn(NOISE_SAMPLES, generator=torch.Generator().manual_seed(0))


def _tissue(image: Tensor) -> float:
    """Return the mean of what is above the mean, of every fourth row and column."""
    few = image[::4, ::4]
    above = few > few.mean()
    return float((few * above).sum() / above.sum().clamp(min=1))


def _smooth_phase(shape: torch.Size, uniform: Uniform) -> Tensor:
    """Draw a phase (H, W) that changes slowly: up to 1.5 rad from the middle to an edge."""
    rows, columns = (torch.linspace(-1, 1, n) for n in shape)
    a, b, c = (uniform.between(-1.5, 1.5) for _ in range(3))
    return a * rows[:, None] + b * columns + c * (rows[:, None] ** 2 - columns**2)


def _shift_and_blur(size: int, shift: float, blur: float) -> Tensor:
    """Return the kernel that moves an axis by ``shift`` voxels and blurs it by a Gaussian of ``blur`` voxels."""
    frequency = torch.fft.rfftfreq(size, dtype=torch.float64) * 2 * torch.pi
    response = torch.exp(-0.5 * (blur * frequency) ** 2) * torch.exp(-1j * shift * frequency)
    return torch.fft.irfft(response, size)


def _remapped(image: Tensor, largest: float, uniform: Uniform) -> Tensor:
    """Give an image another contrast: a random curve through 0, four straight pieces over its range."""
    if not largest > 0:
        return image
    levels = torch.tensor([0.0, *(uniform.between(0.1, 1.0) for _ in range(4))])
    position = (image / largest * 2).clamp(0, 0.999) * 4  # tissue lies in the lower half of the range
    lower = position.long()
    return largest * torch.lerp(levels[lower], levels[lower + 1], position - lower)


def _end(reference: Tensor, uniform: Uniform) -> None:
    """Let a reference end at a straight line: its field of view covers part of the region."""
    axis, share = uniform.index(2), uniform.between(0.1, 0.9)
    part = reference if axis == 0 else reference.T
    line = round(share * len(part))
    (part[:line] if uniform.chance(0.5) else part[line:]).zero_()
