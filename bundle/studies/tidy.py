# SPDX-License-Identifier: Apache-2.0
"""A study's figures in full precision for other programs: CSV files with one observation a line."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bundle.files import write_csv
from bundle.studies.comparisons import Difference
from bundle.studies.statistics import Interval, Summary

_SUMMARY_HEADER = [
    "line", "row", "image", "metric", "n_subjects", "n_slices", "n_left_out", "mean", "sd_over_subjects",
    "mean_over_slices", "sd_over_slices", "interval_low", "interval_high", "interval_over", "paper_mean", "paper_sd",
]  # fmt: skip
_DIFFERENCE_HEADER = [
    "first", "second", "metric", "difference", "interval_low", "interval_high", "interval_over", "p", "p_holm",
    "n_pairs", "pairs_of", "paper_difference", "verdict",
]  # fmt: skip


@dataclass(frozen=True)
class Line:
    """One line of a study's table.

    Attributes:
        label: what it is called.
        row: label of the row it belongs to; for a low-res image, the first of the rows that were given it.
        image: which of the row's images.
        given: the first of the rows that were given the same low-res image.
        summaries: its figures by metric.
        published: the paper's mean, or mean and standard deviation, by metric.
    """

    label: str
    row: str
    image: str
    given: str
    summaries: Mapping[str, Summary]
    published: Mapping[str, Sequence[float]]


def write_summaries(path: Path, lines: Sequence[Line], n_left_out: Mapping[str, int]) -> None:
    """Write a line for each line of the table and metric; blank where there is no figure.

    Args:
        path: the file.
        lines: of the table.
        n_left_out: slices left out of each metric.

    Raises:
        InputError: if the file cannot be written.
    """
    rows = [_SUMMARY_HEADER]
    for line in lines:
        for metric, summary in line.summaries.items():
            subjects, slices = summary.subjects, summary.slices
            counts = [str(count) for count in (subjects.n, slices.n, n_left_out[metric])]
            figures = [_figure(value) for value in (subjects.mean, subjects.sd, slices.mean, slices.sd)]
            published = [*map(_figure, line.published.get(metric, ())), "", ""][:2]
            of_line = [line.label, line.row, line.image, metric]
            rows.append([*of_line, *counts, *figures, *_interval(summary.interval), *published])
    write_csv(path, rows)


def write_differences(path: Path, differences: Sequence[Difference]) -> None:
    """Write a line for each pair and metric; blank where there is no figure.

    Args:
        path: the file.
        differences: of the study.

    Raises:
        InputError: if the file cannot be written.
    """
    rows = [_DIFFERENCE_HEADER]
    for difference in differences:
        pair, test = difference.pair, difference.test
        figures = [_figure(difference.mean), *_interval(difference.interval)]
        tested = [_figure(test.p), _figure(difference.p_holm), str(test.n), test.over if test.n else ""]
        of_paper = [_figure(difference.published), difference.verdict]
        rows.append([pair.first, pair.second, difference.metric, *figures, *tested, *of_paper])
    write_csv(path, rows)


def _interval(interval: Interval | None) -> list[str]:
    return ["", "", ""] if interval is None else [_figure(interval.low), _figure(interval.high), interval.over]


def _figure(value: float) -> str:
    """Return the shortest text that reads back as the same number."""
    return "" if math.isnan(value) else repr(float(value))
