# SPDX-License-Identifier: Apache-2.0
"""How the in-plane axes of a volume were acquired: from its own power spectrum, and header fields.

Whatever the window over the measured block, nothing but noise, rounding and what the magnitude spills over lies
beyond its end. There the log power stops falling: a *knee*, which is the strongest bend of the spectrum. Where the
power drops within two samples the block ends sharply (a box, or a window that is not 0 at its edge); elsewhere it
fades. ``benchmarks/low_res.py`` measures how well this works, ``docs/low_res.md`` has the numbers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch

from bundle.acquisition import AxisEstimate, KSpaceAxis, Window
from bundle.acquisition.estimate import UNSURE
from bundle.volumes.power_spectrum import count_kept, few_slices, power_level, power_profile

LARGEST_FACTOR: Final = 8  # smaller blocks are not looked for: there spectra of large structures bend as much
SPANS: Final = (0.06, 0.12)  # of the frequency: the distances over which a bend is measured
KNEE_DB: Final = 3.5  # smallest bend that counts; of full images the power law has less than 3.2
WEAK_KNEE_DB: Final = 2.5  # smallest that leaves it open whether all was measured
SMALL: Final = 80  # samples of an axis below which few frequencies make spectra rough ...
SMALL_KNEE_DB: Final = 6.0  # ... and only sharp ends that bend so far count
SHARP: Final = 0.45  # share of the whole fall that two samples have where a block ends sharply
SMALLEST_FADE: Final = 1.15  # factor: fades further out are those of the object or of an interpolation
FADING: Final = 0.04  # relative deviation of a fading end's place
JUMP: Final = 0.05  # of the brightest line, in the first line that is not empty: the field of view was cut there
AGREEMENT: Final = 0.1  # relative: of an image and its header
HEADER: Final = 0.05  # relative deviation of what headers say
SLOPE: Final = (-22.0, 1.5)  # usual fall of the power in dB a decade, and the weight of it
UNKNOWN_WINDOW: Final = 16.0  # dB squared: no window fits better than this
WINDOWS: Final[tuple[tuple[Window, float], ...]] = (
    ("box", 1.0),
    ("hamming", 1.0),
    *(("gaussian", taper) for taper in (0.75, 1.0, 1.25)),
    ("hann", 1.0),
    *(("tukey", taper) for taper in (0.15, 0.25, 0.35, 0.5, 0.7)),
)  # a Fermi window is as good as equal to one of the Tukey windows


@dataclass(frozen=True)
class Knee:
    """Where the power of one axis stops falling: after the frequency ``last``, in cycles per field of view."""

    last: int
    bend_db: float
    is_sharp: bool


def estimate_axes(
    slices: np.ndarray, spacing: tuple[float, float], fields: Mapping[str, Sequence[float]] | None = None
) -> tuple[AxisEstimate, AxisEstimate]:
    """Estimate how the rows (axis 0) and the columns (axis 1) were acquired.

    Args:
        slices: the target's, (H, W, D), native intensities.
        spacing: of its voxels along H and W, in mm.
        fields: of a header, see :func:`bundle.volumes.header_facts.acquisition_fields`. They do not say along which
            axis of a file the phase was encoded: the image decides.

    Returns:
        Of the rows and of the columns: factor 1 and a box where nothing speaks for less than full resolution. The
        truth lies within two deviations in about 95 % of the axes, in fewer under strong phase or noise.
    """
    few = few_slices(slices)
    estimates = [_from_image(few, axis) for axis in (0, 1)]
    sides = [n * step for n, step in zip(slices.shape, spacing, strict=False)]
    rows, columns = _with_fields(estimates, fields or {}, abs(sides[0] / sides[1] - 1) < 0.02)
    return rows, columns


def find_knee(level: np.ndarray, lowest: int) -> Knee | None:
    """Find the strongest bend of a level in dB (frequencies from 0) at or above ``lowest``; ``None`` if all are weak.

    Rises do not count: magnitudes of images with ringing have peaks at twice the block.
    """
    falling = np.minimum.accumulate(level)
    bends = np.array([_bend(falling, last) for last in range(lowest, len(level))])
    if not bends.size or bends.max() < WEAK_KNEE_DB:
        return None
    last = lowest + int(np.argmax(bends))
    start, stop = max(int(0.8 * last) - 2, 1), min(last + 3, len(level) - 1)
    drops = falling[start - 1 : stop - 1] - falling[start + 1 : stop + 1]  # over two samples, around each
    whole = falling[last - max(3, round(0.15 * last))] - falling[last]
    if drops.max() - np.median(drops) > SHARP * whole:
        return Knee(start + int(np.argmax(drops)), float(bends.max()), True)
    fades_early = len(level) >= SMALLEST_FADE * (last + 0.5)
    return Knee(last, float(bends.max()), False) if fades_early else None


def _bend(falling: np.ndarray, last: int) -> float:
    """Return how much further a level falls before a frequency than beyond it, in dB; the larger of two spans."""
    spans = [max(3, round(share * last)) for share in SPANS]
    return max(
        (float(falling[last - n] - 2 * falling[last] + falling[last + n]) for n in spans if last + n < len(falling)),
        default=-np.inf,
    )


def _from_image(few: np.ndarray, axis: int) -> AxisEstimate:
    """Estimate one axis, 0 or 1, from chosen slices (H, W, D)."""
    size = few.shape[axis]
    seen = _without_cut_margin(few, axis)
    power = power_profile(seen, axis)
    level = power_level(power)
    knee = find_knee(level, _lowest(seen.shape[axis]))
    if knee is None:
        return AxisEstimate(size)
    if knee.bend_db < KNEE_DB or (size < SMALL and not (knee.is_sharp and knee.bend_db >= SMALL_KNEE_DB)):
        return AxisEstimate(size, deviation=UNSURE, window=None)
    parts = [seen[..., i::2] for i in range(min(2, seen.shape[-1]))]
    halves = [find_knee(power_level(power_profile(part, axis)), _lowest(seen.shape[axis])) for part in parts]
    kept = count_kept(level, knee.last) if knee.is_sharp else 2 * knee.last + 1
    factor = max(seen.shape[axis] / kept, 1.0)
    window = _window(power, knee)
    return AxisEstimate(size, factor, _deviation(knee, halves, kept), *window)


def _lowest(size: int) -> int:
    """Return the lowest frequency at which a block may end."""
    return max(6, size // (2 * LARGEST_FACTOR))


def _deviation(knee: Knee, halves: list[Knee | None], kept: int) -> float:
    """Return the relative deviation of a knee: a sample or a fade, and how far two halves of the slices disagree."""
    least = 1.25 / kept if knee.is_sharp else FADING
    apart = [abs(half.last - knee.last) / knee.last for half in halves if half is not None]
    missing = 0.05 * (len(halves) - len(apart))
    return max(least, min(0.5 * sum(apart) + missing, 0.5))


def _without_cut_margin(slices: np.ndarray, axis: int) -> np.ndarray:
    """Leave out empty lines at the ends of an axis if the image begins abruptly: a scanner added them to a narrow view.

    Their spectrum ripples, and the measured samples are those of the narrow view.
    """
    lines = np.abs(slices).mean(axis=tuple(a for a in range(3) if a != axis))
    filled = np.flatnonzero(lines > 1e-3 * lines.max(initial=0))
    if not filled.size or len(filled) == len(lines):
        return slices
    first, last = filled[0], filled[-1]
    edges = min(lines[first : first + 3].max(), lines[last - 2 : last + 1].max())
    is_cut = first > 0 and last < len(lines) - 1 and edges > JUMP * lines.max()
    return np.take(slices, np.arange(first, last + 1), axis) if is_cut else slices


def _window(power: np.ndarray, knee: Knee) -> tuple[Window | None, float]:
    """Return the window and taper that a power law needs to become the power inside the block; least squares."""
    level_beyond = power[round(1.06 * knee.last) + 1 : round(1.2 * knee.last) + 2]
    beyond = level_beyond.mean() if level_beyond.size else power[-1]
    ends = [knee.last + 0.5] if knee.is_sharp else [knee.last * s + 0.5 for s in (0.97, 1.0, 1.03, 1.06)]
    allowed = [w for w in WINDOWS if knee.is_sharp == (w[0] in ("box", "hamming", "gaussian"))]
    misfits = [(_misfit(power, beyond, end, *window), window) for end in ends for window in allowed]
    misfit, best = min(misfits, key=lambda pair: pair[0])
    return best if misfit < UNKNOWN_WINDOW else (None, 1.0)


def _misfit(power: np.ndarray, beyond: float, end: float, window: Window, taper: float) -> float:
    """Return the mean square in dB of the power up to ``end`` less ``beyond``, about a windowed power law."""
    frequency = np.arange(max(3, round(0.12 * end)), int(end))
    response = KSpaceAxis(2 * len(power), len(power) / end, window, taper).response()[len(power) + frequency]
    gain = 20 * torch.log10(response.clamp(min=1e-3)).numpy()
    inside = power[frequency]
    seen = inside > 2 * beyond
    if seen.sum() < 6:
        return float("inf")
    decades = np.log10(frequency / end)
    usual, weight = SLOPE
    terms = np.vstack([np.stack([np.ones(seen.sum()), decades[seen]], 1), [0, weight]])
    values = np.append(10 * np.log10(inside[seen] - beyond) - gain[seen], weight * usual)
    law, *_ = np.linalg.lstsq(terms, values, rcond=None)
    foretold = law[0] + law[1] * decades[~seen] + gain[~seen] - 10 * np.log10(2 * beyond)
    return float((np.square(terms @ law - values).sum() + np.square(foretold.clip(min=0)).sum()) / seen.sum())


def _with_fields(
    estimates: list[AxisEstimate], fields: Mapping[str, Sequence[float]], is_square: bool
) -> list[AxisEstimate]:
    """Let header fields confirm or doubt what the image shows, and say it where the image does not."""
    read, phase = _acquired_samples(fields, is_square)
    if phase is None:
        return estimates
    options = [
        [_stated(estimate.size, n) for estimate, n in zip(estimates, counts, strict=True)]
        for lines in (phase, *(phase / share for share in fields.get("PartialFourier", ())))
        for counts in ((read, lines), (lines, read))
    ]
    distances = [_distance(estimates, option) for option in options]
    if not any(estimate.factor > 1 for estimate in estimates):
        if read is None:
            return estimates  # which axis it is remains open
        open_ = np.array([[factor or 1.0 for factor in option] for option in options[:2]])
        return [
            _said(e, float(np.exp(np.log(f).mean())), float(np.ptp(np.log(f)) / 2))
            for e, f in zip(estimates, open_.T, strict=True)
        ]
    best = options[int(np.argmin(distances))]
    return [_combined(estimate, factor) for estimate, factor in zip(estimates, best, strict=True)]


def _acquired_samples(fields: Mapping[str, Sequence[float]], is_square: bool) -> tuple[float | None, float | None]:
    """Return samples along read-out and lines along phase over the whole stored field of view; ``None``: not told."""
    matrix = fields.get("AcquisitionMatrix", ())
    read = matrix[0] if matrix else None
    phase = next(iter(fields.get("AcquisitionMatrixPE", matrix[1:])), None)
    if phase is not None and is_square:  # a narrow view that was filled up to a square
        return read, phase / (next(iter(fields.get("PercentPhaseFieldOfView", ())), 100.0) / 100)
    if phase is None and read is not None and "PercentSampling" in fields:
        return read, read * fields["PercentSampling"][0] / 100
    return read, phase


def _stated(size: int, count: float | None) -> float | None:
    """Return the factor of an axis of which so many samples were acquired."""
    return None if count is None else max(size / count, 1.0)


def _distance(estimates: list[AxisEstimate], factors: list[float | None]) -> float:
    """Return how far stated factors lie from those that the image shows."""
    return sum(abs(np.log(f / e.factor)) for e, f in zip(estimates, factors, strict=True) if f is not None)


def _said(estimate: AxisEstimate, factor: float, apart: float = 0.0) -> AxisEstimate:
    """Return an axis as the header has it."""
    if factor == 1:
        return estimate
    return AxisEstimate(estimate.size, factor, max(HEADER, apart), None, source="header")


def _combined(estimate: AxisEstimate, factor: float | None) -> AxisEstimate:
    """Keep what the image shows; where it shows nothing take the header's factor, and doubt what disagrees."""
    if factor is None or abs(estimate.factor / factor - 1) <= AGREEMENT:
        return estimate
    if estimate.factor == 1:
        return _said(estimate, factor)
    return replace(estimate, deviation=max(estimate.deviation, AGREEMENT))
