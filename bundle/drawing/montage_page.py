# SPDX-License-Identifier: Apache-2.0
"""The page of a montage: where tiles, headings, captions and the colour bar stand, and how they are drawn."""

import textwrap
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from bundle.drawing.tile import ERRORS, MARK, MISSING, Scale, Tile

# Sizes in inches, positions from the top left corner. The page is as wide as a printed one.
_WIDTH = 10.0
_TITLE, _HEADINGS, _MARGIN, _LABELS = 0.36, 0.24, 0.08, 0.26
_GAP, _GROUP_GAP, _LINE, _CAPTION_GAP = 0.03, 0.14, 0.13, 0.12
_HEADING_LINE, _LETTER = 0.15, 0.071  # a letter's mean width
_BAR_GAP, _BAR, _BAR_LABELS = 0.1, 0.12, 0.56
_PAGE, _INK, _QUIET = "black", "white", "#b8b8b8"
Place = tuple[float, float, float, float]  # left, top, width and height


class TileRow(NamedTuple):
    """One row of tiles of one shape, with a label at the left; ``None`` where the page stays empty."""

    label: str
    tiles: Sequence[Tile | None]

    @property
    def drawn(self) -> list[Tile]:
        """The tiles that there are."""
        return [tile for tile in self.tiles if tile]

    @property
    def foot(self) -> float:
        """Height of the captions, and of the gap to the next row."""
        if n_lines := max(len(tile.caption.splitlines()) for tile in self.drawn):
            return n_lines * _LINE + _CAPTION_GAP
        return _GROUP_GAP if all(map(_is_error, self.drawn)) else _GAP


def draw_page(rows: Sequence[TileRow], title: str) -> Figure:
    """Draw rows from top to bottom as a figure of its own: pyplot's global state is neither read nor changed.

    The first row names the columns and, in its first tile, the patient's sides; all errors share one scale, that of
    the colour bar at the right.
    """
    top_row = rows[0].drawn
    lefts, width = _column_places(top_row)
    heights = [width / row.drawn[0].ratio for row in rows]
    headings = [textwrap.fill(tile.heading, max(int(width / _LETTER), 1)) for tile in top_row]
    n_breaks = max(heading.count("\n") for heading in headings)
    start = (_TITLE if title else _MARGIN) + _HEADINGS + n_breaks * _HEADING_LINE
    end = start + sum(heights) + sum(row.foot for row in rows)
    figure = Figure(figsize=(_WIDTH, end + _MARGIN), facecolor=_PAGE)
    _write(figure, lefts[0], 0.2, title, size=10, ha="left", weight="bold")
    for left, heading in zip(lefts, headings, strict=True):
        _write(figure, left + width / 2, start - 0.04, heading, size=9, va="bottom")
    top = start
    for row, height in zip(rows, heights, strict=True):
        _write(figure, lefts[0] - 0.12, top + height / 2, row.label, size=8, rotation=90, color=_QUIET)
        for tile, left in zip(row.tiles, lefts, strict=True):
            if tile:
                _draw_tile(figure, tile, (left, top, width, height))
        top += height + row.foot
    if sides := top_row[0].sides:
        _write(figure, lefts[0] + 0.07, start + heights[0] / 2, sides[0], size=7, color=MARK)
        _write(figure, lefts[0] + width / 2, start + 0.08, sides[1], size=7, color=MARK)
    scale = next(tile.scale for row in rows for tile in row.drawn if _is_error(tile))
    _draw_bar(figure, scale, (lefts[-1] + width + _BAR_GAP, start, _BAR, end - rows[-1].foot - start))
    return figure


def _column_places(tiles: Sequence[Tile]) -> tuple[list[float], float]:
    gaps = [_GROUP_GAP if _is_error(after) and not _is_error(before) else _GAP for before, after in pairwise(tiles)]
    width = (_WIDTH - _LABELS - sum(gaps) - _BAR_GAP - _BAR - _BAR_LABELS) / len(tiles)
    return np.cumsum([_LABELS, *(width + gap for gap in gaps)]).tolist(), width


def _draw_tile(figure: Figure, tile: Tile, place: Place) -> None:
    left, top, width, height = place
    axes = _axes(figure, place)
    colours, norm = tile.scale.colours.with_extremes(bad=MISSING), Normalize(tile.scale.low, tile.scale.high)
    axes.imshow(tile.image, cmap=colours, norm=norm, aspect=tile.aspect, interpolation_stage="data")
    axes.set_axis_off()
    if mark := tile.mark:
        corner = mark.left - 0.5, mark.top - 0.5
        axes.add_patch(Rectangle(corner, mark.width, mark.height, fill=False, color=MARK, linewidth=0.7))
    _write(figure, left + width / 2, top + height + 0.05, tile.caption, size=7, va="top")


def _draw_bar(figure: Figure, scale: Scale, place: Place) -> None:
    """Draw the colour bar of the errors; its point says that larger errors have its last colour."""
    axes = _axes(figure, place)
    errors = ScalarMappable(Normalize(scale.low, scale.high), scale.colours)
    ticks = MaxNLocator(5, steps=[1, 2, 2.5, 5, 10])
    bar = figure.colorbar(errors, cax=axes, extend="max", extendfrac=0.03, format="%g", ticks=ticks)
    bar.outline.set(edgecolor=_QUIET, linewidth=0.5)
    axes.tick_params(colors=_INK, labelsize=7, width=0.5, length=2)
    bar.set_label("error (1 = peak)", color=_INK, size=8)


def _is_error(tile: Tile) -> bool:
    return tile.scale.colours is ERRORS


def _axes(figure: Figure, place: Place) -> Axes:
    left, top, width, height = place
    total = figure.get_figheight()
    return figure.add_axes((left / _WIDTH, 1 - (top + height) / total, width / _WIDTH, height / total))


def _write(figure: Figure, x: float, y: float, text: str, **style: Any) -> None:
    style = {"ha": "center", "va": "center", "color": _INK} | style
    figure.text(x / _WIDTH, 1 - y / figure.get_figheight(), text, **style)
