# SPDX-License-Identifier: Apache-2.0
"""Rows of a study against each other: paired differences, and whether the order that the paper claims held."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

import pandas as pd

from bundle.errors import InputError
from bundle.keys import LOW_RES, SUPER_RES, SUPER_RES_CONSISTENT
from bundle.metrics.score_text import format_score, image_title, metric_title
from bundle.studies import statistics
from bundle.studies.scores import line_label

SIGNIFICANT = 0.05

PaperFigures = Mapping[str, Sequence[float]]  # published mean, and standard deviation if there is one, by metric
Published = Mapping[str, Mapping[str, PaperFigures]]  # by row and image; the low-res's for every row that was given it


class Scores(Protocol):
    """What can be compared: scores of rows, by slice or by subject, whose index has a level ``subject``."""

    labels: list[str]
    metrics: list[str]

    def sample(self, label: str, image: str, metric: str) -> pd.Series:
        """Return the finite scores of an image of a row in a metric."""


class Comparison(NamedTuple):
    """Two lines of a table, and the metrics in which the paper puts the first above the second."""

    first: str  # a row's label, with "+ DC" for its output with data consistency; or "LR", which the other started from
    second: str
    claimed: Sequence[str] = ()
    group: str = ""  # claims of a group stand or fall together: p is corrected for their number


class Difference(NamedTuple):
    """One comparison of means over subjects in one metric, first minus second, as here and published; NaN without."""

    comparison: Comparison
    metric: str
    published: float
    mean: float
    interval: statistics.Interval | None
    test: statistics.SignedRank
    p_holm: float = math.nan  # corrected for the number of tests of the family
    n_alike: int = 0  # of the pairs tested: how many have the sign of the mean

    @property
    def family(self) -> tuple[str, str, bool]:
        """The tests for whose number p is corrected: of a group and metric, what the paper claims, or the rest."""
        return self.comparison.group, self.metric, self.metric in self.comparison.claimed

    @property
    def verdict(self) -> str:
        """Whether the order held that the paper claims, over slices only its direction; empty without claim or test."""
        if self.metric not in self.comparison.claimed or math.isnan(self.p_holm):
            return ""
        if self.p_holm >= SIGNIFICANT:
            return "not significant"
        if self.test.over == "slices":
            return f"{'same' if self.mean > 0 else 'opposite'} direction{statistics.mark(self.test.over)}"
        return "held" if self.mean > 0 else "not held"

    @property
    def p_text(self) -> str:
        """The corrected p in three digits, marked where it is over slices."""
        return ("< 0.001" if self.p_holm < 0.001 else f"{self.p_holm:.3f}") + statistics.mark(self.test.over)

    def cells(self) -> list[str]:
        """Return cells of a printed table, with a digit more than scores have: rows can be closer than their last."""
        first, second, metric = self.comparison.first, self.comparison.second, self.metric
        mean = p = "n/a"
        if not math.isnan(self.mean):
            mean = format_score(metric, self.mean, "+", 1)
            mean += statistics.interval_text(self.interval, metric, "+", 1)
            p = self.p_text
        published = "" if math.isnan(self.published) else format_score(metric, self.published, "+", 1)
        verdict = f"{first} > {second}: {self.verdict}" if self.verdict else ""
        return [f"{first} \N{MINUS SIGN} {second}", metric_title(metric), mean, published, p, verdict]


def comparable(rows: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Return what can be compared in a study, row and image by label; the row of the low-res is left open."""
    outputs = {line_label(row, image): (row, image) for row in rows for image in (SUPER_RES_CONSISTENT, SUPER_RES)}
    return {image_title(LOW_RES): ("", LOW_RES)} | outputs


def compare(scores: Scores, comparisons: Sequence[Comparison], published: Published) -> list[Difference]:
    """Return all differences, metric by metric; ``InputError`` if a comparison names what is not in the study."""
    lines = [(_line(scores, one.first, one.second), _line(scores, one.second, one.first)) for one in comparisons]
    differences = []
    for metric in scores.metrics:
        of_metric = []
        for comparison, both in zip(comparisons, lines, strict=True):
            theirs = [published.get(row, {}).get(image, {}).get(metric, [math.nan])[0] for row, image in both]
            first, second = (scores.sample(*line, metric) for line in both)
            paired = (first - second).dropna()  # nothing is left where one of them has no score
            mean = float(statistics.subject_means(paired).mean()) if paired.size else math.nan
            interval, test = statistics.bootstrap_interval(paired), statistics.signed_rank(paired)
            of_pairs = statistics.subject_means(paired) if test.over == "subjects" else paired
            alike = sum(value * mean > 0 for value in of_pairs)
            of_metric.append(Difference(comparison, metric, theirs[0] - theirs[1], mean, interval, test, n_alike=alike))
        differences += of_metric
    return _corrected(differences)


def least_p(differences: Sequence[Difference]) -> float:
    """Return the smallest corrected p that there could be, 0 without tests.

    The signed-rank test of n differences of one sign has p = 2 / 2^n, which Holm multiplies by the number of tests.
    """
    tested = [difference for difference in differences if difference.test.n]
    n_tests = Counter(difference.family for difference in tested)
    return min((min(n_tests[one.family] * 2.0 ** (1 - one.test.n), 1.0) for one in tested), default=0.0)


def _corrected(differences: Sequence[Difference]) -> list[Difference]:
    """Return differences with Holm's correction within each family."""
    families: dict[tuple[str, str, bool], list[float]] = defaultdict(list)
    for one in differences:
        families[one.family].append(one.test.p)
    adjusted = {family: iter(statistics.holm(p_values)) for family, p_values in families.items()}
    return [one._replace(p_holm=next(adjusted[one.family])) for one in differences]


def _line(scores: Scores, label: str, partner: str) -> tuple[str, str]:
    lines = comparable(scores.labels)
    row, image = lines.get(label, ("", ""))
    if image == LOW_RES:
        row, _ = lines.get(partner, ("", ""))
    if not row:
        known = ", ".join([*scores.labels, image_title(LOW_RES)])
        raise InputError(f"the comparison {label!r} with {partner!r} is of no two rows; choose among {known}.")
    return row, image
