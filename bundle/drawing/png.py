# SPDX-License-Identifier: Apache-2.0
"""Figures as PNG files: plots, and pages that hold grey images, error maps in one colour scale, and text."""

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image
from scipy.spatial import cKDTree

from bundle.drawing.tile import ERRORS, MARK, MISSING
from bundle.files import atomic_path

_N_LEVELS, _N_MARK_LEVELS = 112, 16
_PAGE_DPI, _PLOT_DPI = 180, 150


def save_plot(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Save a plot, not pyplot's, on white, as the same bytes for the same plot; ``ValueError`` if not to ``.png``."""
    target = _png_path(path)
    FigureCanvasAgg(figure)
    with atomic_path(target) as temporary:
        figure.savefig(temporary, format="png", dpi=_PLOT_DPI, facecolor="white", metadata={"Software": None})
    return target


def save_paletted(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Save a page of tiles, on black, with a palette of 256 colours: about a third of the size of full colour.

    The noise in the last bits of an image cannot be compressed. With 112 levels of grey, and as many of the
    error colours, a pixel changes by one level of 255 on average, which nobody sees. Errors as for :func:`save_plot`.
    """
    target = _png_path(path)
    canvas = FigureCanvasAgg(figure)
    figure.set_dpi(_PAGE_DPI)
    canvas.draw()
    levels = np.linspace(0, 1, _N_LEVELS)
    shades = np.linspace(0, 1, _N_MARK_LEVELS + 1)[1:, None]  # of the two marks, from black
    parts = [np.repeat(levels[:, None], 3, axis=1), ERRORS(levels)[:, :3]]
    parts += [shades * np.asarray(to_rgb(mark)) for mark in (MARK, MISSING)]
    palette = np.rint(255 * np.concatenate(parts)).astype(np.uint8)
    nearest = _nearest(np.asarray(canvas.buffer_rgba())[..., :3], palette)
    image = Image.frombytes("P", (nearest.shape[1], nearest.shape[0]), nearest.tobytes())
    image.putpalette(palette.tobytes())
    with atomic_path(target) as temporary:
        image.save(temporary, format="png", optimize=True, dpi=(_PAGE_DPI, _PAGE_DPI))
    return target


def _png_path(path: str | os.PathLike[str]) -> Path:
    target = Path(path)
    if target.suffix.lower() != ".png":
        raise ValueError(f"{target.name} is no name of a PNG file; let it end in .png.")
    return target


def _nearest(pixels: npt.NDArray[np.uint8], palette: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return the index of the nearest colour of the palette for each pixel (rows, columns, 3), without dithering."""
    # Pillow's own search compares the upper six bits only, which leaves 64 levels of grey and no white.
    packed = pixels.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], dtype=np.uint32)
    table = np.zeros(1 << 24, dtype=np.uint8)  # all colours there are; only those in use are filled in
    table[packed] = 1
    found = np.flatnonzero(table)
    _, table[found] = cKDTree(palette).query(np.stack([found >> 16, found >> 8 & 255, found & 255], axis=1))
    return table[packed]
