# SPDX-License-Identifier: Apache-2.0
"""Slices of a case as every row of a study shows them, with scores and errors, as in Figs. 5 to 10 of the paper."""

import glob
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median_high

import numpy as np

from bundle.drawing.case_slices import CaseSlices
from bundle.drawing.montage import MontageColumn, save_montage
from bundle.drawing.slice_choice import error_limit
from bundle.errors import InputError
from bundle.keys import HIGH_RES, LOW_RES, REFERENCE, SUPER_RES
from bundle.studies.scores import Folder, case_scores, low_res_title, same_inputs

_MOST_COLUMNS = 7  # of a page, beside the high-res and the reference


def read_panels(folder: Folder, case: str) -> CaseSlices:
    """Read ``panels/<case>.npz`` and ``slices.csv`` of an evaluation; ``InputError`` if one of them lacks something."""
    stored = CaseSlices.load(Path(folder) / "panels" / f"{case}.npz", needed=(LOW_RES, SUPER_RES, HIGH_RES))
    of_case = case_scores(folder, case)
    return replace(stored, scores=[of_case.get(index, {}) for index in stored.slices])


def save_panels(path: str | os.PathLike[str], folders: Mapping[str, Folder], case: str, title: str) -> list[Path]:
    """Draw low-res, the output of every row, high-res and reference side by side, errors below on one scale.

    It is the middle slice that the evaluations, folders by the rows' labels, have stored. Many rows take several pages,
    such as ``<name>_page_2.png``. Raises ``InputError`` if rows cannot be read or show different images.
    """
    stored = {label: read_panels(folder, case) for label, folder in folders.items()}
    _require_same(stored)
    groups = same_inputs({label: row.images[LOW_RES] for label, row in stored.items()})
    outputs = {label: MontageColumn(row.middle(), SUPER_RES, HIGH_RES, label) for label, row in stored.items()}
    error_end = _error_end(outputs.values())
    first = next(iter(outputs.values())).case
    last = [MontageColumn(first, name) for name in (HIGH_RES, REFERENCE) if name in first.images]
    pages = _pages(groups)
    file = Path(path)
    for old in file.parent.glob(f"{glob.escape(file.stem)}_page_*{file.suffix}"):
        old.unlink()
    files = [file, *(file.with_stem(f"{file.stem}_page_{number}") for number in range(2, len(pages) + 1))]
    for target, parts in zip(files, pages, strict=True):
        columns = []
        for group, labels in parts:
            low_res = MontageColumn(outputs[labels[0]].case, LOW_RES, HIGH_RES, low_res_title(group, len(groups)))
            columns += [low_res, *(outputs[label] for label in labels)]
        save_montage(target, [*columns, *last], title, error_end, errors_below=True)
    return files


def _pages(groups: Sequence[Sequence[str]]) -> list[list[tuple[Sequence[str], list[str]]]]:
    """Share groups of rows, or parts of them, out over pages; the low-res of each takes a column of its own."""
    pages: list[list[tuple[Sequence[str], list[str]]]] = []
    n_columns = _MOST_COLUMNS
    for group in groups:
        for labels in np.array_split(np.array(group, dtype=object), -(-len(group) // (_MOST_COLUMNS - 1))):
            n_columns += 1 + len(labels)
            if n_columns > _MOST_COLUMNS:
                pages.append([])
                n_columns = 1 + len(labels)
            pages[-1].append((group, labels.tolist()))
    return pages


def save_level_panels(path: str | os.PathLike[str], folder: Folder, case: str, title: str) -> Path:
    """Draw each level of a progressive network beside its target in the middle slice, as in Fig. 8; errors below."""
    row = read_panels(folder, case).middle()
    levels = sorted(name for name in row.images if f"{name}_target" in row.images)
    if not levels:
        raise InputError(f"{folder}: there are no levels of {case} here; choose a row with a progressive network.")
    targets = {name: f"{name}_target" for name in levels} | {SUPER_RES: HIGH_RES}
    pairs = [(MontageColumn(row, name, target), MontageColumn(row, target)) for name, target in targets.items()]
    columns = [MontageColumn(row, LOW_RES, HIGH_RES), *(column for pair in pairs for column in pair)]
    error_end = _error_end(output for output, _ in pairs)
    return save_montage(path, columns, title, error_end, errors_below=True)


def _error_end(outputs: Iterable[MontageColumn]) -> float:
    """Return where the scale of the middle output's errors ends: one bad output shall not leave all others black."""
    return median_high(error_limit(output.errors) for output in outputs)


def _require_same(rows: Mapping[str, CaseSlices]) -> None:
    (label, first), *others = rows.items()
    for other, row in others:
        truths = {label: first.images[HIGH_RES], other: row.images[HIGH_RES]}
        if row.slices != first.slices or truths[label].shape != truths[other].shape or len(same_inputs(truths)) > 1:
            fault = "show different slices or another high-res image; evaluate both rows on the same data."
            raise InputError(f"the rows {label} and {other} {fault}")
