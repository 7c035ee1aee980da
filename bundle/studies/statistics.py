# SPDX-License-Identifier: Apache-2.0
"""Means, bootstrap intervals and paired tests of scores: over subjects where there are enough, else over slices.

The subject is what a study draws at random; slices of one subject resemble each other. Statistics over slices treat
them as independent: their intervals are too narrow and their p-values too small. They are the last resort of
a study of few subjects, and every result says which of the two it rests on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.stats import wilcoxon

from bundle.reports.columns import Spread

Unit = Literal["subjects", "slices"]
Values = npt.NDArray[np.float64]

LEVEL = 0.95
MIN_SUBJECTS_INTERVAL = 5  # of fewer, resampling reaches too few different means
MIN_SUBJECTS_TEST = 6  # of fewer, no signed-rank test can reach p < 0.05: 2 / 2**5 = 0.0625
N_RESAMPLES = 10_000
_SEED = 0
_CHUNK = 1000  # resamples drawn at a time, which bounds the memory


@dataclass(frozen=True)
class Sample:
    """Finite scores of slices, arrays (n,), with the subject that each slice belongs to."""

    values: Values
    subjects: npt.NDArray[np.str_]

    def by_subject(self) -> list[Values]:
        """Return the values of each subject, its sessions pooled, in the order of the subjects' names."""
        return [self.values[self.subjects == subject] for subject in np.unique(self.subjects)]

    def of_subject(self, name: str) -> "Sample":
        """Return the values of one subject, its sessions pooled."""
        own = self.subjects == name
        return Sample(self.values[own], self.subjects[own])

    def subject_means(self) -> Values:
        """Return the mean over the slices of each subject."""
        return np.array([values.mean() for values in self.by_subject()])

    def __sub__(self, other: "Sample") -> "Sample":
        """Return the differences, slice by slice, of two samples of the same slices."""
        if not np.array_equal(self.subjects, other.subjects):
            raise ValueError("the samples are of different slices; subtract samples of the same ones.")
        return Sample(self.values - other.values, self.subjects)


@dataclass(frozen=True)
class Interval:
    """Bounds of the mean over subjects, and what was resampled."""

    low: float
    high: float
    over: Unit


@dataclass(frozen=True)
class Summary:
    """A sample in figures: over the means of subjects, over all slices, and an interval where there can be one."""

    subjects: Spread
    slices: Spread
    interval: Interval | None


@dataclass(frozen=True)
class SignedRank:
    """The two-sided p-value of Wilcoxon's test, of how many pairs, and what they are. NaN without a pair."""

    p: float
    n: int
    over: Unit


def summarise(sample: Sample) -> Summary:
    """Return means, standard deviations (n - 1) and the interval of a sample."""
    return Summary(Spread.of(sample.subject_means()), Spread.of(sample.values), bootstrap_interval(sample))


def bootstrap_interval(sample: Sample, n_resamples: int = N_RESAMPLES) -> Interval | None:
    """Return the 95 % percentile interval (Efron 1979) of the mean over subjects.

    From 5 subjects on, their means are resampled. With fewer, slices are, within each subject: the
    interval then says nothing of how subjects differ. The random numbers are the same in every call.

    Args:
        sample: the scores.
        n_resamples: how many means to draw.

    Returns:
        The interval, or none where a subject's only slice leaves nothing to resample.
    """
    groups, over = sample.by_subject(), _unit(sample, MIN_SUBJECTS_INTERVAL)
    if over == "subjects":
        groups = [sample.subject_means()]
    if not groups or min(group.size for group in groups) < 2:
        return None
    generator = np.random.default_rng(_SEED)
    means = np.mean([_resampled_means(group, n_resamples, generator) for group in groups], axis=0)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high), over)


def signed_rank(differences: Sample) -> SignedRank:
    """Test whether paired differences lie around 0 (Wilcoxon 1945, two-sided, zeros dropped).

    Over the mean differences of subjects from 6 subjects on, else over slices. Where all are 0, p is 1.
    """
    over = _unit(differences, MIN_SUBJECTS_TEST)
    values = differences.subject_means() if over == "subjects" else differences.values
    if not values.size:
        return SignedRank(float("nan"), 0, over)
    p = float(wilcoxon(values).pvalue) if values.any() else 1.0
    return SignedRank(p, values.size, over)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their number (Holm 1979), in the order given.

    The k-th smallest of m is multiplied by m - k + 1, and is never less than the one before it nor more than 1.
    A NaN, of a test that could not be made, stays NaN and does not count.
    """
    p = np.asarray(p_values, dtype=np.float64)
    tested = np.flatnonzero(~np.isnan(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    adjusted = np.full(p.shape, np.nan)
    factors = np.arange(order.size, 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1)
    return [float(value) for value in adjusted]


def _unit(sample: Sample, min_subjects: int) -> Unit:
    return "subjects" if np.unique(sample.subjects).size >= min_subjects else "slices"


def _resampled_means(values: Values, n_resamples: int, generator: np.random.Generator) -> Values:
    """Return the means of samples drawn with replacement, array (n_resamples,)."""
    sizes = [min(_CHUNK, n_resamples - start) for start in range(0, n_resamples, _CHUNK)]
    return np.concatenate(
        [values[generator.integers(values.size, size=(size, values.size))].mean(axis=1) for size in sizes]
    )
