# SPDX-License-Identifier: Apache-2.0
"""The page of a montage: where tiles, titles, captions and the colour bar stand, and how they are drawn."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from bundle.drawing.slice_choice import Box, Image

# Sizes in inches, positions from the top left corner. The page is as wide as a printed one.
_WIDTH = 10.0
_TITLE, _HEADINGS, _MARGIN, _LABELS = 0.36, 0.24, 0.08, 0.26
_GAP, _GROUP_GAP, _LINE, _CAPTION_GAP = 0.03, 0.14, 0.13, 0.12
_HEADING_LINE, _LETTER = 0.15, 0.071  # a letter's mean width
_BAR_GAP, _BAR, _BAR_LABELS = 0.1, 0.12, 0.56
_PAGE, _INK, _QUIET = "black", "white", "#b8b8b8"
ERROR_COLOURS = "inferno"
MARK = "#ffd23f"
MISSING = "#1f6feb"  # for NaN: neither a grey nor an error colour

Place = tuple[float, float, float, float]
"""Left, top, width and height in inches."""


@dataclass(frozen=True)
class TileColumn:
    """What all tiles of a column share: the heading, the colours, and whether they show an error."""

    heading: str
    scale: Normalize
    is_error: bool = False


@dataclass(frozen=True)
class TileRow:
    """One row of tiles: an image and a caption a column.

    Attributes:
        images: all of one shape; none where the page stays empty.
        captions: text below each.
        label: text at the left.
        mark: a box to mark in the images.
        error_scale: where the images are errors in every column, their scale.
    """

    images: Sequence[Image | None]
    captions: Sequence[str]
    label: str = ""
    mark: Box | None = None
    error_scale: Normalize | None = None

    @property
    def height_to_width(self) -> float:
        """Rows of an image divided by its columns."""
        height, width = next(image.shape for image in self.images if image is not None)
        return height / width


@dataclass(frozen=True)
class Page:
    """A montage: columns from left to right, rows from top to bottom.

    Attributes:
        columns: images first, then errors, unless these have rows of their own. All errors share one scale.
        rows: what stands in them.
        aspect: height of a pixel divided by its width.
        title: the line above all.
        edges: text at the left and at the top edge of the first tile.
        bar_label: text along the colour bar of the errors.
    """

    columns: Sequence[TileColumn]
    rows: Sequence[TileRow]
    aspect: float
    title: str
    edges: tuple[str, str] | None
    bar_label: str

    @property
    def error_scale(self) -> Normalize:
        """The scale of the errors, which the colour bar states."""
        of_columns = [column.scale for column in self.columns if column.is_error]
        return next(iter(of_columns + [row.error_scale for row in self.rows if row.error_scale is not None]))


def draw_page(page: Page) -> Figure:
    """Return the montage as a figure of its own: pyplot's global state is neither read nor changed."""
    lefts, width = _column_places(page.columns)
    heights = [width * page.aspect * row.height_to_width for row in page.rows]
    feet = [_foot(row) for row in page.rows]
    headings = [textwrap.fill(column.heading, max(int(width / _LETTER), 1)) for column in page.columns]
    n_lines = max(heading.count("\n") + 1 for heading in headings)
    start = (_TITLE if page.title else _MARGIN) + _HEADINGS + (n_lines - 1) * _HEADING_LINE
    end = start + sum(heights) + sum(feet)
    figure = Figure(figsize=(_WIDTH, end + _MARGIN), facecolor=_PAGE)
    _write(figure, lefts[0], 0.2, page.title, size=10, ha="left", weight="bold")
    for left, heading in zip(lefts, headings, strict=True):
        _write(figure, left + width / 2, start - 0.04, heading, size=9, va="bottom")
    top = start
    for row, height, foot in zip(page.rows, heights, feet, strict=True):
        _draw_row(figure, page, row, [(left, top, width, height) for left in lefts])
        top += height + foot
    _draw_edges(figure, page.edges, (lefts[0], start, width, heights[0]))
    _draw_bar(figure, page, (lefts[-1] + width + _BAR_GAP, start, _BAR, end - feet[-1] - start))
    return figure


def _foot(row: TileRow) -> float:
    """Return the height of the captions of a row, and the gap to the next."""
    n_lines = max(caption.count("\n") + 1 if caption else 0 for caption in row.captions)
    return n_lines * _LINE + _CAPTION_GAP if n_lines else _GROUP_GAP if row.error_scale else _GAP


def _column_places(columns: Sequence[TileColumn]) -> tuple[list[float], float]:
    """Return the left edge of each column and the width of all."""
    gaps = [_GROUP_GAP if after.is_error and not before.is_error else _GAP for before, after in pairwise(columns)]
    width = (_WIDTH - _LABELS - sum(gaps) - _BAR_GAP - _BAR - _BAR_LABELS) / len(columns)
    offsets = np.cumsum([_LABELS, *(width + gap for gap in gaps)])
    return [float(offset) for offset in offsets], width


def _draw_row(figure: Figure, page: Page, row: TileRow, places: Sequence[Place]) -> None:
    left, top, _, height = places[0]
    _write(figure, left - 0.12, top + height / 2, row.label, size=8, rotation=90, color=_QUIET)
    for column, image, caption, place in zip(page.columns, row.images, row.captions, places, strict=True):
        if image is None:
            continue
        is_error = column.is_error or row.error_scale is not None
        axes, scale = _axes(figure, place), row.error_scale or column.scale
        axes.imshow(image, cmap=_colours(is_error), norm=scale, aspect=page.aspect, interpolation_stage="data")
        axes.set_axis_off()
        if row.mark is not None and not is_error:
            corner = (row.mark.left - 0.5, row.mark.top - 0.5)
            axes.add_patch(Rectangle(corner, row.mark.width, row.mark.height, fill=False, color=MARK, linewidth=0.7))
        _write(figure, place[0] + place[2] / 2, top + height + 0.05, caption, size=7, va="top")


def _draw_edges(figure: Figure, edges: tuple[str, str] | None, place: Place) -> None:
    """Write the patient's sides into the tile at ``place``."""
    if edges is None:
        return
    left, top, width, height = place
    _write(figure, left + 0.07, top + height / 2, edges[0], size=7, color=MARK)
    _write(figure, left + width / 2, top + 0.08, edges[1], size=7, color=MARK)


def _draw_bar(figure: Figure, page: Page, place: Place) -> None:
    """Draw the colour bar of the errors; its point says that larger errors have its last colour."""
    axes = _axes(figure, place)
    bar = figure.colorbar(
        ScalarMappable(page.error_scale, _colours(is_error=True)), cax=axes, extend="max", extendfrac=0.03, format="%g"
    )
    bar.locator = MaxNLocator(5, steps=[1, 2, 2.5, 5, 10])
    bar.outline.set_edgecolor(_QUIET)
    bar.outline.set_linewidth(0.5)
    axes.tick_params(colors=_INK, labelsize=7, width=0.5, length=2)
    bar.set_label(page.bar_label, color=_INK, size=8)


def _colours(is_error: bool) -> Colormap:
    return matplotlib.colormaps[ERROR_COLOURS if is_error else "gray"].with_extremes(bad=MISSING)


def _axes(figure: Figure, place: Place) -> Axes:
    left, top, width, height = place
    total = figure.get_figheight()
    return figure.add_axes((left / _WIDTH, 1 - (top + height) / total, width / _WIDTH, height / total))


def _write(figure: Figure, x: float, y: float, text: str, **style: Any) -> None:
    """Write text around a point; centred in ink unless the style says otherwise."""
    centred: dict[str, Any] = {"ha": "center", "va": "center", "color": _INK}
    figure.text(x / _WIDTH, 1 - y / figure.get_figheight(), text, **(centred | style))
