# SPDX-License-Identifier: Apache-2.0
"""Slices of a case as every row of a study shows them, with scores and errors, as in Figs. 5 to 10 of the paper."""

import glob
import os
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median_high

import numpy as np
import numpy.typing as npt

from bundle.drawing.montage import MontageOptions, Picture, save_pictures
from bundle.drawing.windows import error_limit
from bundle.errors import InputError
from bundle.keys import HIGH_RES, LOW_RES, REFERENCE, SUPER_RES
from bundle.reports.columns import image_title
from bundle.studies.scores import Folder, case_scores, low_res_title, same_inputs

Images = npt.NDArray[np.float32]

_NEEDED = (LOW_RES, SUPER_RES, HIGH_RES)
_MOST_COLUMNS = 7  # of a page, beside the high-res and the reference
_ABOUT = ("slices", "aspect", "edges")


@dataclass(frozen=True)
class Panels:
    """Some slices of an evaluated case.

    Attributes:
        path: where they are stored.
        images: arrays (n, rows, columns) by image name, in display orientation.
        slices: the n slices' indices in the file.
        aspect: height of a pixel divided by its width.
        edges: the patient's sides at the left and at the top.
        scores: for each slice the scores by image name, then by metric.
    """

    path: Path
    images: Mapping[str, Images]
    slices: Sequence[int]
    aspect: float
    edges: tuple[str, str]
    scores: Sequence[Mapping[str, Mapping[str, float]]]

    def of(self, image: str, positions: Sequence[int]) -> list[Images]:
        """Return an image of the slices at some positions."""
        return [self.images[image][position] for position in positions]

    def errors(self, image: str, target: str, positions: Sequence[int]) -> list[Images]:
        """Return the absolute errors of an image."""
        pairs = zip(self.of(image, positions), self.of(target, positions), strict=True)
        return [np.abs(output - wanted) for output, wanted in pairs]

    def picture(self, heading: str, image: str, positions: Sequence[int], target: str | None = None) -> Picture:
        """Return an image as a column of a page, compared with another where one is named."""
        scores = [self.scores[position].get(image, {}) for position in positions]
        wanted = self.of(target, positions) if target else None
        return Picture(heading, self.of(image, positions), scores, wanted, own_window=image == REFERENCE)


def read_panels(folder: Folder, case: str) -> Panels:
    """Read ``panels/<case>.npz`` and ``slices.csv`` of an evaluation.

    Raises:
        InputError: if one of them cannot be read or holds too little.
    """
    path = Path(folder) / "panels" / f"{case}.npz"
    try:
        with np.load(path) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path}: cannot read the slices of this case ({error}); evaluate this row again.") from error
    if missing := [name for name in (*_NEEDED, *_ABOUT) if name not in arrays]:
        raise InputError(f"{path}: there is no {' and no '.join(missing)} in this file; evaluate this row again.")
    slices = [int(index) for index in arrays["slices"]]
    of_case = case_scores(folder, case)
    left, top = (str(side) for side in arrays["edges"])
    return Panels(
        path=path,
        images={name: array for name, array in arrays.items() if name not in _ABOUT},
        slices=slices,
        aspect=float(arrays["aspect"]),
        edges=(left, top),
        scores=[of_case.get(index, {}) for index in slices],
    )


def save_panels(
    path: str | os.PathLike[str], folders: Mapping[str, Folder], case: str, slices: Sequence[int] = (), title: str = ""
) -> list[Path]:
    """Draw low-res, the output of every row, high-res and reference side by side, errors below on one scale.

    Where rows were given different low-res images, each stands before the first row that was given it. Many rows take
    several pages, on which the images are large enough to be judged: ``<name>.png``, ``<name>_page_2.png`` and so on;
    those that an earlier call has left behind are removed. Rows that were given one low-res image stay together as far
    as they fit.

    Args:
        path: the PNG file to write.
        folders: the evaluation's folder of each row by the row's label.
        case: which case to show.
        slices: indices in the file, among those that were stored; by default the middle one of these.
        title: line above each page; by default the case.

    Returns:
        The paths of the files, one a page.

    Raises:
        InputError: if a case cannot be read, a slice is not there or the rows show different images.
        ValueError: if there are no rows.
    """
    if not folders:
        raise ValueError("there are no rows to show; pass at least one.")
    rows = {label: read_panels(folder, case) for label, folder in folders.items()}
    first = _require_same(list(rows.values()))
    positions = _positions(first, slices)
    groups = same_inputs({label: row.images[LOW_RES] for label, row in rows.items()})
    group_of = {label: group for group in groups for label in group}
    options = _options(
        first, positions, title or case, [row.errors(SUPER_RES, HIGH_RES, positions) for row in rows.values()]
    )
    last = [first.picture(image_title(name), name, positions) for name in (HIGH_RES, REFERENCE) if name in first.images]
    pages = _pages(groups)
    file = Path(path)
    for old in file.parent.glob(f"{glob.escape(file.stem)}_page_*{file.suffix}"):
        old.unlink()
    files = [file, *(file.with_stem(f"{file.stem}_page_{number}") for number in range(2, len(pages) + 1))]
    for target, labels in zip(files, pages, strict=True):
        pictures, shown = [], None
        for label in labels:
            if shown is not group_of[label]:
                shown = group_of[label]
                heading = low_res_title(shown, len(groups))
                pictures.append(rows[label].picture(heading, LOW_RES, positions, HIGH_RES))
            pictures.append(rows[label].picture(label, SUPER_RES, positions, HIGH_RES))
        save_pictures(target, [*pictures, *last], first.of(HIGH_RES, positions), options)
    return files


def _pages(groups: Sequence[Sequence[str]]) -> list[list[str]]:
    """Share rows out over pages; each low-res takes a column of its own."""
    pages: list[list[str]] = []
    n_columns = _MOST_COLUMNS
    for group in groups:
        for rows in np.array_split(np.array(group, dtype=object), -(-len(group) // (_MOST_COLUMNS - 1))):
            n_columns += 1 + len(rows)
            if n_columns > _MOST_COLUMNS:
                pages.append([])
                n_columns = 1 + len(rows)
            pages[-1] += rows.tolist()
    return pages


def save_level_panels(
    path: str | os.PathLike[str], folder: Folder, case: str, slices: Sequence[int] = (), title: str = ""
) -> Path:
    """Draw the output of each level of a progressive network beside its target, as in Fig. 8; errors below.

    Args:
        path: the PNG file to write.
        folder: the evaluation's folder.
        case: which case to show.
        slices: indices in the file, among those that were stored; by default the middle one of these.
        title: line above the page; by default the case.

    Returns:
        The path of the file.

    Raises:
        InputError: if the case cannot be read, holds no levels, or a slice is not there.
    """
    row = read_panels(folder, case)
    levels = sorted(name for name in row.images if f"{name}_target" in row.images)
    if not levels:
        raise InputError(f"{row.path}: there are no levels in this file; choose a row with a progressive network.")
    positions = _positions(row, slices)
    targets = {name: f"{name}_target" for name in levels} | {SUPER_RES: HIGH_RES}
    pictures = [row.picture(image_title(LOW_RES), LOW_RES, positions, HIGH_RES)]
    for name, target in targets.items():
        pictures.append(row.picture(_level_title(name), name, positions, target))
        pictures.append(row.picture(_level_title(target), target, positions))
    errors = [row.errors(name, target, positions) for name, target in targets.items()]
    options = _options(row, positions, title or case, errors)
    return save_pictures(path, pictures, row.of(HIGH_RES, positions), options)


def _level_title(image: str) -> str:
    """Return ``level 1 target`` for ``level_1_target``, and the short title of an image that has one."""
    return image_title(image).replace("_", " ")


def _options(
    panels: Panels, positions: Sequence[int], title: str, errors: Sequence[Sequence[Images]]
) -> MontageOptions:
    """Return how the page is drawn.

    The scale of errors ends where that of the middle output would: neither the low-res nor one bad output shall
    leave all others black.
    """
    labels = [f"slice {panels.slices[position]}" for position in positions]
    limit = median_high(error_limit(of_output) for of_output in errors)
    return MontageOptions(title, labels, panels.aspect, panels.edges, limit, errors_below=True)


def _positions(panels: Panels, slices: Sequence[int]) -> list[int]:
    """Return where the chosen slices are stored."""
    if missing := [index for index in slices if index not in panels.slices]:
        stored = ", ".join(map(str, panels.slices))
        raise InputError(f"{panels.path}: slice {missing[0]} is not in this file; choose among {stored}.")
    return [panels.slices.index(index) for index in slices] or [len(panels.slices) // 2]


def _require_same(rows: Sequence[Panels]) -> Panels:
    """Refuse rows whose ground truth differs; return the first."""
    first = rows[0]
    for row in rows[1:]:
        pair = {"a": first.images[HIGH_RES], "b": row.images[HIGH_RES]}
        if row.slices != first.slices or pair["a"].shape != pair["b"].shape or len(same_inputs(pair)) > 1:
            raise InputError(
                f"{first.path} and {row.path} show different slices or another high-res image; evaluate both rows on "
                "the same data."
            )
    return first
