# SPDX-License-Identifier: Apache-2.0
"""The table of a study: every row beside the paper's, what differs between rows, and the protocol."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from bundle.keys import LOW_RES, SUPER_RES, SUPER_RES_CONSISTENT
from bundle.metrics.score_text import format_score, metric_title, whole_and_head
from bundle.reports.spreadsheet import write_csv
from bundle.reports.text_table import markdown_table
from bundle.studies import statistics
from bundle.studies.comparisons import SIGNIFICANT, Comparison, PaperFigures, Published, compare, least_p
from bundle.studies.scores import Folder, StudyScores, line_label, low_res_title
from bundle.studies.statistics import OVER_SLICES, Summary, interval_text, summarise

_HEADERS = {
    "table": [
        "line", "row", "image", "metric", "n_subjects", "n_slices", "n_left_out", "mean",
        "sd_over_subjects", "mean_over_slices", "sd_over_slices", "interval_low", "interval_high", "interval_over",
        "paper_mean", "paper_sd",
    ],
    "differences": [
        "first", "second", "metric", "difference", "interval_low", "interval_high", "interval_over", "p", "p_holm",
        "n_pairs", "pairs_of", "paper_difference", "verdict",
    ],
}  # fmt: skip
_NO_INTERVAL = (None, None, None)


class Line(NamedTuple):
    """An image of a row, with its own and the paper's figures by metric; ``given`` is the first row of its low-res."""

    label: str
    row: str
    image: str
    given: str
    summaries: Mapping[str, Summary]
    published: PaperFigures


class StudyTable:
    """Tabulate the scores of rows, read by label from the folders of evaluations, or raise ``InputError``."""

    def __init__(
        self,
        folders: Mapping[str, Folder],
        comparisons: Sequence[Comparison] = (),
        published: Published | None = None,
        protocol: str = "",
    ) -> None:
        self.scores = StudyScores(folders)
        self.protocol = protocol
        self.lines = list(_lines(self.scores, published or {}))
        self.differences = compare(self.scores, comparisons, published or {})

    def markdown(self) -> str:
        """Return the table as Markdown: scores, over subjects, then slices or each subject; differences, notes."""
        whole, inside = whole_and_head(self.scores.metrics)
        n_subjects, n_slices = len(self.scores.subjects), self.scores.n_slices
        over = f"{n_subjects} subjects ({n_slices} slices)" if n_subjects > 1 else f"{n_slices} slices of 1 subject"
        parts = [f"Mean ± SD over {over}, the same in every row, and the 95 % interval of the mean:"]
        parts += [self._score_table(metrics) for metrics in (whole, inside) if metrics]
        if 1 < n_subjects < statistics.MIN_SUBJECTS_INTERVAL:
            for subject in self.scores.subjects:  # a mean over few that differ much hides what each shows
                parts += [f"Subject {subject}, mean ± SD over slices:", self._slice_table([*whole, *inside], subject)]
        elif n_subjects > 1:
            parts += [f"Over the {n_slices} slices, mean ± SD:", self._slice_table(whole)]
        if shown := [difference for difference in self.differences if difference.metric in whole]:
            claims = ", and whether the order that the paper claims held here" * any(one.verdict for one in shown)
            header = ["difference", "metric", "mean [95 % interval]", "paper", "p (Holm)", "the paper's order"]
            columns = zip(header, *(difference.cells() for difference in shown), strict=True)
            parts += [f"Paired differences{claims}:", _table(column for column in columns if any(column[1:]))]
        return "\n\n".join([*parts, *self._footnotes()])

    def write(self, folder: str | os.PathLike[str]) -> None:
        """Write ``table.csv`` and ``differences.csv`` in full precision, blank where there is no figure."""
        summaries = []
        for line in self.lines:
            for metric, (subjects, slices, interval) in line.summaries.items():
                counts = [subjects.n, slices.n, self.scores.n_left_out(metric)]
                figures = [subjects.mean, subjects.sd, slices.mean, slices.sd, *(interval or _NO_INTERVAL)]
                published = [*line.published.get(metric, ()), None, None][:2]
                summaries.append([line.label, line.row, line.image, metric, *counts, *figures, *published])
        differences = []
        for one in self.differences:
            compared = [*one.comparison[:2], one.metric, one.mean, *(one.interval or _NO_INTERVAL)]
            tested = [one.test.p, one.p_holm, one.test.n, one.test.over if one.test.n else None]
            differences.append([*compared, *tested, one.published, one.verdict])
        for name, rows in {"table": summaries, "differences": differences}.items():
            write_csv(Path(folder) / f"{name}.csv", pd.DataFrame(rows, columns=_HEADERS[name]))

    def _score_table(self, metrics: Sequence[str]) -> str:
        columns = [["method", *(line.label for line in self.lines)]]
        for metric in metrics:
            columns.append([metric_title(metric), *_score_cells(metric, self.lines)])
            if any(metric in line.published for line in self.lines):
                published = [line.published.get(metric, ()) for line in self.lines]
                columns.append(["paper", *(" ± ".join(format_score(metric, one) for one in of) for of in published)])
        return _table(columns)

    def _slice_table(self, metrics: Sequence[str], subject: str | None = None) -> str:
        """Return the table of all lines over all slices, or those of one subject with their interval."""
        columns = [["method", *(line.label for line in self.lines)]]
        for metric in metrics:
            columns.append([metric_title(metric)])
            for line in self.lines:
                summary = summarise(self.scores.sample(line.row, line.image, metric, subject))
                interval = interval_text(summary.interval, metric) if subject else ""
                columns[-1].append(summary.slices.text(metric) + interval)
        return _table(columns)

    def _footnotes(self) -> list[str]:
        notes = [
            "A subject's score is the mean over its slices; SD with n - 1; in bold the best mean of the rows "
            f"that were given the same low-res; intervals: percentile bootstrap, {statistics.N_RESAMPLES} resamples."
        ]
        tests = " p: Wilcoxon's signed-rank test, two-sided, Holm's correction over a metric's claims, and the rest."
        paper = " paper: mean ± SD as published, on the paper's own data."
        notes[0] += tests * bool(self.differences) + paper * any(line.published for line in self.lines)
        intervals = [summary.interval for line in self.lines for summary in line.summaries.values()]
        if any(interval and interval.over == "slices" for interval in intervals):
            notes.append(
                f"{OVER_SLICES} Interval over slices, since there are fewer than {statistics.MIN_SUBJECTS_INTERVAL} "
                "subjects. It is optimistic: slices of a subject resemble each other, and other subjects may differ."
            )
        if any(one.test.n and one.test.over == "slices" for one in self.differences):
            notes.append(
                f"{OVER_SLICES} p over slices, since there are fewer than {statistics.MIN_SUBJECTS_TEST} subjects. "
                "It is optimistic: slices are not independent."
            )
        if (least := least_p(self.differences)) >= SIGNIFICANT:
            notes.append(f"No p can be below {least:.3f}: there are too few subjects for so many differences.")
        for metric in self.scores.metrics:
            if n_left_out := self.scores.n_left_out(metric):
                left_out = f"{n_left_out} of {self.scores.n_slices} slices left out of every row"
                notes.append(f"{metric_title(metric)}: {left_out}, their score is not finite in at least one.")
        return [*notes, self.protocol] if self.protocol else notes


def _lines(scores: StudyScores, published: Published) -> Iterable[Line]:
    groups = scores.low_res_groups()
    group_of = {row: group for group in groups for row in group}
    for row in scores.labels:
        first = group_of[row][0]
        titles = {LOW_RES: low_res_title(group_of[row], len(groups))} if row == first else {}
        titles |= {image: line_label(row, image) for image in (SUPER_RES, SUPER_RES_CONSISTENT)}
        for image, title in titles.items():
            if image == SUPER_RES or scores.has(row, image):
                summaries = {metric: summarise(scores.sample(row, image, metric)) for metric in scores.metrics}
                yield Line(title, row, image, first, summaries, published.get(row, {}).get(image, {}))


def _score_cells(metric: str, lines: Sequence[Line]) -> Iterable[str]:
    """Yield ``mean ± SD [interval]`` of each line, in bold the best of the rows that were given the same low-res."""
    for line in lines:
        subjects, slices, interval = line.summaries[metric]
        rivals = [other for other in lines if other.given == line.given]
        means = [other.summaries[metric].subjects.mean for other in rivals if other.summaries[metric].subjects.n]
        bold = "**" if subjects.mean == max(means, default=None) and len({other.row for other in rivals}) > 1 else ""
        text = (subjects if subjects.n > 1 else slices).text(metric)
        yield f"{bold}{text}{bold}{interval_text(interval, metric)}"


def _table(columns: Iterable[Sequence[str]]) -> str:
    header, *rows = zip(*columns, strict=True)
    return markdown_table(header, rows)
