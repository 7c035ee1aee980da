# SPDX-License-Identifier: Apache-2.0
"""Small PNG files of pages that hold grey images, error maps in one colour scale, and text."""

import os
from collections.abc import Sequence

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image
from scipy.spatial import cKDTree

from bundle.files import atomic_path

_N_LEVELS = 112
_N_MARK_LEVELS = 16


def save_png(
    figure: Figure, path: str | os.PathLike[str], dots_per_inch: int, colours: str, marks: Sequence[str]
) -> None:
    """Save a figure with a palette of 256 colours: about a third of the size of full colour.

    The noise in the last bits of an image cannot be compressed. With 112 levels of grey, and as many of the
    error colours, a pixel changes by one level of 255 on average, which nobody sees.

    Args:
        figure: the page, on black.
        path: the PNG file to write.
        dots_per_inch: its resolution.
        colours: name of matplotlib's colour map of the errors.
        marks: at most two more colours, shaded from black.

    Raises:
        InputError: if the file cannot be written.
    """
    canvas = FigureCanvasAgg(figure)
    figure.set_dpi(dots_per_inch)
    canvas.draw()
    palette = _palette(colours, marks)
    nearest = _nearest(np.asarray(canvas.buffer_rgba())[..., :3], palette)
    image = Image.frombytes("P", (nearest.shape[1], nearest.shape[0]), nearest.tobytes())
    image.putpalette(palette.tobytes())
    with atomic_path(path) as temporary:
        image.save(temporary, format="png", optimize=True, dpi=(dots_per_inch, dots_per_inch))


def _nearest(pixels: npt.NDArray[np.uint8], palette: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return the index of the nearest colour of the palette for each pixel (rows, columns, 3), without dithering.

    Pillow's own search compares the upper six bits only, which leaves 64 levels of grey and no white.
    """
    packed = pixels.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], dtype=np.uint32)
    table = np.zeros(1 << 24, dtype=np.uint8)  # all colours there are; only those in use are filled in
    table[packed] = 1
    found = np.flatnonzero(table)
    _, table[found] = cKDTree(palette).query(np.stack([found >> 16, found >> 8 & 255, found & 255], axis=1))
    return table[packed]


def _palette(colours: str, marks: Sequence[str]) -> npt.NDArray[np.uint8]:
    levels = np.linspace(0, 1, _N_LEVELS)
    shades = np.linspace(0, 1, _N_MARK_LEVELS + 1)[1:, None]
    parts = [np.repeat(levels[:, None], 3, axis=1), matplotlib.colormaps[colours](levels)[:, :3]]
    parts += [shades * np.asarray(to_rgb(mark)) for mark in marks]
    return np.rint(255 * np.concatenate(parts)).astype(np.uint8)
