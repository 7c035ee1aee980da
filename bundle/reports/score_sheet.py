# SPDX-License-Identifier: Apache-2.0
"""The score sheet of an evaluation: scores of slices in; means of subjects, a table and CSV files out."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from torch import Tensor

from bundle.keys import LOW_RES, SUBJECT
from bundle.metrics.score_text import Spread, image_title, metric_title, whole_and_head
from bundle.reports.spreadsheet import write_csv
from bundle.reports.text_table import markdown_table

KEYS = ("subject", "case", "slice", "image")  # of slices.csv: person, session, index through-plane, what was scored
Figure = tuple[str, str, bool]  # metric, image, and whether it is the image's gain over the low-res


class SubjectScores(NamedTuple):
    """The figures of a subject, over the slices that have scores, or of all; by metric how many were not finite."""

    subject: str
    n_slices: int
    n_left_out: Mapping[str, int]
    spreads: Mapping[Figure, Spread]


class ScoreSheet:
    """Collect the scores of slices and report them by subject.

    A subject's figure is the mean over all its slices, its sessions pooled; the total is the mean over
    subjects. Gains over the low-res are paired, slice by slice; without scores of the low-res there are none.

    A slice whose score is not finite in any of the images is left out of that metric for all of them. How many were is
    stated with the table and in ``subjects.csv``; ``slices.csv`` holds them. A sheet without scores cannot be reported
    (``ValueError``). It may begin with other sheets, such as those of several processes; a case in two counts once.
    """

    def __init__(self, sheets: Iterable["ScoreSheet"] = ()) -> None:
        self._scores: dict[tuple[str, str, int, str, str], float] = {}  # by KEYS and metric
        for sheet in sheets:
            self._scores |= sheet._scores

    def add(self, subject: str, case: str, slices: Sequence[int], scores: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Add the scores of a case: by image and metric one value a slice, Tensors (N,).

        The N slices are given by their indices along the through-plane axis, from 0. Images and metrics are reported in
        the order in which they first appear, the low-res before all others. Raises ``ValueError`` if a metric's values
        are not one a slice, or a slice's score is already there.
        """
        for image, metrics in scores.items():
            for metric, values in metrics.items():
                if values.shape != (len(slices),):
                    shape = tuple(values.shape)
                    raise ValueError(f"{metric} has shape {shape} for {len(slices)} slices; pass one value a slice.")
                keys = [(subject, case, int(index), image, metric) for index in slices]
                if len(set(keys) - self._scores.keys()) < len(keys):
                    raise ValueError(f"{case}: a slice has a {metric} score of {image} already; add each slice once.")
                self._scores |= zip(keys, values.tolist(), strict=True)

    def subjects(self) -> list[SubjectScores]:
        """Return the figures of each subject, in the order of their names, and last those over all."""
        figures, left_out = self._figures()
        found = [
            SubjectScores(name, len(own), left_out.loc[own.index].sum().to_dict(), {f: Spread.of(own[f]) for f in own})
            for name, own in figures.groupby(SUBJECT)
        ]
        total = {figure: Spread.of(subject.spreads[figure].mean for subject in found) for figure in figures}
        return [*found, SubjectScores("all", len(figures), left_out.sum().to_dict(), total)]

    def table(self, protocol: str = "") -> str:
        """Return the report in Markdown: a table of whole slices, one inside the head, footnotes with the protocol."""
        *subjects, total = self.subjects()
        mean = total._replace(subject=f"mean of {len(subjects)} subject{'s' if len(subjects) > 1 else ''}")
        tables = [_table([*subjects, mean], metrics) for metrics in whole_and_head(total.n_left_out) if metrics]
        over = "Mean ± SD over the slices of each subject; last row over the subjects' means."
        notes = [
            f"{metric_title(metric)}: {n_left_out} of {total.n_slices} slices left out, "
            "their score is not finite in at least one image."
            for metric, n_left_out in total.n_left_out.items()
            if n_left_out
        ]
        return "\n\n".join([*tables, f"{over} {protocol}".strip(), *notes])

    def write(self, folder: str | os.PathLike[str]) -> None:
        """Write ``slices.csv`` (all scores) and ``subjects.csv`` (the table with full precision)."""
        *_, total = subjects = self.subjects()
        slices = self._series().map("{:.6f}".format).unstack("metric")[list(total.n_left_out)]
        rows = []
        for subject, n_slices, n_left_out, spreads in subjects:
            row = {SUBJECT: subject, "n_slices": n_slices} | {f"{one}_n_left_out": n for one, n in n_left_out.items()}
            for (metric, image, is_gain), spread in spreads.items():
                name = f"{image}_{metric}{'_gain' * is_gain}"
                row |= {f"{name}_mean": spread.mean, f"{name}_sd": spread.sd}
            rows.append(row)
        write_csv(Path(folder) / "slices.csv", slices.reset_index())
        write_csv(Path(folder) / "subjects.csv", pd.DataFrame(rows), float_format="%.6f")

    def _series(self) -> pd.Series:
        """Return all scores by slice, image and metric."""
        if not self._scores:
            raise ValueError("the score sheet is empty; add the scores of at least one slice before the report.")
        return pd.Series(self._scores).rename_axis([*KEYS, "metric"])

    def _figures(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return of each slice the figures, NaN where there is none, and whether it is left out of each metric."""
        scores = self._series()
        images = sorted(scores.index.unique("image"), key=lambda image: image != LOW_RES)
        marked = scores.where(np.isfinite(scores), np.inf).unstack(["metric", "image"])  # NaN is then of no score
        figures, left_out = {}, {}
        for metric in scores.index.unique("metric"):
            of_metric = marked[metric].reindex(columns=images)
            left_out[metric] = np.isinf(of_metric).any(axis=1)
            kept = of_metric[~left_out[metric]]
            for image in images:
                figures[metric, image, False] = kept[image]
                if image != LOW_RES == images[0]:
                    figures[metric, image, True] = kept[image] - kept[LOW_RES]
        return pd.DataFrame(figures, index=marked.index), pd.DataFrame(left_out)


def _table(subjects: Sequence[SubjectScores], metrics: Sequence[str]) -> str:
    """Return the table of some metrics: a row for each image of each subject."""
    has_gains = any(gain for _, _, gain in subjects[0].spreads)
    rows = []
    for subject in subjects:
        for image in dict.fromkeys(image for _, image, _ in subject.spreads):
            row = [subject.subject, str(subject.n_slices), image_title(image)]
            for metric in metrics:
                row.append(subject.spreads[metric, image, False].text(metric))
                gain = subject.spreads.get((metric, image, True))
                row += [gain.text(metric, "+") if gain else ""] * has_gains  # the low-res has no gain over itself
            rows.append(row)
    headings = [title for metric in metrics for title in (metric_title(metric), *["gain"] * has_gains)]
    return markdown_table([SUBJECT, "slices", "image", *headings], rows)
