# SPDX-License-Identifier: Apache-2.0
"""The score sheet of an evaluation: scores of slices in; means of subjects, a table and CSV files out."""

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch

from bundle.files import writable_folder, write_csv
from bundle.keys import LOW_RES, SUBJECT
from bundle.reports.columns import Column, Spread, image_title, metric_title, whole_and_head
from bundle.reports.text_table import markdown_table

SliceKey = tuple[str, int]
"""Case and index of a slice."""
SliceScores = dict[str, dict[str, float]]
"""Scores of one slice by image, then by metric."""


class ScoreSheet:
    """Collect the scores of slices and report them by subject.

    A subject's figure is the mean over all its slices, its sessions pooled; the total is the mean over
    subjects, so that each counts once however many slices it has. Standard deviations are sample ones (n - 1).
    Gains are paired, slice by slice.

    A slice whose score is not finite in any of the images is left out of that metric for all of them: both
    sides of a comparison always rest on the same slices. How many were left out is stated with the table and
    in ``subjects.csv``, and ``slices.csv`` holds them as they are.

    Args:
        baseline: the image that the gains of all others refer to; without scores for it there are no gains.
    """

    def __init__(self, baseline: str = LOW_RES) -> None:
        """Start empty."""
        self.baseline = baseline
        self.images: list[str] = []
        self.metrics: list[str] = []
        self._subjects: dict[str, dict[SliceKey, SliceScores]] = {}

    @classmethod
    def joined(cls, sheets: Sequence["ScoreSheet"]) -> "ScoreSheet":
        """Return one sheet of several that different processes have filled; a case in two of them counts once."""
        whole = cls(sheets[0].baseline)
        for sheet in sheets:
            whole.images += [image for image in sheet.images if image not in whole.images]
            whole.metrics += [metric for metric in sheet.metrics if metric not in whole.metrics]
            for subject, slices in sheet._subjects.items():
                whole._subjects.setdefault(subject, {}).update(slices)
        return whole

    @property
    def subjects(self) -> list[str]:
        """All subjects, in the order of their names."""
        return sorted(self._subjects)

    def add(
        self, subject: str, case: str, image: str, scores: Mapping[str, torch.Tensor], slices: Sequence[int]
    ) -> None:
        """Add the scores of one image of a case.

        Args:
            subject: the person, who may have several cases.
            case: one session of the subject.
            image: what was compared with the ground truth: ``"low_res"``, ``"super_res"`` or any other name.
            scores: per metric one value a slice, Tensors (N,). Metrics and images are reported in the order
                in which they first appear.
            slices: the N slices' indices along the through-plane axis of the volume, from 0.

        Raises:
            ValueError: if a metric's values are not one a slice, or a slice's score is already there.
        """
        columns = {metric: _values(metric, values, len(slices)) for metric, values in scores.items()}
        keys = [(case, int(index)) for index in slices]
        _require_new(self._subjects.get(subject, {}), keys, image, columns)
        of_subject = self._subjects.setdefault(subject, {})
        self.images += [image] if image not in self.images else []
        self.metrics += [metric for metric in columns if metric not in self.metrics]
        for row, key in enumerate(keys):
            of_image = of_subject.setdefault(key, {}).setdefault(image, {})
            of_image.update((metric, values[row]) for metric, values in columns.items())

    def columns(self) -> list[Column]:
        """Return the report's figures: metric by metric each image, and behind it its gain over the baseline."""
        columns = []
        for metric in self.metrics:
            for image in sorted(self.images, key=lambda name: name != self.baseline):
                columns.append(Column(metric, image))
                if self.baseline in self.images and image != self.baseline:
                    columns.append(Column(metric, image, self.baseline))
        return columns

    def of_subject(self, subject: str, column: Column) -> Spread:
        """Return a figure's mean and standard deviation over the slices of a subject."""
        values = []
        for slice_scores in self._subjects[subject].values():
            if _comparable(slice_scores, column.metric):
                score = slice_scores.get(column.image, {}).get(column.metric)
                base = slice_scores.get(column.baseline, {}).get(column.metric) if column.baseline else 0.0
                if score is not None and base is not None:
                    values.append(score - base)
        return Spread.of(values)

    def total(self, column: Column) -> Spread:
        """Return a figure's mean and standard deviation over the means of the subjects."""
        spreads = [self.of_subject(subject, column) for subject in self.subjects]
        return Spread.of(spread.mean for spread in spreads if spread.n)

    def n_left_out(self, metric: str, subject: str | None = None) -> int:
        """Return how many slices (of one subject, or of all) are left out of a metric as not finite."""
        subjects = self.subjects if subject is None else [subject]
        return sum(not _comparable(scores, metric) for name in subjects for scores in self._subjects[name].values())

    def n_slices(self, subject: str | None = None) -> int:
        """Return how many slices (of one subject, or of all) have scores, left-out ones included."""
        return sum(len(self._subjects[name]) for name in (self.subjects if subject is None else [subject]))

    def table(self, protocol: str = "") -> str:
        """Return the report in Markdown: a table of whole slices, one inside the head, and footnotes.

        Args:
            protocol: what a reader must know to compare the figures, for the footnote.

        Raises:
            ValueError: if no scores have been added.
        """
        self._require_scores()
        tables = [self._table_of(metrics) for metrics in whole_and_head(self.metrics) if metrics]
        return "\n\n".join([*tables, *self._footnotes(protocol)])

    def write(self, folder: str | os.PathLike[str]) -> tuple[Path, Path]:
        """Write ``slices.csv`` (all scores) and ``subjects.csv`` (the table with full precision).

        Args:
            folder: where to; made where missing, files of these names replaced.

        Returns:
            The paths of both files.

        Raises:
            InputError: if the folder cannot be written.
            ValueError: if no scores have been added.
        """
        self._require_scores()
        target = writable_folder(folder)
        slices, subjects = target / "slices.csv", target / "subjects.csv"
        write_csv(slices, self._slice_rows())
        write_csv(subjects, self._subject_rows())
        return slices, subjects

    def _table_of(self, metrics: Sequence[str]) -> str:
        """Return the table of some metrics."""
        label = f"mean of {len(self.subjects)} subject{'s' if len(self.subjects) > 1 else ''}"
        subjects = [(subject, subject or label) for subject in (*self.subjects, None)]
        rows = [row for subject in subjects for row in self._table_rows(*subject, metrics)]
        has_gains = any(column.baseline for column in self.columns())
        headings = [title for metric in metrics for title in (metric_title(metric), *(["gain"] * has_gains))]
        return markdown_table([SUBJECT, "slices", "image", *headings], rows)

    def _table_rows(self, subject: str | None, label: str, metrics: Sequence[str]) -> list[list[str]]:
        """Return a row for each image of one subject, or of the mean over all."""
        rows = []
        for image in sorted(self.images, key=lambda name: name != self.baseline):
            cells = [
                column.cell(self.total(column) if subject is None else self.of_subject(subject, column))
                for column in self.columns()
                if column.image == image and column.metric in metrics
            ]
            if image == self.baseline and len(self.images) > 1:
                cells = [text for cell in cells for text in (cell, "")]  # no gain over itself
            rows.append([label, str(self.n_slices(subject)), image_title(image), *cells])
        return rows

    def _require_scores(self) -> None:
        if not self.n_slices():
            raise ValueError("the score sheet is empty; add the scores of at least one slice before the report.")

    def _footnotes(self, protocol: str) -> list[str]:
        over = "Mean ± SD over the slices of each subject; last row over the subjects' means."
        notes = [f"{over} {protocol}".strip()]
        for metric in self.metrics:
            if left_out := self.n_left_out(metric):
                notes.append(
                    f"{metric_title(metric)}: {left_out} of {self.n_slices()} slices left out, "
                    "their score is not finite in at least one image."
                )
        return notes

    def _slice_rows(self) -> list[list[str]]:
        rows = [["subject", "case", "slice", "image", *self.metrics]]
        for subject in self.subjects:
            for (case, index), scores in sorted(self._subjects[subject].items()):
                for image in (name for name in self.images if name in scores):
                    values = (_number(scores[image].get(metric)) for metric in self.metrics)
                    rows.append([subject, case, str(index), image, *values])
        return rows

    def _subject_rows(self) -> list[list[str]]:
        columns = self.columns()
        header = ["subject", "n_slices", *(f"{metric}_n_left_out" for metric in self.metrics)]
        rows = [header + [f"{column.name}_{part}" for column in columns for part in ("mean", "sd")]]
        for name in [*self.subjects, None]:
            spreads = [self.total(column) if name is None else self.of_subject(name, column) for column in columns]
            counts = [self.n_slices(name), *(self.n_left_out(metric, name) for metric in self.metrics)]
            figures = [_figure(value) for spread in spreads for value in (spread.mean, spread.sd)]
            rows.append(["all" if name is None else name, *map(str, counts), *figures])
        return rows


def _require_new(
    of_subject: Mapping[SliceKey, SliceScores], keys: Sequence[SliceKey], image: str, metrics: Iterable[str]
) -> None:
    """Refuse a score that is there already: a case evaluated twice would count twice."""
    if len(set(keys)) != len(keys):
        raise ValueError(f"{keys[0][0]}: a slice index occurs twice; pass each slice once.")
    for case, index in keys:
        for metric in metrics:
            if metric in of_subject.get((case, index), {}).get(image, {}):
                raise ValueError(f"{case}, slice {index}: {image} already has a {metric} score; add it once only.")


def _values(metric: str, values: torch.Tensor, n_slices: int) -> list[float]:
    flat = torch.as_tensor(values).detach().cpu()
    if flat.shape != (n_slices,):
        raise ValueError(f"{metric} has shape {tuple(flat.shape)} for {n_slices} slices; pass one value a slice.")
    return [float(value) for value in flat.tolist()]


def _comparable(slice_scores: SliceScores, metric: str) -> bool:
    """Tell whether a slice's score is finite in every image that has one."""
    return all(math.isfinite(scores[metric]) for scores in slice_scores.values() if metric in scores)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6f}"


def _figure(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6f}"
