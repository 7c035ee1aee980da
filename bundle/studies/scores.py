# SPDX-License-Identifier: Apache-2.0
"""The scores of a study's rows, read from the evaluations and held to the same slices."""

import csv
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from bundle.errors import InputError
from bundle.keys import LOW_RES, SUPER_RES, SUPER_RES_CONSISTENT
from bundle.reports.columns import image_title, whole_and_head
from bundle.studies.statistics import Sample

IMAGES: Final = (LOW_RES, SUPER_RES, SUPER_RES_CONSISTENT)
"""What a study compares; other images in the file are not looked at."""

SliceKey = tuple[str, str, int]
"""Subject, case and index of a slice."""
SliceScores = dict[str, dict[str, float]]
"""Scores of one slice by image, then by metric."""

Folder = str | os.PathLike[str]
"""Where an evaluation has written its report."""

_KEYS = ["subject", "case", "slice", "image"]
_SAME = 1e-3  # scores and intensities that differ by less are of the same image, computed on another machine


@dataclass(frozen=True)
class EvaluatedRow:
    """What the evaluation of a row holds: its folder, and scores as they are; blank cells left out."""

    folder: Path
    metrics: list[str]
    scores: dict[SliceKey, SliceScores]


def read_row(folder: Folder) -> EvaluatedRow:
    """Read ``slices.csv`` of an evaluation.

    Raises:
        InputError: if there is no such file, or it is not what an evaluation writes.
    """
    path = Path(folder) / "slices.csv"
    scores: dict[SliceKey, SliceScores] = {}
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream, strict=True)
            metrics = _metrics(path, list(reader.fieldnames or []))
            for line in reader:
                _add(f"{path}, line {reader.line_num}", scores, line, metrics)
    except OSError as error:
        raise InputError(f"{path}: cannot read the scores ({error.strerror}); evaluate this row first.") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"{path}: this is no table of scores ({error}); evaluate this row again.") from error
    if not any(SUPER_RES in images for images in scores.values()):
        raise InputError(f"{path}: there is no score of {SUPER_RES}; evaluate this row again.")
    return EvaluatedRow(Path(folder), metrics, scores)


class StudyScores:
    """The scores of several rows on the same slices.

    A slice whose score is not finite, or missing, in one image of one row is left out of that metric for all
    of them. An image of a row without any finite score has none, and leaves no slice out.

    Args:
        folders: the evaluation's folder of each row by the row's label.

    Raises:
        InputError: if a folder's scores cannot be read, or the rows differ in slices or metrics.
    """

    def __init__(self, folders: Mapping[str, Folder]) -> None:
        rows = {label: read_row(folder) for label, folder in folders.items()}
        if not rows:
            raise ValueError("a study without rows has no scores; pass at least one row.")
        first, *others = rows.values()
        for other in others:
            _require_same(first, other)
        self.labels = list(rows)
        # Scores inside the head count where all rows have them: those of older evaluations do not.
        self.metrics = [metric for metric in first.metrics if all(metric in row.metrics for row in rows.values())]
        keys = sorted(first.scores)
        self.n_slices = len(keys)
        self._subjects = np.array([subject for subject, _, _ in keys])
        self._values = {
            (label, image, metric): np.array([row.scores[key].get(image, {}).get(metric, math.nan) for key in keys])
            for label, row in rows.items()
            for image in IMAGES
            for metric in self.metrics
        }

    @property
    def subjects(self) -> list[str]:
        """The subjects that the slices are of."""
        return [str(name) for name in np.unique(self._subjects)]

    @property
    def n_subjects(self) -> int:
        """How many subjects the slices are of."""
        return len(self.subjects)

    def has(self, label: str, image: str, metric: str | None = None) -> bool:
        """Tell whether an image of a row has a finite score, in one metric or in any."""
        metrics = self.metrics if metric is None else [metric]
        return any(np.isfinite(self._values[label, image, metric]).any() for metric in metrics)

    def sample(self, label: str, image: str, metric: str) -> Sample:
        """Return the scores of an image of a row on the compared slices; none where it has no finite score."""
        compared = self._compared(metric) & self.has(label, image, metric)
        return Sample(self._values[label, image, metric][compared], self._subjects[compared])

    def n_left_out(self, metric: str) -> int:
        """Return how many slices are left out of a metric."""
        return int((~self._compared(metric)).sum())

    def low_res_groups(self) -> list[list[str]]:
        """Return the rows' labels, those together that were given the same low-res images."""
        return same_inputs(
            {
                label: np.stack([self._values[label, LOW_RES, metric] for metric in self.metrics])
                for label in self.labels
            }
        )

    def _compared(self, metric: str) -> npt.NDArray[np.bool_]:
        finite = [np.isfinite(values) for (_, _, name), values in self._values.items() if name == metric]
        return np.all([mask for mask in finite if mask.any()] or [np.zeros(self.n_slices, dtype=bool)], axis=0)


def same_inputs(arrays: Mapping[str, npt.NDArray[np.floating]]) -> list[list[str]]:
    """Return labels in groups whose arrays, scores or images, are the same but for rounding."""
    groups: list[list[str]] = []
    for label, array in arrays.items():
        for group in groups:
            if np.allclose(arrays[group[0]], array, rtol=0, atol=_SAME, equal_nan=True):
                group.append(label)
                break
        else:
            groups.append([label])
    return groups


def line_label(row: str, image: str) -> str:
    """Return the label of a row's output, with or without data consistency."""
    return f"{row} + DC" if image == SUPER_RES_CONSISTENT else row


def low_res_title(rows: Sequence[str], n_groups: int) -> str:
    """Return the title of the low-res image that some rows were given.

    It is ``LR`` where all rows were given the same; else the words that their labels end with alike tell it
    apart, as in ``LR 2x``, or the first label.
    """
    title = image_title(LOW_RES)
    if n_groups == 1:
        return title
    endings = list(zip(*(label.split()[::-1] for label in rows), strict=False))
    alike = [words[0] for words in takewhile(lambda words: len(set(words)) == 1, endings)]
    return f"{title} {' '.join(alike[::-1])}" if alike else f"{title} of {rows[0]}"


def _metrics(path: Path, header: list[str]) -> list[str]:
    if header[: len(_KEYS)] != _KEYS or len(header) == len(_KEYS):
        raise InputError(f"{path}: the first line is not {','.join(_KEYS)} and the metrics; evaluate this row again.")
    return header[len(_KEYS) :]


def _add(
    place: str, scores: dict[SliceKey, SliceScores], line: Mapping[str, str | None], metrics: Sequence[str]
) -> None:
    """Add one line of a file."""
    try:
        cells = [line[name] or "" for name in metrics]
        key = (str(line["subject"]), str(line["case"]), int(str(line["slice"])))
        values = {metric: float(cell) for metric, cell in zip(metrics, cells, strict=True) if cell}
    except ValueError as error:
        raise InputError(f"{place}: {error}; evaluate this row again.") from error
    of_slice, image = scores.setdefault(key, {}), str(line["image"])
    if image in of_slice:
        raise InputError(f"{place}: a second score of {image} for this slice; evaluate this row again.")
    of_slice[image] = values


def _require_same(first: EvaluatedRow, other: EvaluatedRow) -> None:
    """Refuse rows that cannot be compared."""
    both = f"{first.folder} and {other.folder}"
    if whole_and_head(first.metrics)[0] != whole_and_head(other.metrics)[0]:
        raise InputError(f"{both}: these rows were scored by different metrics; evaluate both again.")
    if different := first.scores.keys() ^ other.scores.keys():
        subject, case, index = min(different)
        raise InputError(
            f"{both}: these rows were evaluated on different slices ({len(different)} are in one only, such as "
            f"subject {subject}, case {case}, slice {index}); evaluate both on the same subjects."
        )
