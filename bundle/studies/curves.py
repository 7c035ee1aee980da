# SPDX-License-Identifier: Apache-2.0
"""The course of several trainings, epoch by epoch, as in Fig. 2 of the paper."""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from bundle.drawing.png import save_plot
from bundle.errors import InputError
from bundle.studies.style import INK, QUIET, LineStyle, axis_title, line_styles, quieten

_PER_ITERATION = {"perceptual": "perceptual loss", "mse": "MSE loss", "wasserstein_distance": "Wasserstein distance"}
_PER_EPOCH = {"PSNR": axis_title("psnr"), "SSIM": axis_title("ssim")}
_LOGARITHMIC = ("perceptual", "mse")  # they fall by orders of magnitude, and are never 0
_MARKS = 10  # markers along a curve, at most


class Training(NamedTuple):
    """A training to draw: the row it belongs to, where its TensorBoard events are, and iterations an epoch."""

    label: str
    folder: str | os.PathLike[str]
    epoch_length: int


class Curve(NamedTuple):
    """Values by epoch, from 1; epochs without a value are left out."""

    epochs: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]


def read_curves(training: Training) -> dict[str, Curve]:
    """Read what a training has logged, by tag.

    ``perceptual``, ``mse`` and ``wasserstein_distance``, logged at every iteration, are averaged over the iterations
    of each epoch; ``PSNR`` and ``SSIM`` are of the validation after an epoch. What a resumed training logged a
    second time replaces the first. A tag that was never logged is left out.

    Raises:
        InputError: if the folder holds no events.
        ValueError: if the length of an epoch is less than 1.
    """
    if training.epoch_length < 1:
        raise ValueError(f"an epoch of {training.label} has {training.epoch_length} iterations; pass at least 1.")
    events = EventAccumulator(str(training.folder), size_guidance={"scalars": 0})
    if Path(training.folder).is_dir():
        events.Reload()
    logged = set(events.Tags()["scalars"])
    if not logged:
        raise InputError(f"{training.folder}: there are no TensorBoard scalars here; train {training.label} first.")
    return {
        tag: _curve(events, tag, training.epoch_length if tag in _PER_ITERATION else 1)
        for tag in (*_PER_ITERATION, *_PER_EPOCH)
        if tag in logged
    }


def save_curves(
    path: str | os.PathLike[str], trainings: Sequence[Training], styles: Mapping[str, LineStyle] | None = None
) -> Path:
    """Draw perceptual loss, MSE, Wasserstein distance, PSNR and SSIM of several trainings against the epoch.

    Args:
        path: the PNG file to write.
        trainings: one curve each in every panel, where it has logged what the panel shows.
        styles: by label, to draw a row alike in all plots of a study; by default by place.

    Raises:
        InputError: if a training has logged nothing, or the file cannot be written.
        ValueError: if there is nothing to draw.
    """
    if not trainings:
        raise ValueError("there are no trainings to draw; pass at least one.")
    chosen = styles or line_styles([training.label for training in trainings])
    curves = {training.label: read_curves(training) for training in trainings}
    last = max((int(curve.epochs[-1]) for of_run in curves.values() for curve in of_run.values()), default=1)
    figure = Figure(figsize=(10, 5.6), layout="constrained")
    panels = figure.subplots(2, 3)
    for axes, (tag, title) in zip(panels.flat, (_PER_ITERATION | _PER_EPOCH).items(), strict=False):
        _draw(axes, tag, {label: of_run[tag] for label, of_run in curves.items() if tag in of_run}, chosen)
        axes.set_title(title, fontsize=10, color=INK)
        axes.set_xlim(1 - 0.03 * last, 1.03 * last)  # the same in all panels: some losses begin late
    legend = panels.flat[-1]
    legend.set_axis_off()
    for label in curves:
        legend.plot([], [], **chosen[label], markersize=4, label=label)
    legend.legend(loc="center", frameon=False, fontsize=10, labelcolor=INK, ncols=1 + (len(curves) > 10))
    return save_plot(figure, path)


def _curve(events: EventAccumulator, tag: str, steps_an_epoch: int) -> Curve:
    latest = {event.step: event.value for event in sorted(events.Scalars(tag), key=lambda event: event.wall_time)}
    epochs = (np.array(list(latest), dtype=np.int64) - 1) // steps_an_epoch + 1
    found, place = np.unique(epochs, return_inverse=True)
    return Curve(found, np.bincount(place, weights=np.array(list(latest.values()))) / np.bincount(place))


def _draw(axes: Axes, tag: str, curves: Mapping[str, Curve], styles: Mapping[str, LineStyle]) -> None:
    quieten(axes)
    for number, (label, curve) in enumerate(curves.items()):
        step = math.ceil(curve.epochs.size / _MARKS)
        in_turn = (number % step, step)  # so that curves which lie on each other show their markers
        axes.plot(*curve, **styles[label], markevery=in_turn, markersize=3.5, linewidth=1.2)
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
