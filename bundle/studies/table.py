# SPDX-License-Identifier: Apache-2.0
"""The table of a study: every row beside the paper's, what differs between rows, and the protocol."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bundle.files import writable_folder
from bundle.keys import LOW_RES, SUPER_RES, SUPER_RES_CONSISTENT
from bundle.reports.columns import Spread, format_score, metric_title, whole_and_head
from bundle.reports.text_table import markdown_table
from bundle.studies.comparisons import OVER_SLICES, SIGNIFICANT, Difference, Pair, compare, interval_text, least_p
from bundle.studies.scores import Folder, StudyScores, line_label, low_res_title
from bundle.studies.statistics import MIN_SUBJECTS_INTERVAL, MIN_SUBJECTS_TEST, N_RESAMPLES, summarise
from bundle.studies.tidy import Line, write_differences, write_summaries

Published = Mapping[str, Mapping[str, Sequence[float]]]
"""The paper's mean and standard deviation, NaN or left out where it has none, by image and metric; for the low-res of
every row that was given it."""


@dataclass(frozen=True)
class StudyRow:
    """A method of the study: its label, the folder of its evaluation, and what the paper reports for it."""

    label: str
    folder: Folder
    published: Published = field(default_factory=dict)


class StudyTable:
    """Tabulate the scores of a study's rows.

    A row's output with data consistency stands below the one without; the low-res image stands above the first
    of the rows that were given it.

    Args:
        rows: the methods, in the order of the table.
        pairs: which lines to compare.
        protocol: what a reader must know to compare the figures: the end of the footnote.

    Raises:
        InputError: if scores cannot be read, rows cannot be compared, or a pair names no row.
        ValueError: if two rows have one label.
    """

    def __init__(self, rows: Sequence[StudyRow], pairs: Sequence[Pair] = (), protocol: str = "") -> None:
        if len({row.label for row in rows}) != len(rows):
            raise ValueError("two rows of the study have the same label; give each its own.")
        self.scores = StudyScores({row.label: row.folder for row in rows})
        self.protocol = protocol
        self.lines = _lines(self.scores, {row.label: row.published for row in rows})
        self.differences = compare(self.scores, pairs, _published_means(rows))

    def markdown(self) -> str:
        """Return the table as Markdown: scores, those inside the head, over slices, differences, footnotes.

        Of two to four subjects, each has a table of its own in place of the one over all slices.

        Differences and scores over slices are printed of whole slices; the files have them inside the head too.
        """
        whole, inside = whole_and_head(self.scores.metrics)
        parts = [self._caption(), *(self._score_table(metrics) for metrics in (whole, inside) if metrics)]
        if 1 < self.scores.n_subjects < MIN_SUBJECTS_INTERVAL:
            for subject in self.scores.subjects:
                parts += [f"Subject {subject}, mean ± SD over slices:", self._subject_table(subject, [*whole, *inside])]
        elif self.scores.n_subjects > 1:
            parts += [f"Over the {self.scores.n_slices} slices, mean ± SD:", self._slice_table(whole)]
        if shown := [difference for difference in self.differences if difference.metric in whole]:
            claims = ", and whether the order that the paper claims held here" * any(one.verdict for one in shown)
            parts += [f"Paired differences{claims}:", _difference_table(shown)]
        return "\n\n".join([*parts, *self._footnotes()])

    def write(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Write the figures in full precision: ``table.csv`` and ``differences.csv``.

        Args:
            folder: where to; made where missing, files of these names replaced.

        Returns:
            The paths of the files.

        Raises:
            InputError: if the folder cannot be written.
        """
        target = writable_folder(folder)
        table, differences = target / "table.csv", target / "differences.csv"
        write_summaries(table, self.lines, {metric: self.scores.n_left_out(metric) for metric in self.scores.metrics})
        write_differences(differences, self.differences)
        return [table, differences]

    def _caption(self) -> str:
        n_subjects, n_slices = self.scores.n_subjects, self.scores.n_slices
        over = f"{n_subjects} subjects ({n_slices} slices)" if n_subjects > 1 else f"{n_slices} slices of 1 subject"
        return f"Mean ± SD over {over}, the same in every row, and the 95 % interval of the mean:"

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

    def _slice_table(self, metrics: Sequence[str]) -> str:
        rows = [
            [line.label, *(_spread_text(metric, line.summaries[metric].slices) for metric in metrics)]
            for line in self.lines
        ]
        return markdown_table(["method", *map(metric_title, metrics)], rows)

    def _subject_table(self, subject: str, metrics: Sequence[str]) -> str:
        """Return the table of all lines for one subject: a mean over few that differ much hides what each shows."""
        rows = []
        for line in self.lines:
            samples = {metric: self.scores.sample(line.row, line.image, metric) for metric in metrics}
            own = {metric: summarise(sample.of_subject(subject)) for metric, sample in samples.items()}
            cells = [
                _spread_text(metric, one.slices) + interval_text(metric, one.interval) for metric, one in own.items()
            ]
            rows.append([line.label, *cells])
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


def _lines(scores: StudyScores, published: Mapping[str, Published]) -> list[Line]:
    """Return the lines of the table, in order."""
    groups = scores.low_res_groups()
    group_of = {row: group for group in groups for row in group}
    lines = []
    for row in scores.labels:
        titles = {SUPER_RES: line_label(row, SUPER_RES)}
        if row == group_of[row][0] and scores.has(row, LOW_RES):
            titles = {LOW_RES: low_res_title(group_of[row], len(groups))} | titles
        if scores.has(row, SUPER_RES_CONSISTENT):
            titles[SUPER_RES_CONSISTENT] = line_label(row, SUPER_RES_CONSISTENT)
        for image, title in titles.items():
            summaries = {metric: summarise(scores.sample(row, image, metric)) for metric in scores.metrics}
            lines.append(Line(title, row, image, group_of[row][0], summaries, published[row].get(image, {})))
    return lines


def _published_means(rows: Sequence[StudyRow]) -> dict[tuple[str, str, str], float]:
    return {
        (row.label, image, metric): figures[0]
        for row in rows
        for image, metrics in row.published.items()
        for metric, figures in metrics.items()
    }


def _score_cells(metric: str, lines: Sequence[Line]) -> list[str]:
    """Return ``mean ± SD [interval]`` of each line, in bold the best of the rows that were given the same low-res."""
    cells = []
    for line in lines:
        summary = line.summaries[metric]
        rivals = [other for other in lines if other.given == line.given]
        best = max(
            (other.summaries[metric].subjects.mean for other in rivals if other.summaries[metric].subjects.n),
            default=math.nan,
        )
        is_best = summary.subjects.mean == best and len({other.row for other in rivals}) > 1
        text = _spread_text(metric, summary.subjects if summary.subjects.n > 1 else summary.slices)
        cells.append((f"**{text}**" if is_best else text) + interval_text(metric, summary.interval))
    return cells


def _spread_text(metric: str, spread: Spread) -> str:
    return spread.text(metric)


def _published_cell(metric: str, figures: Sequence[float]) -> str:
    """Return the paper's ``mean ± SD``, or the mean alone."""
    return " ± ".join(format_score(metric, figure) for figure in figures if not math.isnan(figure))


def _difference_table(differences: Sequence[Difference]) -> str:
    """Return the differences as a table, without columns of the paper's where it has nothing to say."""
    header = ["difference", "metric", "mean [95 % interval]", "paper", "p (Holm)", "the paper's order"]
    columns = zip(header, *(difference.cells() for difference in differences), strict=True)
    kept = [column for column in columns if any(column[1:])]
    titles, *rows = zip(*kept, strict=True)
    return markdown_table(titles, rows)


def _methods(has_differences: bool, has_published: bool) -> str:
    """Return how the figures were made."""
    text = (
        "A subject's score is the mean over its slices; SD with n - 1; in bold the best mean of the rows "
        "that were given the same low-res; intervals: "
        f"percentile bootstrap, {N_RESAMPLES} resamples."
    )
    if has_differences:
        text += " p: Wilcoxon's signed-rank test, two-sided, Holm's correction over the differences of a metric."
    if has_published:
        text += " paper: mean ± SD as published, on the paper's own data."
    return text
