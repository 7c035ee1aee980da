# SPDX-License-Identifier: Apache-2.0
"""Trained weights: read as tensors and nothing else, and held against the record beside them."""

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events
from torch import nn

from bundle.errors import InputError
from bundle.pseudonyms import recognised
from bundle.settings import IMAGES, STRUCTURE, ModelSettings, TrainingRecord, differing, read_record, record_path
from bundle.tensor_files import load_tensors

logger = logging.getLogger(__name__)


@dataclass(eq=False)
class GeneratorLoader:
    """Load a trained generator's weights when an engine starts, and check that they belong here."""

    path: str | os.PathLike[str] | None  # of the generator's state_dict; None for a method without weights
    network: nn.Module
    model: ModelSettings | None = None  # must equal the training record, where there is one; None is not compared
    reference_contrast: str | None = None  # of the references at hand, likewise
    unseen: Iterable[str] = ()  # cases to be scored; a warning names those that the weights were trained on
    fine_tuning: bool = False  # only the structure must be equal; of changed low-res or reference a warning tells

    def __post_init__(self) -> None:
        self.model = self.model and replace(self.model, architecture=type(self.network).__name__)
        self.option = "initial_weights" if self.fine_tuning else "ckpt_path"

    def attach(self, engine: Engine) -> None:
        """Load at the start of the run."""
        engine.add_event_handler(Events.STARTED, self.load)

    def load(self, _: Engine | None = None) -> None:
        """Load the weights; ``InputError`` if they are missing, damaged, or of another architecture or task."""
        record = self.check()
        if self.path is None:
            if any(True for _ in self.network.parameters()):
                raise InputError(f"this network has weights to be loaded; give --{self.option} FILE instead of null.")
            return
        if seen := recognised(self.unseen, record.train_cases if record else []):
            logger.warning("%s was trained on %s: their scores say nothing about new subjects.", self.path, seen)
        weights = load_tensors(self.path, f"give another --{self.option}", record.weights_sha256 if record else None)
        if self.fine_tuning:  # what may be added later starts anew
            own, may_be_new = self.network.state_dict(), tuple(getattr(self.network, "may_be_new", ()))
            weights |= {name: own[name] for name in own.keys() - weights.keys() if name.startswith(may_be_new)}
        try:
            self.network.load_state_dict(weights)
        except (RuntimeError, TypeError, AttributeError) as error:
            reason = " ".join(str(error).split())[:160]
            raise InputError(
                f"{self.path}: these weights are of another architecture than the configured generator ({reason}); "
                "give the settings they were trained with (fusion, levels, residual, bias ...) or another "
                f"--{self.option}."
            ) from error
        # by what the file holds, since loading turns numbers of one kind into another
        read = [weights[name] for name, own in self.network.state_dict().items() if own.is_floating_point()]
        if not all(tensor.is_floating_point() and tensor.isfinite().all() for tensor in read):
            raise InputError(f"{self.path}: not all of these weights are finite numbers; give another --{self.option}.")

    def expected(self) -> dict[str, Any]:
        """Return what the weights must have been trained for, as JSON values."""
        return (asdict(self.model) if self.model else {}) | {"reference_contrast": self.reference_contrast}

    def check(self) -> TrainingRecord | None:
        """Return the weights' record, if any; ``InputError`` where they are missing or trained for something else."""
        if self.path is None:
            return None
        weights = Path(self.path).expanduser()
        if not weights.is_file():
            remedy = "" if self.fine_tuning else "train first, or "
            raise InputError(f"{weights}: there are no weights here; {remedy}give --{self.option} FILE.")
        record = read_record(weights)
        if record is None:
            file = record_path(weights)
            logger.warning("%s: no training record beside the weights; cannot check what they were trained for.", file)
        else:
            self._compare(record)
        return record

    def _compare(self, record: TrainingRecord) -> None:
        """Refuse weights that were trained for something else; of what may be learnt anew, warn."""
        compared = [key for key in vars(record.model) if key != "factor" or not record.model.any_factor]
        found = differing(record.model, self.model, compared) if self.model else {}
        contrasts = (record.reference_contrast, self.reference_contrast)
        if None not in contrasts and contrasts[0] != contrasts[1]:
            found["reference_contrast"] = contrasts
        if self.fine_tuning:
            if changed := {key: found[key] for key in (*IMAGES, "reference_contrast") if key in found}:
                logger.warning("%s was trained with %s.", self.path, in_words(changed))
            found = {key: found[key] for key in STRUCTURE if key in found}
        if found:
            remedy = " ".join(f"--{key} {trained}" for key, (trained, _) in found.items())
            raise InputError(
                f"{self.path}: these weights were trained with {in_words(found)}; give {remedy} or other weights."
            )


def in_words(found: Mapping[Any, Sequence[Any]]) -> str:
    """Write settings that differ, as :func:`bundle.settings.differing` returns them."""
    return ", ".join(f"{key} {trained}, not {wanted}" for key, (trained, wanted) in found.items())
