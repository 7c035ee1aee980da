# SPDX-License-Identifier: Apache-2.0
"""What surrounds the training step: batches for validation, progress on the screen, the run itself."""

import dataclasses
import logging
import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from ignite.engine import Engine, Events
from ignite.handlers import ProgressBar, TerminateOnNan
from monai.engines import Trainer
from torch import Tensor, nn

from bundle.data import contrast_of
from bundle.errors import InputError
from bundle.files import sha256
from bundle.keys import CASE, HIGH_RES, IMAGE, LOW_RES, PRED, REFERENCE, Pair
from bundle.reports.duration import duration
from bundle.settings import ModelSettings, Recipe, TrainingRecord, cases_seen

logger = logging.getLogger(__name__)


def prepare_batch(
    batch: Mapping[str, Tensor], device: torch.device | str | None = None, non_blocking: bool = False, **_: Any
) -> tuple[Tensor, Tensor | None]:
    """Return ``image`` (N, 2, H, W, D) and, but in inference, ``high_res`` (N, 1, H, W, D), for MONAI's evaluators."""
    high_res = batch.get(HIGH_RES)
    image = batch[IMAGE].to(device=device, non_blocking=non_blocking)
    return image, None if high_res is None else high_res.to(device=device, non_blocking=non_blocking)


def low_res_and_label(output: Sequence[Mapping[str, Tensor]]) -> tuple[list[Tensor], list[Tensor]]:
    """Return the low-res (1, H, W, D) that each case had, and its high-res, for a metric of a validation."""
    return [item["image"][:1] for item in output], [item["label"] for item in output]


class ValidationImages:
    """Put the middle slice of the last case of a validation into TensorBoard, each image under its own name."""

    def __init__(self, writer: Any) -> None:
        self.writer = writer  # torch.utils.tensorboard.SummaryWriter

    def attach(self, engine: Engine) -> None:
        """Write after every validation."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.write)

    def write(self, engine: Engine) -> None:
        """Write images clipped to [0, 1]."""
        item, output = engine.state.batch[-1], engine.state.output[-1]
        volumes = {"low-res": item[LOW_RES], "super-res": output[PRED], "high-res": item[HIGH_RES]}
        for name, volume in {**volumes, "reference": item[REFERENCE]}.items():
            middle = volume[..., volume.shape[-1] // 2].detach().float().cpu().nan_to_num().clamp(0, 1)
            self.writer.add_image(name, middle, engine.state.epoch)


class StopOnNan(TerminateOnNan):
    """Stop the engine at the first loss that is NaN or infinite; ignite's handler in MONAI's form."""

    def attach(self, engine: Engine) -> None:
        """Look at the losses after every iteration."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)


class LossProgress(ProgressBar):
    """A bar over the iterations of an epoch with the latest losses; where no terminal shows it, a line an epoch."""

    def attach(self, engine: Engine, *_: Any, **__: Any) -> None:
        """Show whatever the engine's step returns."""
        if sys.stderr.isatty():
            super().attach(engine, output_transform=_rounded)
        else:
            engine.add_event_handler(Events.STARTED, self._start)
            engine.add_event_handler(Events.EPOCH_COMPLETED, self._tell)

    def _start(self, engine: Engine) -> None:
        self._begun, self._done = time.monotonic(), engine.state.epoch

    def _tell(self, engine: Engine) -> None:
        epoch, last = engine.state.epoch, engine.state.max_epochs
        rest = (time.monotonic() - self._begun) / max(epoch - self._done, 1) * (last - epoch)
        losses = ", ".join(f"{name} {value}" for name, value in _rounded(engine.state.output).items())
        left = f"; about {duration(rest)} left" if rest else ""
        logger.info("epoch %d of %d: %s%s", epoch, last, losses, left)


def _rounded(output: Mapping[str, float]) -> dict[str, str]:
    return {name: f"{value:.3g}" for name, value in output.items()}


def training_record(
    network: nn.Module,
    model: ModelSettings,
    recipe: Recipe,
    pairs: Sequence[Pair],
    train_pairs: Sequence[Pair],
    initial_weights: str | os.PathLike[str] | None = None,
    seen: Mapping[str, Any] | None = None,
) -> TrainingRecord:
    """Return the record of a training that goes on from ``initial_weights``, or starts anew.

    Of ``network``, which a user may have given, the kind is recorded; of all ``pairs``, the contrast of their
    references, where the network takes one; of ``train_pairs``, the cases and what they look like (``seen``).
    """
    return TrainingRecord(
        model=dataclasses.replace(model, architecture=type(network).__name__),
        recipe=recipe,
        reference_contrast=None if model.fusion == "none" else contrast_of(pairs),
        initial_weights=sha256(initial_weights),
        train_cases=cases_seen([pair[CASE] for pair in train_pairs], initial_weights),
        seen=dict(seen or {}),
    )


def run_training(trainer: Trainer) -> None:
    """Train; ``InputError`` where a loss became NaN or infinite, with the last good checkpoint kept."""
    trainer.run()
    if trainer.should_terminate:
        raise InputError(
            f"training diverged: a loss was NaN or infinite at iteration {trainer.state.iteration}; the last good "
            "checkpoint is kept, so give a smaller --learning_rate and another --output_dir."
        )
