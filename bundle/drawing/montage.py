# SPDX-License-Identifier: Apache-2.0
"""Montages: the images of a case side by side, with their scores and errors."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bundle.drawing.case_slices import CaseSlices
from bundle.drawing.montage_page import TileRow, draw_page
from bundle.drawing.png import save_paletted
from bundle.drawing.slice_choice import Box, Image, detail_box, error_limit, grey_limit, grey_window
from bundle.drawing.tile import ERRORS, GREY, Scale, Tile
from bundle.keys import HIGH_RES, LOW_RES, REFERENCE
from bundle.metrics.score_text import format_score, image_title, metric_title, whole_and_head

_ZOOM = 3
_MINUS, _TIMES = "\N{MINUS SIGN}", "\N{MULTIPLICATION SIGN}"


@dataclass(frozen=True)
class MontageColumn:
    """One column of a montage: an image of a case by its name, in each of its slices, which all columns share."""

    case: CaseSlices
    image: str
    target: str | None = None  # the image that it should be, where errors are shown
    label: str = ""  # the heading, where it is not the image's short title

    @property
    def heading(self) -> str:
        """The title above the column: ``LR``, or ``level 1 target`` for ``level_1_target``."""
        return self.label or image_title(self.image).replace("_", " ")

    @property
    def errors(self) -> Image:
        """Absolute error of a compared image, (n, rows, columns)."""
        return np.asarray(np.abs(self.case.images[self.image] - self.case.images[self.target or self.image]))

    def image_tile(self, position: int, box: Box, grey_end: float, scores_a_line: int) -> Tile:
        """Return the image in a slice, with scores of the whole slice: ``PSNR 27.15   SSIM 0.793``."""
        images = box.crop(self.case.images[self.image])
        # the reference is of another contrast
        scale = Scale(GREY, 0, grey_limit(images) if self.image == REFERENCE else grey_end)
        scores = self.case.scores[position].get(self.image, {}) if self.case.scores else {}
        texts = [f"{metric_title(name)} {format_score(name, scores[name])}" for name in whole_and_head(scores)[0]]
        caption = "\n".join("   ".join(texts[k : k + scores_a_line]) for k in range(0, len(texts), scores_a_line))
        return Tile(images[position], scale, self.heading, "", caption, self.case.aspect, self.case.sides)

    def error_tile(self, position: int, box: Box, scale: Scale) -> Tile | None:
        """Return the error of a compared image in a slice."""
        heading = f"|{self.heading} {_MINUS} {image_title(HIGH_RES)}|"
        return Tile(box.crop(self.errors[position]), scale, heading, aspect=self.case.aspect) if self.target else None


def save_montage(
    path: str | os.PathLike[str],
    columns: Sequence[MontageColumn],
    title: str,
    error_end: float | None = None,
    errors_below: bool = False,
) -> Path:
    """Draw images side by side, with scores and absolute errors, and save the page as a PNG file.

    All images but the reference share one grey window, from 0 to the 99.8th percentile of the ground truth, which is
    ``high_res`` of the first column's case, and are cropped to its tissue. All errors share one scale, that of the
    colour bar, to ``error_end`` or the 99th percentile of the low-res's errors, or where it is not compared of all,
    rounded up; they stand beside the images or in rows of their own below them. The last row shows the part of the
    middle slice that holds the most detail.
    ``ValueError`` if nothing is compared, or the file is not named as a PNG file; ``InputError`` if it is not writable.
    """
    compared = [column for column in columns if column.target]
    if not compared:
        raise ValueError(f"a montage of {[c.heading for c in columns]} has nothing to compare; give a column a target.")
    truth = columns[0].case.images[HIGH_RES]
    grey_end, box = grey_window(truth)
    measured = [column for column in compared if column.image == LOW_RES]  # the same, whoever has sharpened it
    scale = Scale(ERRORS, 0, error_end or error_limit([box.crop(column.errors) for column in measured or compared]))
    scores_a_line = 2 if len(columns) + (0 if errors_below else len(compared)) <= 6 else 1
    images = [[c.image_tile(k, box, grey_end, scores_a_line) for c in columns] for k in range(len(truth))]
    errors = [[c.error_tile(k, box, scale) for c in columns] for k in range(len(truth))]
    labels = [f"slice {index}" for index in columns[0].case.slices]
    middle = len(truth) // 2
    detail = detail_box(box.crop(truth[middle]), _ZOOM)
    labels.append(f"{labels[middle]} {_TIMES} {_ZOOM}")
    images.append([_part(tile, detail) for tile in images[middle]])
    errors.append([tile and _part(tile, detail) for tile in errors[middle]])
    images[middle] = [replace(tile, mark=detail) for tile in images[middle]]
    rows: list[TileRow] = []
    for label, shown, below in zip(labels, images, errors, strict=True):
        beside = [TileRow(label, [*shown, *filter(None, below)])]
        rows += [TileRow(label, shown), TileRow("error", below)] if errors_below else beside
    return save_paletted(draw_page(rows, title), path)


def _part(tile: Tile, box: Box) -> Tile:
    return replace(tile, image=box.crop(tile.image), caption="")
