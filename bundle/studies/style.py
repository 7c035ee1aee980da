# SPDX-License-Identifier: Apache-2.0
"""What the plots of a study share: a style for each row, and quiet axes."""

from collections.abc import Sequence
from itertools import product
from typing import Any

from matplotlib.axes import Axes

from bundle.reports.columns import metric_title

# Okabe and Ito's colours for all kinds of colour vision, without the yellow, which is lost on white.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = "osD^vPX"
_DASHES = ("-", "--", ":", "-.")
_UNITS = {"psnr": "dB", "ifc": "bits per pixel"}
INK, QUIET = "#222222", "#8a8a8a"


LineStyle = dict[str, Any]
"""Colour, marker and dashes of one row in every plot of a study, as matplotlib's ``plot`` takes them."""


def line_styles(labels: Sequence[str]) -> dict[str, LineStyle]:
    """Return a style for each label, by its place: pass all rows of a study, whichever of them a plot shows.

    Rows differ in colour and marker, from the eighth on in dashes too.

    Raises:
        ValueError: if there are more labels than styles.
    """
    styles = [
        {"color": colour, "marker": marker, "linestyle": dashes}
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
