# SPDX-License-Identifier: Apache-2.0
"""The course of a training, renewed each epoch: a table, a picture, and a hint where it ends below its low-res."""

import logging
import os
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pandas as pd
from ignite.engine import Engine, Events
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bundle.drawing.png import save_plot
from bundle.files import atomic_path

logger = logging.getLogger(__name__)

EPOCH: Final = "epoch"
SCORE: Final = "PSNR"  # of the validation, in dB
LOW_RES_SCORE: Final = "PSNR_low_res"  # of the low-res images that it starts from
_COLUMNS, _WIDTH, _HEIGHT = 3, 3.2, 2.1  # of panels; of one, in inches
_INK, _QUIET = "#0072B2", "#8a8a8a"


class LearningCurves:
    """Keep the mean losses and the validation scores of each epoch in ``curves.csv``, drawn as ``curves.png``.

    Attach it after validation. A resumed training goes on in the table. Where the last validation scores below its
    low-res images, a warning says so at the end.
    """

    def __init__(self, output_dir: str | os.PathLike[str], validator: Engine) -> None:
        self.folder = Path(output_dir)
        self.validator = validator
        self._sums: dict[str, float] = defaultdict(float)
        self._n_iterations = 0

    def attach(self, engine: Engine) -> None:
        """Collect after every iteration, write after every epoch, and look back at the end."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.collect)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.write)
        engine.add_event_handler(Events.COMPLETED, self.look_back)

    def collect(self, engine: Engine) -> None:
        """Add the terms of the losses."""
        self._n_iterations += 1
        for name, value in engine.state.output.items():
            self._sums[name] += float(value)

    def write(self, engine: Engine) -> None:
        """Add the epoch to the table, in place of what an earlier course had from there on, and draw it."""
        epoch = engine.state.epoch
        validated = self.validator.state.metrics if self.validator.state.epoch == epoch else {}
        losses = {name: total / self._n_iterations for name, total in self._sums.items()}
        self._sums.clear()
        self._n_iterations = 0
        row = pd.DataFrame([{EPOCH: epoch, **_numbers(validated), **losses}])
        file = self.folder / "curves.csv"
        before = pd.read_csv(file) if file.is_file() else row.iloc[:0]
        table = pd.concat([before[before[EPOCH] < epoch], row] if len(before) else [row])
        with atomic_path(file) as temporary:
            table.to_csv(temporary, index=False, float_format="%.6g", lineterminator="\n")
        save_plot(draw(table), self.folder / "curves.png")

    def look_back(self, engine: Engine) -> None:
        """Warn where the network does worse than none."""
        scores = self.validator.state.metrics
        if SCORE in scores and scores[SCORE] < scores[LOW_RES_SCORE]:
            logger.warning(
                "after %d epochs the network does worse than none: PSNR %.2f dB in validation, and %.2f the low-res "
                "images; train for longer (max_epochs), or with residual true, which begins at the low-res.",
                engine.state.epoch,
                scores[SCORE],
                scores[LOW_RES_SCORE],
            )


def draw(table: pd.DataFrame) -> Figure:
    """Draw each column of a table over its epochs in a panel of its own; the low-res's score as a line beside."""
    names = [name for name in table if name not in (EPOCH, LOW_RES_SCORE)]
    n_rows = -(-len(names) // _COLUMNS)
    figure = Figure(figsize=(_COLUMNS * _WIDTH, n_rows * _HEIGHT), layout="constrained")
    for index, name in enumerate(names):
        axes = figure.add_subplot(n_rows, _COLUMNS, index + 1)
        known = table[table[name].notna()]
        axes.plot(known[EPOCH], known[name], color=_INK, marker=".", markersize=4, linewidth=1)
        if name == SCORE and LOW_RES_SCORE in table:
            axes.axhline(known[LOW_RES_SCORE].iloc[-1], color=_QUIET, linestyle="--", label="low-res")
            axes.legend(fontsize=7, frameon=False)
        _label(axes, "PSNR (dB)" if name == SCORE else name.replace("_", " "))
    return figure


def _label(axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize=9, loc="left")
    axes.set_xlabel(EPOCH, fontsize=7, color=_QUIET)
    axes.tick_params(labelsize=7, colors=_QUIET)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.spines[["top", "right"]].set_visible(False)


def _numbers(metrics: Mapping[str, object]) -> dict[str, float]:
    return {name: float(value) for name, value in metrics.items() if isinstance(value, (int, float))}
