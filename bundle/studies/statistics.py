# SPDX-License-Identifier: Apache-2.0
"""Means, bootstrap intervals and paired tests of scores: over subjects where there are enough, else over slices.

Slices of one subject resemble each other: over them intervals are too narrow and p-values too small, and results say
so. Scores are a series of finite values, one a slice, whose index has a level ``subject``.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import bootstrap, wilcoxon

from bundle.keys import SUBJECT
from bundle.metrics.score_text import Spread, format_score

Unit = Literal["subjects", "slices"]
Values = npt.NDArray[np.float64]

OVER_SLICES = "\N{DAGGER}"  # marks what rests on slices where there are too few subjects
LEVEL = 0.95
MIN_SUBJECTS_INTERVAL = 5  # of fewer, resampling reaches too few different means
MIN_SUBJECTS_TEST = 6  # of fewer, no signed-rank test can reach p < 0.05: 2 / 2**5 = 0.0625
N_RESAMPLES = 10_000
_SEED = 0


class Interval(NamedTuple):
    """Bounds of the mean over subjects, and what was resampled."""

    low: float
    high: float
    over: Unit


class Summary(NamedTuple):
    """Scores in figures: over the means of subjects, over all slices, and an interval where there can be one."""

    subjects: Spread
    slices: Spread
    interval: Interval | None


class SignedRank(NamedTuple):
    """The two-sided p-value of Wilcoxon's test, of how many pairs, and what they are. NaN without a pair."""

    p: float
    n: int
    over: Unit


def mark(over: Unit) -> str:
    """Return the mark of what rests on slices."""
    return OVER_SLICES if over == "slices" else ""


def interval_text(interval: Interval | None, metric: str, sign: str = "", more_digits: int = 0) -> str:
    """Return an interval as it stands behind a mean, with the digits of its metric; nothing where there is none."""
    bounds = [format_score(metric, bound, sign, more_digits) for bound in interval[:2]] if interval else []
    return f" [{', '.join(bounds)}]{mark(interval.over)}" if interval else ""


def subject_means(scores: pd.Series) -> Values:
    """Return the mean over the slices of each subject, its sessions pooled, in the order of the subjects' names."""
    return np.array([values.mean() for values in _by_subject(scores)])


def summarise(scores: pd.Series) -> Summary:
    """Return means, standard deviations (n - 1) and the interval of scores."""
    return Summary(Spread.of(subject_means(scores)), Spread.of(scores), bootstrap_interval(scores))


def bootstrap_interval(scores: pd.Series, n_resamples: int = N_RESAMPLES) -> Interval | None:
    """Return the 95 % percentile interval (Efron 1979) of the mean over subjects, by ``n_resamples`` means.

    From 5 subjects on, their means are resampled, with fewer the slices within each. The random numbers are the same in
    every call. There is none where a subject's only slice leaves nothing to resample.
    """
    over = _unit(scores, MIN_SUBJECTS_INTERVAL)
    groups = _by_subject(scores) if over == "slices" else [subject_means(scores)]
    if not groups or min(group.size for group in groups) < 2:
        return None
    drawn = bootstrap(
        groups,
        lambda *resampled, axis: np.mean([group.mean(axis=axis) for group in resampled], axis=0),
        n_resamples=n_resamples,
        method="percentile",
        rng=np.random.default_rng(_SEED),
    )
    low, high = np.quantile(drawn.bootstrap_distribution, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high), over)


def signed_rank(differences: pd.Series) -> SignedRank:
    """Test whether paired differences lie around 0 (Wilcoxon 1945, two-sided, zeros dropped).

    Over the mean differences of subjects from 6 subjects on, else over slices. Where all are 0, p is 1.
    """
    over = _unit(differences, MIN_SUBJECTS_TEST)
    values = subject_means(differences) if over == "subjects" else differences.to_numpy()
    if not values.size:
        return SignedRank(float("nan"), 0, over)
    return SignedRank(float(wilcoxon(values).pvalue) if values.any() else 1.0, values.size, over)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their number (Holm 1979), in the order given.

    The k-th smallest of m is multiplied by m - k + 1, and is never less than the one before it nor more than 1.
    A NaN, of a test that could not be made, stays NaN and does not count.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")[: np.count_nonzero(~np.isnan(p))]  # NaN sorts last
    adjusted = np.full(p.shape, np.nan)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(order.size, 0, -1)), 1)
    return [float(value) for value in adjusted]


def _by_subject(scores: pd.Series) -> list[Values]:
    return [values.to_numpy() for _, values in scores.groupby(level=SUBJECT)]


def _unit(scores: pd.Series, min_subjects: int) -> Unit:
    return "subjects" if scores.index.unique(SUBJECT).size >= min_subjects else "slices"
