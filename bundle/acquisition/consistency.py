# SPDX-License-Identifier: Apache-2.0
"""Data consistency for what scanners do in plane: what was measured is put back, as far as it is known.

Of all images x' the one is sought that minimises ||A x' - y||^2 + lambda ||x' - x||^2, for a network's output x and a
low-res y. For windows w over k-space it is closed, frequency by frequency: X' = (w Y + lambda X) / (w^2 + lambda), or
X' = X + g (Y - w X) with the gain g = w / (w^2 + lambda). The window of the plane is the product of those of both axes.
"""

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from bundle.acquisition.axis import SliceAxis
from bundle.acquisition.estimate import AxisEstimate
from bundle.acquisition.scan import Scan

ALTERNATIONS: Final = 3  # of restoring the sign and what was measured
FLOOR: Final = 0.01  # lambda where the window is 0: the model is not right to more than a tenth of the amplitude
AIR: Final = 0.02  # of the mean tissue, below which an output is air
TISSUE: Final = 0.5  # of the same, above which a low-res shows tissue, whatever an output says
CLEAR: Final = 4.0  # of the noise, above which a magnitude is signal: one pixel of air in 3000 is
ENOUGH_AIR: Final = 200  # pixels of a slice that tell its noise ...
MOST_AIR: Final = 0.2  # ... and of what is no tissue: air is a third and more of it around a body, 0.05 inside one
QUARTILE: Final = 0.7585  # of Rayleigh's distribution, the lower one, in standard deviations of a channel
N_RINGS: Final = 24  # of frequencies from 0 to the edge of the block, each with a gain of its own


def known_response(estimate: AxisEstimate) -> tuple[Tensor, Tensor]:
    """Return window and trust of each centred frequency of an axis, Tensors (size,) of float64 in [0, 1].

    Only frequencies count whose negative was measured too, of partial Fourier the symmetric core: a real image has no
    more than half of the others. The trust is 1 where a frequency lies inside the block for nearly all plausible
    factors, three deviations from its edge, and falls to 0 one deviation from it. It is 0 where the window is not
    known, since an amplitude that is wrong is worse than none.
    """
    frequency = torch.arange(estimate.size) - estimate.size // 2
    window = estimate.axis().response()
    window = torch.minimum(window, window[(estimate.size // 2 - frequency) % estimate.size])
    inside = (window > 0).double()
    if estimate.window is None or estimate.factor == 1:  # a whole axis has no edge to be wrong about
        return window, inside * (estimate.window is not None)
    if estimate.deviation == 0:
        return window, inside
    edge = estimate.size / estimate.factor / 2
    within = (1 - frequency.abs().double() / edge) / estimate.deviation  # deviations from the edge
    return window, inside * (0.5 - 0.5 * torch.cos(torch.pi * ((within - 1) / 2).clamp(0, 1)))


@dataclass(frozen=True)
class Consistency:
    """Put back what was measured of slices.

    Args:
        rows: what is known of the acquisition of the axis of rows (H) ...
        columns: ... and of that of columns (W).
        magnitude: whether low-res images are magnitudes, or else real parts.
    """

    rows: AxisEstimate
    columns: AxisEstimate
    magnitude: bool = True

    @classmethod
    def of(cls, acquisition: Scan) -> "Consistency | None":
        """Return that of an acquisition that is known exactly; ``None`` of thick slices, which are no windows."""
        rows, columns = acquisition.rows, acquisition.columns
        if isinstance(rows, SliceAxis) or isinstance(columns, SliceAxis):
            return None
        return cls(AxisEstimate.of(rows), AxisEstimate.of(columns))

    def acquired(self, image: Tensor) -> Tensor:
        """Return A x, slices (..., H, W) under the window, as far as it is real. Linear and self-adjoint."""
        return _image(_spectrum(image) * self._plane(image)[0], image.shape)

    def sign(self, acquired: Tensor, low_res: Tensor, noise: Tensor | None = None) -> Tensor:
        """Return what a low-res is to be multiplied by to become real, given the real part A x that an image has.

        A magnitude lacks the sign that A x has next to edges. In noise of a standard deviation s the expected real
        part is y I1(k) / I0(k) with k = y A x / s^2: large values lose the bias of Rice's distribution, air fades.
        Of a magnitude that is no noise the sign alone is taken from the image.

        Args:
            acquired: Tensor (..., H, W), A x.
            low_res: Tensor (..., H, W), the magnitude y.
            noise: Tensor that broadcasts, s of each channel of the low-res; 0 or ``None`` without.

        Returns:
            Tensor (..., H, W) in [-1, 1].
        """
        if not self.magnitude:
            return torch.ones_like(acquired)
        hard = torch.ones_like(acquired).copysign(acquired + 0.0)
        if noise is None:
            return hard
        size = low_res.abs()
        clear = torch.where(size > CLEAR * noise, size, 0)  # whatever the image has there
        ratio = (size * torch.maximum(acquired.abs(), clear) / noise.square().clamp(min=1e-12)).clamp(max=1e6)
        return hard * torch.where(noise > 0, torch.special.i1e(ratio) / torch.special.i0e(ratio), 1)

    def restored(self, output: Tensor, low_res: Tensor) -> Tensor:
        """Return a network's output with what was measured, as far as noise lets it be believed.

        Where the output is air, and the low-res no clear tissue, the result is no brighter: putting back amplitudes
        would put their ringing into it. The noise is that of the low-res in this air. Where little of what is dark is
        air to the output, it is a dark structure, or noise that the output shows as well: there is neither then.

        Args:
            output: Tensor (N, 1, H, W).
            low_res: Tensor (N, 1, H, W), on the same intensity scale.
        """
        if not self.magnitude:
            return self.corrected(output, low_res)
        tissue = _tissue(low_res)
        air, dark = output < AIR * tissue, low_res < TISSUE * tissue
        air &= _count(air & dark) >= (MOST_AIR * _count(dark)).clamp(min=ENOUGH_AIR)
        ceiling = torch.where(air & dark, output.clamp(min=0), torch.inf)
        return self.corrected(output, low_res, _noise(low_res, air), ceiling)

    def corrected(
        self, output: Tensor, low_res: Tensor, noise: Tensor | None = None, ceiling: Tensor | None = None
    ) -> Tensor:
        """Return the minimiser X' of the head of this module, for a magnitude after some alternations with its sign.

        Args:
            output: Tensor (N, 1, H, W).
            low_res: Tensor (N, 1, H, W), on the same intensity scale.
            noise: Tensor (N, 1, 1, 1), standard deviation of a channel of the low-res; ``None`` without.
            ceiling: Tensor (N, 1, H, W) that a result from a magnitude does not exceed.
        """
        window, trust = self._plane(output)
        if not trust.any():
            return output
        gain = trust * window / (window.square() + FLOOR * (1 - window.square())).clamp(min=1e-9)
        measured = low_res.abs() if self.magnitude else low_res
        for _ in range(ALTERNATIONS if self.magnitude else 1):
            own = _spectrum(output) * window
            sign = self.sign(_image(own, output.shape), measured, noise)
            difference = _spectrum(sign * measured) - own
            if noise is not None:
                expected = noise.square() * sign.square().mean((-2, -1), keepdim=True)  # its power a frequency
                difference = difference * self._belief(difference, trust, window, expected)
            output = output + _image(gain * difference, output.shape)
            if self.magnitude:
                output = output.clamp(min=0)
            if ceiling is not None:
                output = torch.minimum(output, ceiling)
        return output

    def _plane(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return window and trust of the frequencies of :func:`_spectrum`, Tensors (H, W // 2 + 1)."""
        both = zip(known_response(self.rows), known_response(self.columns), strict=True)
        planes = (torch.fft.ifftshift(a)[:, None] * torch.fft.ifftshift(b)[: len(b) // 2 + 1] for a, b in both)
        window, trust = (plane.to(like) for plane in planes)
        return window, trust

    def _belief(self, difference: Tensor, trust: Tensor, window: Tensor, noise_power: Tensor) -> Tensor:
        """Return how much of a difference in k-space is more than noise, ring by ring, as a Wiener filter does."""
        axes = ((self.rows, torch.fft.fftfreq), (self.columns, torch.fft.rfftfreq))
        rows, columns = (frequency(axis.size).abs() * 2 * axis.factor for axis, frequency in axes)
        place = torch.maximum(rows[:, None], columns).clamp(max=1) * (N_RINGS - 1)  # 0 to the edge of the block
        ring = place.round().long().to(difference.device)
        powers = [difference.abs().square() * trust, (window.square() / self._passed() * trust).expand_as(difference)]
        seen, noise = (
            power.new_zeros(*power.shape[:-2], N_RINGS).index_add_(-1, ring.flatten(), power.flatten(-2))
            for power in powers
        )
        ratio = noise_power[..., 0] * noise / seen.clamp(min=torch.finfo(seen.dtype).tiny)
        return (1 - ratio).clamp(min=0)[..., ring.flatten()].view(difference.shape)

    def _passed(self) -> float:
        """Return the share of white noise that the acquisition lets pass."""
        rows, columns = (float(axis.axis().response().square().mean()) for axis in (self.rows, self.columns))
        return rows * columns


def _spectrum(image: Tensor) -> Tensor:
    return torch.fft.rfft2(image, norm="ortho")


def _image(spectrum: Tensor, shape: torch.Size) -> Tensor:
    return torch.fft.irfft2(spectrum, s=shape[-2:], norm="ortho")


def _tissue(slices: Tensor) -> Tensor:
    """Return the mean of what is above the mean of each slice, Tensor (..., 1, 1)."""
    above = slices > slices.mean((-2, -1), keepdim=True)
    return (slices * above).sum((-2, -1), keepdim=True) / above.sum((-2, -1), keepdim=True).clamp(min=1)


def _count(pixels: Tensor) -> Tensor:
    """Return how many pixels of each slice are true, Tensor (..., 1, 1)."""
    return pixels.sum((-2, -1), keepdim=True)


def _noise(low_res: Tensor, air: Tensor) -> Tensor:
    """Return the standard deviation of a channel in the air of each slice (N, 1, H, W), 0 without air, (N, 1, 1, 1).

    By the lower quartile, which ringing hardly reaches.
    """
    levels = [
        voxels[inside].quantile(0.25) / QUARTILE if inside.any() else voxels.new_zeros(())
        for voxels, inside in zip(low_res.flatten(1).abs(), air.flatten(1), strict=True)
    ]
    return torch.stack(levels)[:, None, None, None]
