# SPDX-License-Identifier: Apache-2.0
"""The table of a study: every row beside the paper's, what differs between rows, and the protocol."""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from bundle.files import atomic_path, writable_folder
from bundle.keys import LOW_RES, SUBJECT, SUPER_RES, SUPER_RES_CONSISTENT
from bundle.reports.columns import format_score, metric_title, whole_and_head
from bundle.reports.text_table import markdown_table
from bundle.studies.comparisons import (
    OVER_SLICES,
    SIGNIFICANT,
    Comparison,
    Difference,
    Published,
    compare,
    interval_text,
    least_p,
)
from bundle.studies.scores import Folder, StudyScores, line_label, low_res_title
from bundle.studies.statistics import MIN_SUBJECTS_INTERVAL, MIN_SUBJECTS_TEST, N_RESAMPLES, Summary, summarise

_SUMMARY_HEADER = [
    "line", "row", "image", "metric", "n_subjects", "n_slices", "n_left_out", "mean", "sd_over_subjects",
    "mean_over_slices", "sd_over_slices", "interval_low", "interval_high", "interval_over", "paper_mean", "paper_sd",
]  # fmt: skip
_DIFFERENCE_HEADER = [
    "first", "second", "metric", "difference", "interval_low", "interval_high", "interval_over", "p", "p_holm",
    "n_pairs", "pairs_of", "paper_difference", "verdict",
]  # fmt: skip


class Line(NamedTuple):
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


class StudyTable:
    """Tabulate the scores of a study's rows.

    A row's output with data consistency stands below the one without; the low-res image stands above the first
    of the rows that were given it.

    Args:
        folders: of the evaluations by the rows' labels, in the order of the table.
        comparisons: which lines to compare.
        published: what the paper reports.
        protocol: what a reader must know to compare the figures: the end of the footnote.

    Raises:
        InputError: if scores cannot be read, rows cannot be compared, or a comparison names no row.
    """

    def __init__(
        self,
        folders: Mapping[str, Folder],
        comparisons: Sequence[Comparison] = (),
        published: Published | None = None,
        protocol: str = "",
    ) -> None:
        self.scores = StudyScores(folders)
        self.protocol = protocol
        self.lines = _lines(self.scores, published or {})
        self.differences = compare(self.scores, comparisons, published or {})

    def markdown(self) -> str:
        """Return the table as Markdown: scores, those inside the head, over slices, differences, footnotes.

        Of two to four subjects, each has a table of its own in place of the one over all slices.

        Differences and scores over slices are printed of whole slices; the files have them inside the head too.
        """
        whole, inside = whole_and_head(self.scores.metrics)
        n_subjects, n_slices = len(self.scores.subjects), self.scores.n_slices
        over = f"{n_subjects} subjects ({n_slices} slices)" if n_subjects > 1 else f"{n_slices} slices of 1 subject"
        parts = [f"Mean ± SD over {over}, the same in every row, and the 95 % interval of the mean:"]
        parts += [self._score_table(metrics) for metrics in (whole, inside) if metrics]
        if 1 < n_subjects < MIN_SUBJECTS_INTERVAL:
            for subject in self.scores.subjects:
                parts += [f"Subject {subject}, mean ± SD over slices:", self._slice_table([*whole, *inside], subject)]
        elif n_subjects > 1:
            parts += [f"Over the {n_slices} slices, mean ± SD:", self._slice_table(whole)]
        if shown := [difference for difference in self.differences if difference.metric in whole]:
            claims = ", and whether the order that the paper claims held here" * any(one.verdict for one in shown)
            parts += [f"Paired differences{claims}:", _difference_table(shown)]
        return "\n\n".join([*parts, *self._footnotes()])

    def write(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Write the figures in full precision, blank where there is none: ``table.csv`` and ``differences.csv``.

        Args:
            folder: where to; made where missing, files of these names replaced.

        Returns:
            The paths of the files.

        Raises:
            InputError: if the folder cannot be written.
        """
        summaries = []
        for line in self.lines:
            for metric, (subjects, slices, interval) in line.summaries.items():
                counts = [subjects.n, slices.n, self.scores.n_left_out(metric)]
                figures = [subjects.mean, subjects.sd, slices.mean, slices.sd, *(interval or [None] * 3)]
                published = [*line.published.get(metric, ()), None, None][:2]
                summaries.append([line.label, line.row, line.image, metric, *counts, *figures, *published])
        differences = []
        for one in self.differences:
            tested = [one.test.p, one.p_holm, one.test.n, one.test.over if one.test.n else ""]
            compared = [one.comparison.first, one.comparison.second, one.metric, one.mean]
            differences.append([*compared, *(one.interval or [None] * 3), *tested, one.published, one.verdict])
        tables = {"table": (summaries, _SUMMARY_HEADER), "differences": (differences, _DIFFERENCE_HEADER)}
        files = [writable_folder(folder) / f"{name}.csv" for name in tables]
        for file, (rows, header) in zip(files, tables.values(), strict=True):
            with atomic_path(file) as temporary:
                pd.DataFrame(rows, columns=header).to_csv(temporary, index=False, lineterminator="\n")
        return files

    def _score_table(self, metrics: Sequence[str]) -> str:
        """Return the table of all lines: metric by metric our score and, where there is one, the paper's."""
        columns = [["method", *(line.label for line in self.lines)]]
        for metric in metrics:
            columns.append([metric_title(metric), *_score_cells(metric, self.lines)])
            if any(metric in line.published for line in self.lines):
                published = [_published_cell(metric, line.published.get(metric, ())) for line in self.lines]
                columns.append(["paper", *published])
        header, *rows = zip(*columns, strict=True)
        return markdown_table(header, rows)

    def _slice_table(self, metrics: Sequence[str], subject: str | None = None) -> str:
        """Return the table of all lines over all slices, or those of one subject with their interval.

        A mean over few subjects that differ much hides what each shows.
        """
        rows = []
        for label, row, image, *_ in self.lines:
            cells = []
            for metric in metrics:
                sample = self.scores.sample(row, image, metric)
                own = summarise(
                    sample if subject is None else sample[sample.index.get_level_values(SUBJECT) == subject]
                )
                cells.append(own.slices.text(metric) + interval_text(metric, own.interval) * (subject is not None))
            rows.append([label, *cells])
        return markdown_table(["method", *map(metric_title, metrics)], rows)

    def _footnotes(self) -> list[str]:
        """Return what the figures mean, what is optimistic in them, what was left out, and the protocol."""
        notes = [_methods(bool(self.differences), any(line.published for line in self.lines))]
        intervals = [summary.interval for line in self.lines for summary in line.summaries.values()]
        if any(interval and interval.over == "slices" for interval in intervals):
            notes.append(
                f"{OVER_SLICES} Interval over slices, since there are fewer than {MIN_SUBJECTS_INTERVAL} subjects. "
                "It is optimistic: slices of a subject resemble each other, and other subjects may differ."
            )
        if any(difference.test.n and difference.test.over == "slices" for difference in self.differences):
            notes.append(
                f"{OVER_SLICES} p over slices, since there are fewer than {MIN_SUBJECTS_TEST} subjects. "
                "It is optimistic: slices are not independent."
            )
        if (least := least_p(self.differences)) >= SIGNIFICANT:
            notes.append(f"No p can be below {least:.3f}: there are too few subjects for so many differences.")
        notes += [
            f"{metric_title(metric)}: {n_left_out} of {self.scores.n_slices} slices left out of every row, "
            "their score is not finite in at least one."
            for metric in self.scores.metrics
            if (n_left_out := self.scores.n_left_out(metric))
        ]
        return [*notes, *([self.protocol] if self.protocol else [])]


def _lines(scores: StudyScores, published: Published) -> list[Line]:
    """Return the lines of the table, in order."""
    groups = scores.low_res_groups()
    group_of = {row: group for group in groups for row in group}
    lines = []
    for row in scores.labels:
        first = group_of[row][0]
        titles = {LOW_RES: low_res_title(group_of[row], len(groups))} if row == first else {}
        titles |= {image: line_label(row, image) for image in (SUPER_RES, SUPER_RES_CONSISTENT)}
        for image, title in titles.items():
            if image == SUPER_RES or scores.has(row, image):
                summaries = {metric: summarise(scores.sample(row, image, metric)) for metric in scores.metrics}
                lines.append(Line(title, row, image, first, summaries, published.get(row, {}).get(image, {})))
    return lines


def _score_cells(metric: str, lines: Sequence[Line]) -> list[str]:
    """Return ``mean ± SD [interval]`` of each line, in bold the best of the rows that were given the same low-res."""
    cells = []
    for line in lines:
        summary = line.summaries[metric]
        rivals = [other for other in lines if other.given == line.given]
        best = max((r.summaries[metric].subjects.mean for r in rivals if r.summaries[metric].subjects.n), default=None)
        is_best = summary.subjects.mean == best and len({other.row for other in rivals}) > 1
        text = (summary.subjects if summary.subjects.n > 1 else summary.slices).text(metric)
        cells.append((f"**{text}**" if is_best else text) + interval_text(metric, summary.interval))
    return cells


def _published_cell(metric: str, figures: Sequence[float]) -> str:
    """Return the paper's ``mean ± SD``, or the mean alone."""
    return " ± ".join(format_score(metric, figure) for figure in figures if not math.isnan(figure))


def _difference_table(differences: Sequence[Difference]) -> str:
    """Return the differences as a table, without columns of the paper's where it has nothing to say."""
    header = ["difference", "metric", "mean [95 % interval]", "paper", "p (Holm)", "the paper's order"]
    columns = zip(header, *(difference.cells() for difference in differences), strict=True)
    titles, *rows = zip(*(column for column in columns if any(column[1:])), strict=True)
    return markdown_table(titles, rows)


def _methods(has_differences: bool, has_published: bool) -> str:
    """Return how the figures were made."""
    text = (
        "A subject's score is the mean over its slices; SD with n - 1; in bold the best mean of the rows "
        f"that were given the same low-res; intervals: percentile bootstrap, {N_RESAMPLES} resamples."
    )
    if has_differences:
        text += " p: Wilcoxon's signed-rank test, two-sided, Holm's correction over the differences of a metric."
    if has_published:
        text += " paper: mean ± SD as published, on the paper's own data."
    return text
