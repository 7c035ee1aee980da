# SPDX-License-Identifier: Apache-2.0
"""What surrounds the training step: batches for validation, progress on the screen, the run itself."""

import dataclasses
import os
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
from bundle.keys import CASE, HIGH_RES, IMAGE, LOW_RES, PRED, Pair
from bundle.settings import ModelSettings, Recipe, TrainingRecord, cases_seen


def prepare_batch(
    batch: Mapping[str, Tensor], device: torch.device | str | None = None, non_blocking: bool = False, **_: Any
) -> tuple[Tensor, Tensor | None]:
    """Return ``image`` (N, 2, H, W, D) and, but in inference, ``high_res`` (N, 1, H, W, D), for MONAI's evaluators."""
    high_res = batch.get(HIGH_RES)
    image = batch[IMAGE].to(device=device, non_blocking=non_blocking)
    return image, None if high_res is None else high_res.to(device=device, non_blocking=non_blocking)


def middle_slices_of_batch(batch: Sequence[Mapping[str, Tensor]]) -> tuple[list[Tensor], list[Tensor]]:
    """Return the middle slice of each low-res and each high-res volume, (1, H, W), for TensorBoard."""
    return _middle(batch, LOW_RES), _middle(batch, HIGH_RES)


def middle_slices_of_output(output: Sequence[Mapping[str, Tensor]]) -> list[Tensor]:
    """Return the middle slice of each super-res volume, (1, H, W), clipped to [0, 1], for TensorBoard."""
    return [image.nan_to_num().clamp(0, 1) for image in _middle(output, PRED)]


def _middle(items: Sequence[Mapping[str, Tensor]], key: str) -> list[Tensor]:
    return [item[key][..., item[key].shape[-1] // 2].detach().float().cpu() for item in items]


class StopOnNan(TerminateOnNan):
    """Stop the engine at the first loss that is NaN or infinite; ignite's handler in MONAI's form."""

    def attach(self, engine: Engine) -> None:
        """Look at the losses after every iteration."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)


class LossProgress(ProgressBar):
    """A progress bar over the iterations of an epoch that shows the latest losses."""

    def attach(self, engine: Engine, *_: Any, **__: Any) -> None:
        """Show whatever the engine's step returns."""
        super().attach(engine, output_transform=lambda output: {name: f"{value:.3g}" for name, value in output.items()})


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
