# SPDX-License-Identifier: Apache-2.0
"""The score sheet of an evaluation: scores of slices in; means of subjects, a table and CSV files out."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from torch import Tensor

from bundle.files import atomic_path
from bundle.keys import LOW_RES, SUBJECT
from bundle.reports.columns import Spread, image_title, metric_title, whole_and_head
from bundle.reports.text_table import markdown_table

KEYS = ("subject", "case", "slice", "image")
"""The columns of ``slices.csv`` before the metrics: person, session, index through-plane from 0, what was scored."""

Figure = tuple[str, str, bool]
"""Metric, image, and whether it is the image's gain over the low-res instead of its score."""


class SubjectScores(NamedTuple):
    """What the report says of one subject, over their slices, or of all, over the subjects' means.

    ``n_slices`` counts the slices that have scores, and ``n_left_out`` by metric those left out as not finite.
    """

    subject: str
    n_slices: int
    n_left_out: Mapping[str, int]
    spreads: Mapping[Figure, Spread]


class ScoreSheet:
    """Collect the scores of slices and report them by subject.

    A subject's figure is the mean over all its slices, its sessions pooled; the total is the mean over
    subjects, so that each counts once however many slices it has. Standard deviations are sample ones (n - 1).
    Gains over the low-res are paired, slice by slice; without scores of the low-res there are none.

    A slice whose score is not finite in any of the images is left out of that metric for all of them: both
    sides of a comparison always rest on the same slices. How many were left out is stated with the table and
    in ``subjects.csv``, and ``slices.csv`` holds them as they are. A sheet without scores cannot be reported
    (``ValueError``).

    Args:
        sheets: whose scores to begin with, such as those of several processes; a case in two of them counts once.
    """

    def __init__(self, sheets: Iterable["ScoreSheet"] = ()) -> None:
        self._scores: dict[tuple[str, str, int, str, str], float] = {}  # by KEYS and metric
        for sheet in sheets:
            self._scores |= sheet._scores

    def add(self, subject: str, case: str, slices: Sequence[int], scores: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Add the scores of a case.

        Args:
            subject: the person, who may have several cases.
            case: one session of the subject.
            slices: the N slices' indices along the through-plane axis of the volume, from 0.
            scores: by image and metric one value a slice, Tensors (N,). Both are reported in the order in which they
                first appear, the low-res before all others.

        Raises:
            ValueError: if a metric's values are not one a slice, or a slice's score is already there.
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
        """Return the report in Markdown: a table of whole slices, one inside the head, and footnotes.

        Args:
            protocol: what a reader must know to compare the figures, for the footnote.
        """
        *subjects, total = self.subjects()
        mean = total._replace(subject=f"mean of {len(subjects)} subject{'s' if len(subjects) > 1 else ''}")
        kinds = whole_and_head(total.n_left_out)
        tables = [_table([*subjects, mean], metrics) for metrics in kinds if metrics]
        over = "Mean ± SD over the slices of each subject; last row over the subjects' means."
        notes = [
            f"{metric_title(metric)}: {n_left_out} of {total.n_slices} slices left out, "
            "their score is not finite in at least one image."
            for metric, n_left_out in total.n_left_out.items()
            if n_left_out
        ]
        return "\n\n".join([*tables, f"{over} {protocol}".strip(), *notes])

    def write(self, folder: str | os.PathLike[str]) -> None:
        """Write ``slices.csv`` (all scores) and ``subjects.csv`` (the table with full precision).

        Raises:
            InputError: if the folder cannot be written.
        """
        *_, total = subjects = self.subjects()
        slices = self._series().map("{:.6f}".format).unstack("metric")[list(total.n_left_out)]
        with atomic_path(Path(folder) / "slices.csv") as temporary:
            slices.to_csv(temporary, lineterminator="\n")
        names = ["_".join([image, metric, *["gain"] * is_gain]) for metric, image, is_gain in total.spreads]
        header = [SUBJECT, "n_slices", *(f"{metric}_n_left_out" for metric in total.n_left_out)]
        header += [f"{name}_{part}" for name in names for part in ("mean", "sd")]
        rows = [
            [name, n_slices, *n_left_out.values(), *(value for mean, sd, _ in spreads.values() for value in (mean, sd))]
            for name, n_slices, n_left_out, spreads in subjects
        ]
        with atomic_path(Path(folder) / "subjects.csv") as temporary:
            pd.DataFrame(rows, columns=header).to_csv(temporary, index=False, lineterminator="\n", float_format="%.6f")

    def _series(self) -> pd.Series:
        """Return all scores by slice, image and metric."""
        if not self._scores:
            raise ValueError("the score sheet is empty; add the scores of at least one slice before the report.")
        return pd.Series(self._scores).rename_axis([*KEYS, "metric"])

    def _figures(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return of each slice the figures, NaN where there is none, and whether it is left out of each metric."""
        scores = self._series()
        images = sorted(scores.index.unique("image"), key=lambda image: image != LOW_RES)
        has_gains = images[0] == LOW_RES
        marked = scores.where(np.isfinite(scores), np.inf).unstack(["metric", "image"])  # NaN is then of no score
        figures, left_out = {}, {}
        for metric in scores.index.unique("metric"):
            of_metric = marked[metric].reindex(columns=images)
            left_out[metric] = np.isinf(of_metric).any(axis=1)
            kept = of_metric[~left_out[metric]]
            for image in images:
                figures[metric, image, False] = kept[image]
                if has_gains and image != LOW_RES:
                    figures[metric, image, True] = kept[image] - kept[LOW_RES]
        return pd.DataFrame(figures, index=marked.index), pd.DataFrame(left_out)


def _table(subjects: Sequence[SubjectScores], metrics: Sequence[str]) -> str:
    """Return the table of some metrics: a row for each image of each subject."""
    spreads = subjects[0].spreads
    has_gains = any(gain for _, _, gain in spreads)
    rows = []
    for subject in subjects:
        for image in dict.fromkeys(image for _, image, _ in spreads):
            cells = []
            for metric in metrics:
                cells.append(subject.spreads[metric, image, False].text(metric))
                gain = subject.spreads.get((metric, image, True))
                cells += [gain.text(metric, "+") if gain else ""] * has_gains  # the low-res has no gain over itself
            rows.append([subject.subject, str(subject.n_slices), image_title(image), *cells])
    headings = [title for metric in metrics for title in (metric_title(metric), *["gain"] * has_gains)]
    return markdown_table([SUBJECT, "slices", "image", *headings], rows)
