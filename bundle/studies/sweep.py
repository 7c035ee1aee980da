# SPDX-License-Identifier: Apache-2.0
"""Scores against the weight of a loss, as in Fig. 3 of the paper."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bundle.drawing.png import save_plot
from bundle.keys import SUPER_RES
from bundle.reports.columns import whole_and_head
from bundle.studies.scores import StudyScores
from bundle.studies.statistics import Summary, summarise
from bundle.studies.style import INK, QUIET, axis_title, line_styles, quieten

_WIDTH, _HEIGHT = 3.2, 2.1  # of a panel, in inches


@dataclass(frozen=True)
class Sweep:
    """The rows of a study in which one weight differs.

    Attributes:
        title: what the weight is called, such as ``weight of the MSE``.
        points: the row's label by weight, all above 0.
        chosen: the paper's choice, marked in the plot.
    """

    title: str
    points: Mapping[float, str]
    chosen: float | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot stand on a logarithmic axis."""
        if not self.points or min(self.points) <= 0:
            raise ValueError(f"the sweep of {self.title} is over {sorted(self.points)}; pass weights above 0.")


def save_sweeps(path: str | os.PathLike[str], scores: StudyScores, sweeps: Sequence[Sweep]) -> Path:
    """Draw the mean scores of the outputs, with 95 % intervals, against each weight on a logarithmic axis.

    A column a weight, a row a metric of whole slices; the panels of a row share their scale, so that weights can be
    compared.

    Args:
        path: the PNG file to write.
        scores: of all rows of all sweeps; a row may belong to several.
        sweeps: at least one.

    Raises:
        InputError: if the file cannot be written.
        ValueError: if there is no sweep.
    """
    if not sweeps:
        raise ValueError("there are no sweeps to draw; pass at least one.")
    metrics, _ = whole_and_head(scores.metrics)
    size = (_WIDTH * len(sweeps) + 0.6, _HEIGHT * len(metrics) + 0.5)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(len(metrics), len(sweeps), sharex="col", sharey="row", squeeze=False)
    for metric, row in zip(metrics, panels, strict=True):
        for sweep, axes in zip(sweeps, row, strict=True):
            labels = dict(sorted(sweep.points.items()))
            summaries = [summarise(scores.sample(label, SUPER_RES, metric)) for label in labels.values()]
            _draw(axes, list(labels), summaries, sweep.chosen)
        row[0].set_ylabel(axis_title(metric), fontsize=9, color=INK)
    figure.align_ylabels(panels[:, 0])
    for sweep, top, bottom in zip(sweeps, panels[0], panels[-1], strict=True):
        bottom.set_xlabel(sweep.title, fontsize=9, color=INK)
        if sweep.chosen is not None:
            place = {"x": sweep.chosen, "y": 1.01, "transform": top.get_xaxis_transform()}
            top.text(**place, s="paper", ha="center", va="bottom", fontsize=8, color=QUIET)
    return save_plot(figure, path)


def _draw(axes: Axes, weights: Sequence[float], summaries: Sequence[Summary], chosen: float | None) -> None:
    style = line_styles([SUPER_RES])[SUPER_RES]
    quieten(axes)
    axes.set_xscale("log")
    if chosen is not None:
        axes.axvline(chosen, color=QUIET, linestyle="--", linewidth=1, zorder=1)
    means = [summary.subjects.mean for summary in summaries]
    axes.plot(weights, means, **style, linewidth=1.2, markersize=4)
    for weight, summary in zip(weights, summaries, strict=True):
        if summary.interval:
            bounds = [summary.interval.low, summary.interval.high]
            axes.plot([weight, weight], bounds, "_-", color=style["color"], linewidth=1, markersize=6)
