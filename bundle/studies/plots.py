# SPDX-License-Identifier: Apache-2.0
"""Plots of a study: the course of its trainings (Fig. 2 of the paper), scores against the weight of a loss (Fig. 3)."""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from bundle.drawing.png import save_plot
from bundle.errors import InputError
from bundle.keys import SUPER_RES
from bundle.metrics.score_text import metric_title, whole_and_head
from bundle.studies.scores import StudyScores
from bundle.studies.statistics import summarise

# Okabe and Ito's colours for all kinds of colour vision, without the yellow, which is lost on white.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = "osD^vPX"
_DASHES = ("-", "--", ":", "-.")
_UNITS = {"psnr": " (dB)", "ifc": " (bits per pixel)"}
INK, QUIET = "#222222", "#8a8a8a"

_PER_ITERATION = {"perceptual": "perceptual loss", "mse": "MSE loss", "wasserstein_distance": "Wasserstein distance"}
_PER_EPOCH = {"PSNR": "PSNR (dB)", "SSIM": "SSIM"}
_LOGARITHMIC = ("perceptual", "mse")  # they fall by orders of magnitude, and are never 0
_MARKS = 10  # markers along a curve, at most
_WIDTH, _HEIGHT = 3.2, 2.1  # of a panel of sweeps, in inches

LineStyle = dict[str, Any]  # colour, marker and dashes of a row in every plot of a study, for matplotlib's `plot`


class Training(NamedTuple):
    """A training to draw: the row it belongs to, where its TensorBoard events are, and iterations an epoch."""

    label: str
    folder: str | os.PathLike[str]
    epoch_length: int


def line_styles(labels: Sequence[str]) -> dict[str, LineStyle]:
    """Return a style for each of up to 28 labels, by its place: pass all rows of a study, whichever a plot shows."""
    styles = list(cycler(linestyle=_DASHES) * (cycler(color=_COLOURS) + cycler(marker=_MARKERS)))
    if len(labels) > len(styles):
        raise ValueError(f"there are {len(labels)} rows for {len(styles)} styles; plot fewer rows.")
    return dict(zip(labels, styles, strict=False))


def axis_title(metric: str) -> str:
    """Return the title of a metric with its unit, if it has one: ``PSNR (dB)``."""
    return metric_title(metric) + _UNITS.get(metric, "")


def quieten(axes: Axes) -> None:
    """Leave of the frame what carries a scale, with a light grid behind the data."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(QUIET)
    axes.tick_params(labelsize=8, colors=INK, which="both", color=QUIET)
    axes.grid(True, color="#e6e6e6", linewidth=0.6)
    axes.set_axisbelow(True)


def read_curves(training: Training) -> dict[str, pd.Series]:
    """Read what a training has logged, values by epoch from 1, by tag; ``InputError`` where that is nothing.

    What is logged at every iteration is averaged over each epoch. A resumed training's second value replaces the first.
    """
    events = EventAccumulator(str(training.folder), size_guidance={"scalars": 0})
    if Path(training.folder).is_dir():
        events.Reload()
    logged = set(events.Tags()["scalars"])
    if not logged:
        raise InputError(f"{training.folder}: there are no TensorBoard scalars here; train {training.label} first.")
    steps = dict.fromkeys(_PER_ITERATION, training.epoch_length) | dict.fromkeys(_PER_EPOCH, 1)
    return {tag: _curve(events, tag, steps_an_epoch) for tag, steps_an_epoch in steps.items() if tag in logged}


def _curve(events: EventAccumulator, tag: str, steps_an_epoch: int) -> pd.Series:
    logged = sorted(events.Scalars(tag), key=lambda event: event.wall_time)
    latest = pd.Series({event.step: event.value for event in logged})
    return latest.groupby((latest.index - 1) // steps_an_epoch + 1).mean()


def save_curves(
    path: str | os.PathLike[str], trainings: Sequence[Training], styles: Mapping[str, LineStyle] | None = None
) -> Path:
    """Draw losses, PSNR and SSIM of trainings by epoch, as a PNG, or raise ``InputError`` if one has logged nothing."""
    if not trainings:
        raise ValueError("there are no trainings to draw; pass at least one.")
    chosen = styles or line_styles([training.label for training in trainings])
    curves = {training.label: read_curves(training) for training in trainings}
    last = max((int(curve.index[-1]) for of_run in curves.values() for curve in of_run.values()), default=1)
    figure = Figure(figsize=(10, 5.6), layout="constrained")
    panels = figure.subplots(2, 3)
    for axes, (tag, title) in zip(panels.flat, (_PER_ITERATION | _PER_EPOCH).items(), strict=False):
        _draw_curves(axes, tag, {label: of_run[tag] for label, of_run in curves.items() if tag in of_run}, chosen)
        axes.set_title(title, fontsize=10, color=INK)
        axes.set_xlim(1 - 0.03 * last, 1.03 * last)  # the same in all panels: some losses begin late
    legend = panels.flat[-1]
    legend.set_axis_off()
    for label in curves:
        legend.plot([], [], **chosen[label], markersize=4, label=label)
    legend.legend(loc="center", frameon=False, fontsize=10, labelcolor=INK, ncols=1 + (len(curves) > 10))
    return save_plot(figure, path)


def _draw_curves(axes: Axes, tag: str, curves: Mapping[str, pd.Series], styles: Mapping[str, LineStyle]) -> None:
    quieten(axes)
    for number, (label, curve) in enumerate(curves.items()):
        step = math.ceil(curve.size / _MARKS)
        in_turn = (number % step, step)  # so that curves which lie on each other show their markers
        axes.plot(curve.index, curve, **styles[label], markevery=in_turn, markersize=3.5, linewidth=1.2)
    if tag in _LOGARITHMIC and curves:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    if not curves:
        axes.text(0.5, 0.5, "not logged", transform=axes.transAxes, ha="center", va="center", fontsize=9, color=QUIET)
        axes.set_yticks([])
    axes.grid(bool(curves))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("epoch", fontsize=9, color=INK)


def save_sweeps(
    path: str | os.PathLike[str],
    scores: StudyScores,
    sweeps: Mapping[str, Mapping[float, str]],
    chosen: Mapping[str, float],
) -> Path:
    """Draw the outputs' mean scores, with 95 % intervals, against each weight: a column a weight, a row a metric.

    By a weight's title, ``sweeps`` has the rows' labels by value, all above 0, and ``chosen`` the paper's choice.
    """
    if not sweeps:
        raise ValueError("there are no sweeps to draw; pass at least one.")
    for title, points in sweeps.items():
        if not points or min(points) <= 0:
            raise ValueError(f"the sweep of {title} is over {sorted(points)}; pass weights above 0.")
    metrics, _ = whole_and_head(scores.metrics)
    figure = Figure(figsize=(_WIDTH * len(sweeps) + 0.6, _HEIGHT * len(metrics) + 0.5), layout="constrained")
    panels = figure.subplots(len(metrics), len(sweeps), sharex="col", sharey="row", squeeze=False)
    for metric, row in zip(metrics, panels, strict=True):
        for (title, points), axes in zip(sweeps.items(), row, strict=True):
            _draw_sweep(axes, scores, points, metric, chosen.get(title))
        row[0].set_ylabel(axis_title(metric), fontsize=9, color=INK)
    figure.align_ylabels(panels[:, 0])
    for title, top, bottom in zip(sweeps, panels[0], panels[-1], strict=True):
        bottom.set_xlabel(title, fontsize=9, color=INK)
        if title in chosen:
            place = {"x": chosen[title], "y": 1.01, "transform": top.get_xaxis_transform()}
            top.text(**place, s="paper", ha="center", va="bottom", fontsize=8, color=QUIET)
    return save_plot(figure, path)


def _draw_sweep(
    axes: Axes, scores: StudyScores, points: Mapping[float, str], metric: str, chosen: float | None
) -> None:
    style = line_styles([SUPER_RES])[SUPER_RES]
    quieten(axes)
    axes.set_xscale("log")
    if chosen is not None:
        axes.axvline(chosen, color=QUIET, linestyle="--", linewidth=1, zorder=1)
    summaries = {weight: summarise(scores.sample(points[weight], SUPER_RES, metric)) for weight in sorted(points)}
    means = [summary.subjects.mean for summary in summaries.values()]
    axes.plot(list(summaries), means, **style, linewidth=1.2, markersize=4)
    for weight, summary in summaries.items():
        if summary.interval:
            axes.plot([weight] * 2, summary.interval[:2], "_-", color=style["color"], linewidth=1, markersize=6)
