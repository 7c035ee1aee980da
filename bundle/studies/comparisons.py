# SPDX-License-Identifier: Apache-2.0
"""Rows of a study against each other: paired differences, and whether the order that the paper claims held."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from bundle.errors import InputError
from bundle.keys import LOW_RES, SUPER_RES, SUPER_RES_CONSISTENT
from bundle.reports.columns import format_score, image_title, metric_title
from bundle.studies.scores import StudyScores, line_label
from bundle.studies.statistics import Interval, SignedRank, bootstrap_interval, holm, signed_rank, subject_means

SIGNIFICANT = 0.05
_MINUS = "\N{MINUS SIGN}"
OVER_SLICES = "\N{DAGGER}"
"""Marks what rests on slices where there are too few subjects."""

Published = Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]]
"""The paper's mean and standard deviation by row, image and metric: NaN or left out where it has none; for the low-res
of every row that was given it."""


@dataclass(frozen=True)
class Comparison:
    """Two lines of a table to compare.

    Attributes:
        first: label of a row, with ``+ DC`` behind it for its output with data consistency, or ``LR`` for the
            low-res image that the other one started from.
        second: likewise.
        claimed: the metrics in which the paper puts the first above the second.
    """

    first: str
    second: str
    claimed: Sequence[str] = ()


@dataclass(frozen=True)
class Difference:
    """One comparison in one metric.

    Attributes:
        comparison: of which lines.
        metric: the metric.
        published: the paper's first minus its second mean; NaN where it does not report both.
        mean: first minus second, the mean over subjects; NaN without scores.
        interval: of the mean.
        test: whether the differences lie around 0.
        p_holm: its p-value with Holm's correction over all comparisons in the metric.
    """

    comparison: Comparison
    metric: str
    published: float
    mean: float
    interval: Interval | None
    test: SignedRank
    p_holm: float = math.nan

    @property
    def verdict(self) -> str:
        """Whether the order held that the paper claims; empty without a claim or a test.

        Slices of few subjects resemble each other: over them only the direction is told, not that an order held.
        """
        if self.metric not in self.comparison.claimed or math.isnan(self.p_holm):
            return ""
        if self.p_holm >= SIGNIFICANT:
            return "not significant"
        if self.test.over == "slices":
            return f"{'same' if self.mean > 0 else 'opposite'} direction{OVER_SLICES}"
        return "held" if self.mean > 0 else "not held"

    def cells(self) -> list[str]:
        """Return the difference as cells of a printed table."""
        first, second = self.comparison.first, self.comparison.second
        title, metric = f"{first} {_MINUS} {second}", metric_title(self.metric)
        published = "" if math.isnan(self.published) else _difference_text(self.metric, self.published)
        if math.isnan(self.mean):
            return [title, metric, "n/a", published, "n/a", ""]
        mean = _difference_text(self.metric, self.mean) + interval_text(self.metric, self.interval, _difference_text)
        p = "< 0.001" if self.p_holm < 0.001 else f"{self.p_holm:.3f}"
        mark = OVER_SLICES if self.test.over == "slices" else ""
        return [title, metric, mean, published, p + mark, f"{first} > {second}: {self.verdict}" if self.verdict else ""]


def comparable(rows: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Return what can be compared in a study, row and image by label; the row of the low-res is left open."""
    outputs = {line_label(row, image): (row, image) for row in rows for image in (SUPER_RES_CONSISTENT, SUPER_RES)}
    return {image_title(LOW_RES): ("", LOW_RES)} | outputs


def compare(scores: StudyScores, comparisons: Sequence[Comparison], published: Published) -> list[Difference]:
    """Return the differences of all comparisons, metric by metric, with Holm's correction over those of each.

    Args:
        scores: of the study's rows.
        comparisons: what to compare.
        published: to give the paper's difference beside ours.

    Raises:
        InputError: if a comparison names what is not in the study.
    """
    lines = [(_line(scores, one.first, one.second), _line(scores, one.second, one.first)) for one in comparisons]
    differences = []
    for metric in scores.metrics:
        of_metric = []
        for comparison, both in zip(comparisons, lines, strict=True):
            of_paper = _published_mean(published, *both[0], metric) - _published_mean(published, *both[1], metric)
            first, second = (scores.sample(*line, metric) for line in both)
            paired = (first - second).dropna()  # nothing is left where one of them has no score
            mean = float(subject_means(paired).mean()) if paired.size else math.nan
            test = signed_rank(paired)
            of_metric.append(Difference(comparison, metric, of_paper, mean, bootstrap_interval(paired), test))
        adjusted = holm([difference.test.p for difference in of_metric])
        differences += [replace(difference, p_holm=p) for difference, p in zip(of_metric, adjusted, strict=True)]
    return differences


def least_p(differences: Sequence[Difference]) -> float:
    """Return the smallest corrected p that there could be, 0 without tests.

    The signed-rank test of n differences of one sign has p = 2 / 2^n, which Holm multiplies by the number of tests.
    """
    tested = [difference for difference in differences if difference.test.n]
    n_tests = Counter(difference.metric for difference in tested)
    return min((min(n_tests[one.metric] * 2.0 ** (1 - one.test.n), 1.0) for one in tested), default=0.0)


def interval_text(
    metric: str, interval: Interval | None, bound_text: Callable[[str, float], str] = format_score
) -> str:
    """Return `` [low, high]`` and the mark of slices, or nothing where there is no interval."""
    if interval is None:
        return ""
    bounds = ", ".join(bound_text(metric, bound) for bound in (interval.low, interval.high))
    return f" [{bounds}]{OVER_SLICES if interval.over == 'slices' else ''}"


def _difference_text(metric: str, value: float) -> str:
    """Return a difference with its sign; rows can be closer than the last digit of their scores."""
    return format_score(metric, value, "+", more_digits=1)


def _published_mean(published: Published, row: str, image: str, metric: str) -> float:
    return published.get(row, {}).get(image, {}).get(metric, [math.nan])[0]


def _line(scores: StudyScores, label: str, partner: str) -> tuple[str, str]:
    """Return the row and the image of one side of a comparison."""
    lines = comparable(scores.labels)
    row, image = lines.get(label, ("", ""))
    if image == LOW_RES:
        row, _ = lines.get(partner, ("", ""))
    if not row:
        known = ", ".join([*scores.labels, image_title(LOW_RES)])
        raise InputError(f"the comparison {label!r} with {partner!r} is of no two rows; choose among {known}.")
    return row, image
