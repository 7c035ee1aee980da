# SPDX-License-Identifier: Apache-2.0
"""Trained weights and the record beside them, which says what they were trained for."""

import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from ignite.engine import Engine, Events
from torch import nn

from bundle.errors import InputError

logger = logging.getLogger(__name__)

CKPT_PATH: Final = "ckpt_path"
"""The key of evaluation and inference that names the weights."""


class GeneratorLoader:
    """Load a trained generator's weights when an engine starts, and check that they belong here.

    Args:
        path: the generator's state_dict, as :class:`TrainingCheckpoint` writes it; ``None`` for a method without
            weights.
        network: the generator that takes the weights.
        expected: settings that must equal those in the training record, where the weights have one.
        unseen: cases that are to be scored; a warning names those that the weights were trained on.
        option: what the user calls ``path``.
        compared: settings that may differ from those in the training record; a warning names those that do.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None,
        network: nn.Module,
        expected: Mapping[str, Any],
        unseen: Sequence[str] = (),
        option: str = CKPT_PATH,
        compared: Mapping[str, Any] | None = None,
    ) -> None:
        self.path = path
        self.network = network
        self.expected = dict(expected)
        self.unseen = set(unseen)
        self.option = option
        self.compared = dict(compared or {})

    def attach(self, engine: Engine) -> None:
        """Load at the start of the run."""
        engine.add_event_handler(Events.STARTED, self.load)

    def load(self, _: Engine | None = None) -> None:
        """Load the weights.

        Raises:
            InputError: if the file is missing, unreadable, of another architecture or for another task.
        """
        record = check_weights(self.path, self.expected, self.option)
        if self.path is None:
            if any(True for _ in self.network.parameters()):
                raise InputError(f"this network has weights to be loaded; give --{self.option} FILE instead of null.")
            return
        if differing := _differing(record, self.compared):
            what = ", ".join(f"{key} {trained}, not {wanted}" for key, (trained, wanted) in differing.items())
            logger.warning("%s was trained with %s.", self.path, what)
        if seen := sorted(self.unseen & set(record.get("train_cases", []))):
            logger.warning("%s was trained on %s: their scores say nothing about new subjects.", self.path, seen)
        weights = load_file(self.path, f"give another --{self.option}")
        try:
            self.network.load_state_dict(weights)
        except (RuntimeError, TypeError, AttributeError) as error:
            reason = " ".join(str(error).split())[:160]
            raise InputError(
                f"{self.path}: these weights are of another architecture than the configured generator ({reason}); "
                "give the settings they were trained with (fusion, levels, residual, bias ...) or another "
                f"--{self.option}."
            ) from error


def check_weights(
    path: str | os.PathLike[str] | None, expected: Mapping[str, Any], option: str = CKPT_PATH
) -> dict[str, Any]:
    """Check that weights are there and, by their training record, that they were trained for this.

    Args:
        path: file of the weights; ``None`` for a method without any, which has nothing to be checked.
        expected: settings by name; one that is ``None`` is not known and not compared.
        option: what the user calls ``path``.

    Returns:
        The training record; empty, with a warning, where the weights have none.

    Raises:
        InputError: if the weights are missing or were trained for something else.
    """
    if path is None:
        return {}
    weights = Path(path).expanduser()
    if not weights.is_file():
        remedy = "train first, or " if option == CKPT_PATH else ""
        raise InputError(f"{weights}: there are no weights here; {remedy}give --{option} FILE.")
    file = record_path(weights)
    if not file.is_file():
        logger.warning("%s: no training record beside the weights; cannot check what they were trained for.", file)
        return {}
    try:
        record = dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{file}: this training record is damaged; restore it, or move it away.") from error
    if differing := _differing(record, expected):
        what = ", ".join(f"{key} {trained}, not {wanted}" for key, (trained, wanted) in differing.items())
        remedy = " ".join(f"--{key} {trained}" for key, (trained, _) in differing.items())
        raise InputError(f"{weights}: these weights were trained with {what}; give {remedy} or other weights.")
    return record


def _differing(record: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the recorded and the given value of each setting in which they differ, as far as both are known."""
    asked = {key: value for key, value in settings.items() if value is not None and record.get(key) is not None}
    return {key: (record[key], value) for key, value in asked.items() if record[key] != value}


def cases_seen(cases: Sequence[str], initial_weights: str | os.PathLike[str] | None) -> list[str]:
    """Return the cases that weights have seen after training: these, and those of the weights it starts from.

    Args:
        cases: names of the cases to train on.
        initial_weights: file of the weights to start from, or ``None``.
    """
    return list(dict.fromkeys([*cases, *recorded_settings(initial_weights).get("train_cases", [])]))


def recorded_settings(path: str | os.PathLike[str] | None) -> dict[str, Any]:
    """Return the settings that weights were trained with, for configs to follow them.

    Args:
        path: file of the weights, or ``None``.

    Returns:
        The training record; empty where there is none or it is damaged, which :func:`check_weights` reports.
    """
    if path is None:
        return {}
    file = record_path(Path(path).expanduser())
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def weights_at_hand(path: str | os.PathLike[str] | None) -> dict[str, dict[str, Any]]:
    """Return the training records of other weights in the folder of some weights.

    Args:
        path: file of the weights, or ``None``.

    Returns:
        The records by file name, of those that can be read.
    """
    if path is None:
        return {}
    own = Path(path).expanduser()
    others = (file for file in sorted(own.parent.glob("*.pt")) if file.name != own.name)
    return {file.name: record for file in others if (record := recorded_settings(file))}


def single_contrast_weights(folder: str | os.PathLike[str], factor: Any) -> str | None:
    """Return the weights in a folder that need no reference.

    Args:
        folder: holds weights, each with its training record.
        factor: that they must have been trained for.

    Returns:
        Path of the file; ``None`` where there is none, or several.
    """
    records = {file: recorded_settings(file) for file in sorted(Path(folder).glob("*.pt"))}
    fitting = [
        file for file, record in records.items() if (record.get("fusion"), record.get("factor")) == ("none", factor)
    ]
    return str(fitting[0]) if len(fitting) == 1 else None


def record_path(model_path: Path) -> Path:
    """Return where the training record of a file of weights is."""
    return model_path.with_suffix(".json")


def load_file(path: str | os.PathLike[str], remedy: str) -> Any:
    """Read a file of tensors and plain values, and nothing else: it cannot run code.

    Args:
        path: of the file.
        remedy: what to do where it cannot be read.

    Raises:
        InputError: if it is damaged or of another kind.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged archive fails in many ways
        raise InputError(
            f"{path}: cannot be read as weights; the file is damaged or of another kind: {remedy}."
        ) from error
