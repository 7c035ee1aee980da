# SPDX-License-Identifier: Apache-2.0
"""Montages: the images of a subject side by side, with their scores and errors."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.colors import Normalize

from bundle.drawing.montage_page import ERROR_COLOURS, MARK, MISSING, Page, TileColumn, TileRow, draw_page
from bundle.drawing.png import save_png
from bundle.drawing.slice_choice import Box, Image, detail_box, tissue_box
from bundle.drawing.windows import error_limit, grey_limit
from bundle.keys import HIGH_RES, REFERENCE
from bundle.reports.columns import format_score, image_title, metric_title, whole_and_head

_DOTS_PER_INCH = 180
_ZOOM = 3
_MINUS, _TIMES = "\N{MINUS SIGN}", "\N{MULTIPLICATION SIGN}"
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
        errors_below: whether the errors stand below the images, in rows of their own, or beside them.
    """

    title: str = ""
    row_labels: Sequence[str] = ()
    aspect: float = 1.0
    edges: tuple[str, str] | None = None
    error_limit: float | None = None
    zoom: bool = True
    errors_below: bool = False


@dataclass(frozen=True)
class Picture:
    """One column of a montage: an image in each row.

    Attributes:
        heading: the title above it.
        images: arrays (rows, columns) in display orientation, one a row of the montage.
        scores: by metric, printed below each image; none by default.
        target: what each image should be; by default it is compared with nothing and has no error.
        own_window: whether its grey window is its own, as of another contrast.
    """

    heading: str
    images: Sequence[Image]
    scores: Sequence[Mapping[str, float]] = ()
    target: Sequence[Image] | None = None
    own_window: bool = False


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
    chosen = options or MontageOptions()
    slices = _as_arrays(images)
    for what, values in (("scores", scores), ("row labels", chosen.row_labels)):
        if len(values) not in (0, len(slices)):
            raise ValueError(f"there are {len(values)} {what} for {len(slices)} rows; pass one each, or none.")
    compared = [name for name in slices[0] if name not in (HIGH_RES, REFERENCE)]
    high_res = [row[HIGH_RES] for row in slices]
    pictures = [
        Picture(
            heading=image_title(name),
            images=[row[name] for row in slices],
            scores=[of_slice.get(name, {}) for of_slice in scores],
            target=high_res if name in compared else None,
            own_window=name == REFERENCE,
        )
        for name in (*compared, HIGH_RES, REFERENCE)
        if name in slices[0]
    ]
    return save_pictures(path, pictures, high_res, chosen)


def save_pictures(
    path: str | os.PathLike[str], pictures: Sequence[Picture], high_res: Sequence[Image], options: MontageOptions
) -> Path:
    """Draw pictures side by side, with scores and absolute errors, and save the page as a PNG file.

    Args:
        path: the file to write, ending in ``.png``.
        pictures: the columns, images of one shape; at least one with a target.
        high_res: the ground truth, one a row. It decides on the grey window, on how tiles are cropped and on
            what is zoomed into, whether it is among the pictures or not.
        options: title, labels, scales.

    Returns:
        The path of the file.

    Raises:
        ValueError: if the file is not named as a PNG file.
        InputError: if the file cannot be written.
    """
    target = Path(path)
    if target.suffix.lower() != ".png":
        raise ValueError(f"{target.name} is no name of a PNG file; let it end in .png.")
    save_png(draw_page(_page(pictures, high_res, options)), target, _DOTS_PER_INCH, ERROR_COLOURS, (MARK, MISSING))
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


def _page(pictures: Sequence[Picture], high_res: Sequence[Image], options: MontageOptions) -> Page:
    """Lay out one row of images a slice, their errors beside or below them, and the zoomed rows last."""
    brightest = grey_limit(high_res)
    box = tissue_box(high_res, _BACKGROUND * brightest)
    shown = [[box.crop(image) for image in picture.images] for picture in pictures]
    compared = [picture for picture in pictures if picture.target is not None]
    errors = [
        [box.crop(np.abs(image - target)) for image, target in zip(picture.images, picture.target or (), strict=True)]
        for picture in compared
    ]
    scale = Normalize(0, options.error_limit or error_limit([error for of_picture in errors for error in of_picture]))
    columns = [
        TileColumn(picture.heading, Normalize(0, grey_limit(images) if picture.own_window else brightest))
        for picture, images in zip(pictures, shown, strict=True)
    ]
    error_columns = [
        TileColumn(f"|{picture.heading} {_MINUS} {image_title(HIGH_RES)}|", scale, is_error=True)
        for picture in compared
    ]
    n_columns = len(columns) + (0 if options.errors_below else len(error_columns))
    rows = [
        TileRow(
            images=[images[row] for images in (*shown, *errors)],
            captions=[*(_caption(picture, row, n_columns) for picture in pictures), *([""] * len(errors))],
            label=options.row_labels[row] if options.row_labels else "",
        )
        for row in range(len(high_res))
    ]
    if options.zoom:
        rows = _with_zoom(rows, box.crop(high_res[len(rows) // 2]))
    if options.errors_below:
        rows = [part for row in rows for part in _stacked(row, pictures, scale)]
        error_columns = []
    return Page([*columns, *error_columns], rows, options.aspect, options.title, options.edges, "error (1 = peak)")


def _with_zoom(rows: Sequence[TileRow], ground_truth: Image) -> list[TileRow]:
    """Mark the most detailed part of the middle row's ground truth, and add a row that shows it larger."""
    middle = len(rows) // 2
    row = rows[middle]
    height, width = ground_truth.shape
    part = (max(height // _ZOOM, 1), max(width // _ZOOM, 1))
    box = detail_box(ground_truth, Box(0, 0, height, width), *part)
    images = [None if image is None else box.crop(image) for image in row.images]
    zoomed = TileRow(images, [""] * len(images), f"{row.label} {_TIMES} {_ZOOM}".strip())
    return [*rows[:middle], replace(row, mark=box), *rows[middle + 1 :], zoomed]


def _stacked(row: TileRow, pictures: Sequence[Picture], scale: Normalize) -> tuple[TileRow, TileRow]:
    """Divide a row into the images and, each below its image, the errors."""
    n_shown = len(pictures)
    errors = iter(row.images[n_shown:])
    below = [next(errors) if picture.target is not None else None for picture in pictures]
    images = replace(row, images=row.images[:n_shown], captions=row.captions[:n_shown])
    return images, TileRow(below, [""] * n_shown, "error", error_scale=scale)


def _caption(picture: Picture, row: int, n_columns: int) -> str:
    """Return one image's scores of the whole slice, as many a line as fit: ``PSNR 27.15   SSIM 0.793``."""
    scores = picture.scores[row] if picture.scores else {}
    metrics, _ = whole_and_head(scores)
    texts = [f"{metric_title(metric)} {format_score(metric, float(scores[metric]))}" for metric in metrics]
    a_line = 2 if n_columns <= 6 else 1
    return "\n".join("   ".join(texts[start : start + a_line]) for start in range(0, len(texts), a_line))
