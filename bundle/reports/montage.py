# SPDX-License-Identifier: Apache-2.0
"""Montages: the images of a subject side by side, with their scores and errors."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.colors import Normalize

from bundle.keys import HIGH_RES, REFERENCE
from bundle.reports.columns import format_score, image_title, metric_title
from bundle.reports.png import save_png
from bundle.reports.selection import Box, Image, detail_box, tissue_box
from bundle.reports.tiles import ERROR_COLOURS, MARK, MISSING, Page, TileColumn, TileRow, draw_page

_DOTS_PER_INCH = 180
_ZOOM = 3
_MINUS, _TIMES = "\N{MINUS SIGN}", "\N{MULTIPLICATION SIGN}"
_ROUND_STEPS = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)
_BACKGROUND = 0.05  # of the grey window: darker pixels do not keep a tile from being cropped

Images = Mapping[str, npt.ArrayLike]
"""One slice by image name; arrays (rows, columns) in display orientation."""
Scores = Mapping[str, Mapping[str, float]]
"""Scores of one slice by image name, then by metric."""


@dataclass(frozen=True)
class MontageOptions:
    """How a montage is drawn.

    Attributes:
        title: line above the columns, such as the case and the factor.
        row_labels: one label a row, such as ``slice 21``; none by default.
        aspect: height of a pixel divided by its width.
        edges: the patient's sides at the left and the top edge, such as ``("R", "A")``, written into the first tile.
        error_limit: upper end of the error scale, for montages that are to be compared with each other. By
            default the 99th percentile of the errors of all compared images together, rounded up.
        zoom: whether to add a row with the part of the middle slice that holds the most detail.
    """

    title: str = ""
    row_labels: Sequence[str] = ()
    aspect: float = 1.0
    edges: tuple[str, str] | None = None
    error_limit: float | None = None
    zoom: bool = True


def save_montage(
    path: str | os.PathLike[str],
    images: Sequence[Images],
    scores: Sequence[Scores] = (),
    options: MontageOptions | None = None,
) -> Path:
    """Draw slices side by side, with scores and absolute errors, and save the page as a PNG file.

    Columns: the images that are compared with the ground truth in the order given (low-res, then outputs),
    the ground truth, the reference contrast if there is one, then the absolute error of each compared image.
    All images but the reference share one grey window, from 0 to the 99.8th percentile of the ground truth;
    all errors share one scale, stated by the colour bar. Tiles are cropped to the tissue.

    Args:
        path: the file to write, ending in ``.png``.
        images: a row each. Must hold ``high_res`` and at least one image to compare, may hold ``reference``;
            the same names and the same shape in every row.
        scores: a row each, printed under the images they name; none by default.
        options: title, labels, scales.

    Returns:
        The path of the file.

    Raises:
        ValueError: if names or shapes are missing or differ, or if scores or labels do not match the rows.
        InputError: if the file cannot be written.
    """
    target, chosen = Path(path), options or MontageOptions()
    if target.suffix.lower() != ".png":
        raise ValueError(f"{target.name} is no name of a PNG file; let it end in .png.")
    slices = _as_arrays(images)
    for what, values in (("scores", scores), ("row labels", chosen.row_labels)):
        if len(values) not in (0, len(slices)):
            raise ValueError(f"there are {len(values)} {what} for {len(slices)} rows; pass one each, or none.")
    figure = draw_page(_page(slices, scores or [{}] * len(slices), chosen))
    save_png(figure, target, _DOTS_PER_INCH, ERROR_COLOURS, (MARK, MISSING))
    return target


def _as_arrays(images: Sequence[Images]) -> list[dict[str, Image]]:
    """Check the images and return them as arrays."""
    slices = [{name: np.asarray(image, dtype=np.float32) for name, image in row.items()} for row in images]
    names = list(slices[0]) if slices else []
    if HIGH_RES not in names or not set(names) - {HIGH_RES, REFERENCE}:
        raise ValueError(f"a montage of {names} has nothing to compare; pass rows with {HIGH_RES} and another image.")
    shape = slices[0][HIGH_RES].shape
    for row in slices:
        if set(row) != set(names):
            raise ValueError(f"rows hold different images ({names} and {list(row)}); pass the same ones in each.")
        for name, image in row.items():
            if image.shape != shape or image.ndim != 2 or not image.size:
                raise ValueError(f"{name} has shape {image.shape}; pass slices of one shape (rows, columns), {shape}.")
    return slices


def _page(slices: Sequence[dict[str, Image]], scores: Sequence[Scores], options: MontageOptions) -> Page:
    """Lay out one row of tiles a slice, and the zoomed one below them."""
    compared = [name for name in slices[0] if name not in (HIGH_RES, REFERENCE)]
    brightest = _brightest([row[HIGH_RES] for row in slices])
    box = tissue_box([row[HIGH_RES] for row in slices], _BACKGROUND * brightest)
    slices = [{name: box.crop(image) for name, image in row.items()} for row in slices]
    shown = [*compared, HIGH_RES, *([REFERENCE] if REFERENCE in slices[0] else [])]
    errors = [[np.abs(row[name] - row[HIGH_RES]) for name in compared] for row in slices]
    error_scale = Normalize(0, options.error_limit or _error_limit(errors))
    columns = [TileColumn(image_title(name), Normalize(0, brightest)) for name in (*compared, HIGH_RES)]
    columns += [
        TileColumn(name, Normalize(0, _brightest([row[name] for row in slices]))) for name in shown[len(columns) :]
    ]
    columns += [TileColumn(f"|{image_title(name)} {_MINUS} HR|", error_scale, is_error=True) for name in compared]
    rows = [
        TileRow(
            images=[*(row[name] for name in shown), *of_row],
            captions=[_caption(of_slice.get(name, {}), len(columns)) for name in shown] + [""] * len(of_row),
            label=label,
        )
        for row, of_row, of_slice, label in zip(
            slices, errors, scores, options.row_labels or [""] * len(slices), strict=True
        )
    ]
    if options.zoom:
        rows = _with_zoom(rows, shown.index(HIGH_RES))
    return Page(columns, rows, options.aspect, options.title, options.edges, "error (1 = peak)")


def _with_zoom(rows: Sequence[TileRow], high_res: int) -> list[TileRow]:
    """Mark the most detailed part of the middle row's ground truth, and add a row that shows it larger."""
    middle = len(rows) // 2
    row = rows[middle]
    height, width = row.images[high_res].shape
    part = (max(height // _ZOOM, 1), max(width // _ZOOM, 1))
    box = detail_box(row.images[high_res], Box(0, 0, height, width), *part)
    zoomed = TileRow(
        [box.crop(image) for image in row.images], [""] * len(row.images), f"{row.label} {_TIMES} {_ZOOM}".strip()
    )
    return [*rows[:middle], replace(row, mark=box), *rows[middle + 1 :], zoomed]


def _brightest(images: Sequence[Image]) -> float:
    """Return the upper end of the grey window, which 0.2 % of the pixels exceed."""
    return _percentile(images, 99.8) or 1.0


def _error_limit(errors: Sequence[Sequence[Image]]) -> float:
    """Return a round number that 99 % of all errors inside the tiles stay below."""
    high = max(_percentile([error for row in errors for error in row], 99), 1e-6)
    power = 10.0 ** math.floor(math.log10(high))
    return power * next(step for step in (*_ROUND_STEPS, 20.0) if step * power >= high)


def _percentile(images: Sequence[Image], percent: float) -> float:
    """Return a percentile of all finite pixels, 0 if there are none above 0."""
    pixels = np.concatenate([image[np.isfinite(image)] for image in images])
    return max(float(np.percentile(pixels, percent)), 0.0) if pixels.size else 0.0


def _caption(scores: Mapping[str, float], n_columns: int) -> str:
    """Return the scores of one image, as many a line as fit under a tile: ``PSNR 27.15   SSIM 0.793``."""
    texts = [f"{metric_title(metric)} {format_score(metric, float(value))}" for metric, value in scores.items()]
    a_line = 2 if n_columns <= 6 else 1
    return "\n".join("   ".join(texts[start : start + a_line]) for start in range(0, len(texts), a_line))
