# SPDX-License-Identifier: Apache-2.0
"""The power of the frequencies along one axis of slices."""

from typing import Final

import numpy as np

UNPAIRED_DB: Final = 1.9  # smallest step, beyond the slope, from the last paired sample to an unpaired one
MAXIMUM_SLICES: Final = 24  # looked at, of those with at least a tenth of the fullest's energy: enough for 0.1 dB


def few_slices(slices: np.ndarray) -> np.ndarray:
    """Return at most ``MAXIMUM_SLICES`` of slices (H, W, D), evenly spaced among those with much energy, float32."""
    energy = np.einsum("hwd,hwd->d", slices, slices)
    chosen = np.flatnonzero(energy >= 0.1 * energy.max())
    chosen = chosen[np.linspace(0, len(chosen) - 1, min(len(chosen), MAXIMUM_SLICES)).round().astype(int)]
    return np.ascontiguousarray(slices[..., chosen], dtype=np.float32)


def power_level(power: np.ndarray) -> np.ndarray:
    """Return power in dB, not below the rounding errors of float32 images whose outside is exactly empty."""
    level: np.ndarray = 10 * np.log10(np.maximum(power, np.finfo(np.float64).tiny + 1e-13 * power.max()))
    return level


def power_profile(slices: np.ndarray, axis: int) -> np.ndarray:
    """Return the power of the frequencies 0, 1, ... below half the size of an axis, 0 or 1, of real slices (H, W, D).

    It is averaged over the other axes; by Parseval's theorem this is the average over the other axis of k-space too.
    """
    spectrum = np.fft.rfft(slices, axis=axis)
    power = np.square(np.abs(spectrum), dtype=np.float64).mean(axis=tuple(a for a in range(3) if a != axis))
    return np.asarray(power[: (slices.shape[axis] + 1) // 2])  # without the one that has no partner


def count_kept(level: np.ndarray, last: int) -> int:
    """Count the samples of a block that ends within two samples of the frequency ``last``, at the largest step.

    Where the step before it is one too, the sample between is an even block's unpaired row, with half its amplitude.
    """
    steps = level[:-1] - level[1:]
    first = last - 2
    edge = first + int(np.argmax(steps[first : last + 3]))
    slope = float(np.median(steps[max(edge - 7, 0) : edge - 1]))
    return 2 * edge if steps[edge - 1] - slope > UNPAIRED_DB else 2 * edge + 1
