# SPDX-License-Identifier: Apache-2.0
"""The scores of a study's rows, read from the evaluations and held to the same slices."""

import os
from collections.abc import Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from bundle.errors import InputError
from bundle.keys import CASE, LOW_RES, SUBJECT, SUPER_RES, SUPER_RES_CONSISTENT
from bundle.metrics.score_text import image_title, whole_and_head
from bundle.reports.score_sheet import KEYS

IMAGES: Final = (LOW_RES, SUPER_RES, SUPER_RES_CONSISTENT)  # others in the file are not looked at
Folder = str | os.PathLike[str]  # where an evaluation has written its report
_SAME = 1e-3  # scores and intensities that differ by less are of the same image, computed on another machine


def read_scores(folder: Folder) -> pd.DataFrame:
    """Read the ``slices.csv`` of an evaluation: metrics by subject, case, slice and image, NaN where blank."""
    path = Path(folder) / "slices.csv"
    try:
        lines = pd.read_csv(path, dtype=object, keep_default_na=False, index_col=False)  # a subject may be called NA
        scores = lines.astype({"slice": int}).set_index(list(KEYS)).map(lambda cell: float(cell or "nan"))
        if scores.index.has_duplicates:
            twice = scores.index[scores.index.duplicated()][0]
            raise ValueError(f"two lines are of {', '.join(map(str, twice))}")
    except OSError as error:
        raise InputError(f"{path}: cannot read the scores ({error.strerror}); evaluate this row first.") from error
    except (ValueError, KeyError) as error:
        raise InputError(f"{path}: this is no table of scores ({error}); evaluate this row again.") from error
    if scores.columns.empty or SUPER_RES not in scores.index.unique("image"):
        raise InputError(f"{path}: there is no score of {SUPER_RES}; evaluate this row again.")
    return scores


def case_scores(folder: Folder, case: str) -> dict[int, dict[str, dict[str, float]]]:
    """Read the scores of a case's slices: by index, image and metric."""
    scores = read_scores(folder)
    slices = scores[scores.index.get_level_values(CASE) == case].groupby(level="slice")
    return {index: images.droplevel([SUBJECT, CASE, "slice"]).to_dict("index") for index, images in slices}


class StudyScores:
    """The scores of several rows on the same slices, read by label from the folders of evaluations, or ``InputError``.

    A slice whose score is not finite, or missing, in one image of one row is left out of that metric for all of them;
    an image without any finite score leaves no slice out.
    """

    def __init__(self, folders: Mapping[str, Folder]) -> None:
        rows = {label: read_scores(folder) for label, folder in folders.items()}
        self.labels = list(rows)
        first, *others = self.labels
        for other in others:
            _require_same(f"{folders[first]} and {folders[other]}", rows[first], rows[other])
        # Scores inside the head count where all rows have them: those of older evaluations do not.
        self.metrics = [metric for metric in rows[first] if all(metric in row for row in rows.values())]
        columns = pd.MultiIndex.from_product([self.labels, self.metrics, IMAGES])
        by_slice = {label: row.unstack("image") for label, row in rows.items()}
        self._scores = pd.concat(by_slice, axis=1).sort_index().reindex(columns=columns)
        self._finite = np.isfinite(self._scores)
        self.subjects = list(self._scores.index.unique(SUBJECT))
        self.n_slices = len(self._scores)

    def has(self, label: str, image: str) -> bool:
        """Tell whether an image of a row has a finite score, in any metric."""
        return bool(self._finite[label].xs(image, axis=1, level=1).any(axis=None))

    def sample(self, label: str, image: str, metric: str, subject: str | None = None) -> pd.Series:
        """Return the scores of an image of a row on the compared slices; none where it has no finite score."""
        column = label, metric, image
        scores = self._scores[column][self._compared(metric) & self._finite[column].any()]
        return scores if subject is None else scores[scores.index.get_level_values(SUBJECT) == subject]

    def by_subject(self) -> pd.DataFrame:
        """Return the mean over each subject's slices: columns row, subject, image, metric and value."""
        kept = [
            (label, subject, image_title(image), metric, value)
            for label in self.labels
            for image in IMAGES
            for metric in self.metrics
            for subject, value in self.sample(label, image, metric).groupby(level=SUBJECT).mean().items()
        ]
        return pd.DataFrame(kept, columns=["row", SUBJECT, "image", "metric", "value"])

    def n_left_out(self, metric: str) -> int:
        """Return how many slices are left out of a metric."""
        return int((~self._compared(metric)).sum())

    def low_res_groups(self) -> list[list[str]]:
        """Return the rows' labels, those together that were given the same low-res images."""
        low_res = self._scores.xs(LOW_RES, axis=1, level=2)
        return same_inputs({label: low_res[label].to_numpy() for label in self.labels})

    def _compared(self, metric: str) -> pd.Series:
        finite = self._finite.xs(metric, axis=1, level=1)
        return finite.loc[:, finite.any()].all(axis=1) & finite.any(axis=1)


def same_inputs(arrays: Mapping[str, npt.NDArray[np.floating]]) -> list[list[str]]:
    """Return labels in groups whose arrays, scores or images, are the same but for rounding."""
    groups: dict[str, list[str]] = {}
    for label, array in arrays.items():
        same = (first for first in groups if np.allclose(arrays[first], array, rtol=0, atol=_SAME, equal_nan=True))
        groups.setdefault(next(same, label), []).append(label)
    return list(groups.values())


def line_label(row: str, image: str) -> str:
    """Return the label of a row's output, with or without data consistency."""
    return f"{row} + DC" if image == SUPER_RES_CONSISTENT else row


def low_res_title(rows: Sequence[str], n_groups: int) -> str:
    """Return ``LR`` for one group, else with the words that all labels end with, as ``LR 2x``, or the first label."""
    title = image_title(LOW_RES)
    if n_groups == 1:
        return title
    endings = list(zip(*(label.split()[::-1] for label in rows), strict=False))
    alike = [words[0] for words in takewhile(lambda words: len(set(words)) == 1, endings)]
    return f"{title} {' '.join(alike[::-1])}" if alike else f"{title} of {rows[0]}"


def _require_same(both: str, first: pd.DataFrame, other: pd.DataFrame) -> None:
    if whole_and_head(first)[0] != whole_and_head(other)[0]:
        raise InputError(f"{both}: these rows were scored by different metrics; evaluate both again.")
    different = first.index.droplevel("image").symmetric_difference(other.index.droplevel("image"))
    if len(different):
        subject, case, index = different[0]
        raise InputError(
            f"{both}: these rows were evaluated on different slices ({len(different)} are in one only, such as "
            f"subject {subject}, case {case}, slice {index}); evaluate both on the same subjects."
        )
