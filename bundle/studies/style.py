# SPDX-License-Identifier: Apache-2.0
"""What the plots of a study share: a style for each row, quiet axes, and how a figure becomes a file."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bundle.files import atomic_path
from bundle.reports.columns import metric_title

# Okabe and Ito's colours for all kinds of colour vision, without the yellow, which is lost on white.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = "osD^vPX"
_DASHES = ("-", "--", ":", "-.")
_UNITS = {"psnr": "dB", "ifc": "bits per pixel"}
_DOTS_PER_INCH = 150
INK, QUIET = "#222222", "#8a8a8a"


@dataclass(frozen=True)
class LineStyle:
    """Colour, marker and dashes of one row in every plot of a study."""

    colour: str
    marker: str
    dashes: str


def line_styles(labels: Sequence[str]) -> dict[str, LineStyle]:
    """Return a style for each label, by its place: pass all rows of a study, whichever of them a plot shows.

    Rows differ in colour and marker, from the eighth on in dashes too.

    Raises:
        ValueError: if there are more labels than styles.
    """
    styles = [
        LineStyle(colour, marker, dashes)
        for dashes, (colour, marker) in product(_DASHES, zip(_COLOURS, _MARKERS, strict=True))
    ]
    if len(labels) > len(styles):
        raise ValueError(f"there are {len(labels)} rows for {len(styles)} styles; plot fewer rows.")
    return dict(zip(labels, styles, strict=False))


def axis_title(metric: str) -> str:
    """Return the title of a metric with its unit, if it has one: ``PSNR (dB)``."""
    unit = _UNITS.get(metric)
    return f"{metric_title(metric)} ({unit})" if unit else metric_title(metric)


def quieten(axes: Axes) -> None:
    """Leave of the frame what carries a scale, with a light grid behind the data."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(QUIET)
    axes.tick_params(labelsize=8, colors=INK, which="both", color=QUIET)
    axes.grid(True, color="#e6e6e6", linewidth=0.6)
    axes.set_axisbelow(True)


def save_plot(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Save a plot as a PNG file, the same bytes for the same plot.

    Args:
        figure: one of its own, not pyplot's.
        path: the file to write, ending in ``.png``.

    Returns:
        The path of the file.

    Raises:
        ValueError: if the path does not end in ``.png``.
        InputError: if the file cannot be written.
    """
    target = Path(path)
    if target.suffix.lower() != ".png":
        raise ValueError(f"{target.name} is no name of a PNG file; let it end in .png.")
    FigureCanvasAgg(figure)
    with atomic_path(target) as temporary:
        figure.savefig(temporary, format="png", dpi=_DOTS_PER_INCH, facecolor="white", metadata={"Software": None})
    return target
