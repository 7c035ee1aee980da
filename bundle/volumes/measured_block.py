# SPDX-License-Identifier: Apache-2.0
"""How much of a volume's k-space was measured: scanners zero-fill the rest, and say so nowhere.

Where k-space was zeroed, the power falls by 6 dB or more within two samples; that of a full image only ever slopes.
``benchmarks/low_res.py`` measures both, ``docs/low_res.md`` has the numbers.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

EDGE_DB: Final = 4.0  # smallest drop that is an edge; full images reach 1.5 (patients) or 2.4 (noise-free simulations)
LARGEST_FACTOR: Final = 10  # smaller blocks are not looked for: there the spectra of large structures are rough
WINDOW: Final = 3  # samples on either side of an edge over which the log power is averaged
UNPAIRED_DB: Final = 1.9  # smallest step, beyond the slope, from the last paired sample to an unpaired one
MAXIMUM_SLICES: Final = 24  # looked at, of those with at least a tenth of the fullest's energy: enough for 0.1 dB
BLOCK_TOLERANCE: Final = 0.05  # of the measured block to that of the weights, relative; a sample is always allowed
SPACING_TOLERANCE: Final = 0.15  # of the ratio of voxel sizes to what enlarging does: scans are not planned together
COARSER: Final = 1.3  # ratio to the reference's voxels from which those of the target count as larger


@dataclass(frozen=True)
class OccupiedAxis:
    """How much of one axis of k-space holds what was measured."""

    size: int  # samples on the axis
    kept: int  # of them in the block, centred as in bundle.kspace.kept_block; size where none is found
    drop_db: float  # how far the power falls at its steepest place, beyond the slope on either side

    @property
    def found(self) -> bool:
        """Whether part of the axis is empty."""
        return self.kept < self.size

    @property
    def factor(self) -> float:
        """Ratio of all samples to those that were measured."""
        return self.size / self.kept


@dataclass(frozen=True)
class InPlaneAxis:
    """What is known of one in-plane axis of the target."""

    block: OccupiedAxis
    zoom: float  # voxel size relative to the reference's; 1 where it is not clearly larger
    factor: float  # what the weights were trained for

    @property
    def total(self) -> float:
        """The factor from what was measured to the reference's grid."""
        return self.block.factor * self.zoom

    def fit(self) -> tuple[int, int] | None:
        """Return the size that the axis should have for the weights and its measured samples, or ``None``."""
        expected = round(self.block.size * self.zoom / self.factor)
        # of few slices a block is not seen better than to a sample
        measured = expected if self.block.found and abs(self.block.kept - expected) <= 1 else self.block.kept
        if self.zoom == 1:
            fits = abs(measured - expected) <= BLOCK_TOLERANCE * expected
            return (self.block.size, measured) if fits else None
        size = round(measured * self.factor)
        return (size, measured) if abs(size / self.block.size / self.zoom - 1) <= SPACING_TOLERANCE else None


def occupied_block(slices: np.ndarray) -> tuple[OccupiedAxis, OccupiedAxis]:
    """Find the occupied block of k-space of slices (H, W, D), native intensities: axis of rows H, of columns W.

    Spectra of real images are symmetric: an asymmetric block (partial Fourier) cannot be told from one that has its
    larger half on both sides. A block that a filter has faded out has no edge, or is found smaller than it was.
    """
    few = few_slices(slices)
    rows, columns = (find_edge(power_profile(few, axis), slices.shape[axis]) for axis in (0, 1))
    return rows, columns


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


def find_edge(power: np.ndarray, size: int) -> OccupiedAxis:
    """Find the last frequency before the power (:func:`power_profile`) drops by ``EDGE_DB``, on an axis of a size."""
    level = power_level(power)
    lowest = max(2 * WINDOW, size // (2 * LARGEST_FACTOR))
    candidates = range(lowest, len(level) - WINDOW - 1)
    drops = np.array([_drop(level, last) for last in candidates])
    if not drops.size or drops.max() < EDGE_DB:
        return OccupiedAxis(size, size, float(drops.max(initial=0)))
    steepest = int(np.argmax(drops))
    # Where the object had phase, its magnitude has a second edge at twice the frequency, where that of its square ends.
    half = (candidates[steepest] // 2) - lowest
    around = drops[max(half - WINDOW, 0) : max(half + WINDOW + 1, 0)]
    if around.max(initial=0) >= max(EDGE_DB, 0.5 * drops.max()):
        steepest = max(half - WINDOW, 0) + int(np.argmax(around))
    return OccupiedAxis(size, count_kept(level, candidates[steepest]), float(drops[steepest]))


def _drop(level: np.ndarray, last: int) -> float:
    """Return by how many dB the level falls beyond the frequency ``last``, less what the slope inside foretells."""
    inside = level[last - WINDOW + 1 : last + 1].mean()
    further_inside = level[last - 2 * WINDOW : last - WINDOW].mean()
    outside = level[last + 2 : last + 2 + WINDOW].mean()  # the sample next to last may be an even block's unpaired row
    return float(inside - outside - max(further_inside - inside, 0))  # the three are equally far apart


def count_kept(level: np.ndarray, last: int) -> int:
    """Count the samples of a block that ends within two samples of the frequency ``last``, at the largest step.

    Where the step before it is one too, the sample between is an even block's unpaired row, with half its amplitude.
    """
    steps = level[:-1] - level[1:]
    first = last - 2
    edge = first + int(np.argmax(steps[first : last + 3]))
    slope = float(np.median(steps[max(edge - 7, 0) : edge - 1]))
    return 2 * edge if steps[edge - 1] - slope > UNPAIRED_DB else 2 * edge + 1
