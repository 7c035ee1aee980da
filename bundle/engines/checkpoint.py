# SPDX-License-Identifier: Apache-2.0
"""Checkpoints that make a resumed run equal, bit for bit, to one that was never stopped."""

import json
import logging
import os
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from torch import nn

from bundle.errors import InputError
from bundle.files import atomic_path, remove_leftovers, sha256
from bundle.parallel import is_first
from bundle.settings import TrainingRecord, record_path, recorded
from bundle.tensor_files import load_tensors

logger = logging.getLogger(__name__)


@dataclass(eq=False)
class TrainingCheckpoint:
    """Store all that training depends on, and with ``resume`` start from it when it is there.

    Attach it after every handler that changes a stored object, such as learning rate schedules. For inference it also
    writes the state_dict of ``kept_network``, the generator or its average, with the record as JSON under the same
    name. A checkpoint of another record is refused.
    """

    path: str | os.PathLike[str]
    model_path: str | os.PathLike[str]
    kept_network: nn.Module
    objects: Mapping[str, Any]  # networks, optimizers, schedules and streams; those that are None are left out
    record: TrainingRecord
    interval: int = 500  # iterations between checkpoints, besides those at the end of each epoch
    resume: bool = True

    def __post_init__(self) -> None:
        self.objects = {name: thing for name, thing in self.objects.items() if thing is not None}
        if self.interval < 1:
            raise InputError(f"the interval between checkpoints is {self.interval}; give 1 iteration or more.")

    def attach(self, engine: Engine) -> None:
        """Restore when the engine starts; save as it goes."""
        engine.add_event_handler(Events.STARTED, self.restore)
        engine.add_event_handler(Events.ITERATION_COMPLETED(every=self.interval) | Events.EPOCH_COMPLETED, self.save)

    def save(self, engine: Engine) -> None:
        """Write checkpoint, weights and record, each whole or not at all; not after a divergence."""
        if engine.should_terminate:
            return
        networks = [thing for thing in self.objects.values() if isinstance(thing, nn.Module)]
        # a loss shows a divergence one update late
        if not all(bool(torch.isfinite(p).all()) for network in networks for p in network.parameters()):
            engine.terminate()
        elif is_first():  # all processes hold the same
            self._write(engine)

    def _write(self, engine: Engine) -> None:
        state = {
            "iteration": engine.state.iteration,
            "epoch_length": engine.state.epoch_length,
            "max_epochs": engine.state.max_epochs,
            "record": self.record.to_json(),
            "objects": {name: thing.state_dict() for name, thing in self.objects.items()},
            "random": _random_states(),
        }
        _save(state, self.path)
        self._write_weights(engine)

    def _write_weights(self, engine: Engine) -> None:
        checksum = _save(self.kept_network.state_dict(), self.model_path)
        progress = {"iterations": engine.state.iteration, "epochs": engine.state.epoch, "weights_sha256": checksum}
        with atomic_path(record_path(self.model_path)) as temporary:
            temporary.write_text(json.dumps({**self.record.to_json(), **progress}, indent=2) + "\n")

    def restore(self, engine: Engine) -> None:
        """Load the checkpoint, if there is one, and bring the weights up to it that a kill has left one save behind.

        ``InputError`` where it is damaged or of other settings, and without one if training would write over the
        weights that it goes on from. What killed trainings have left half-written is removed.
        """
        if is_first():
            remove_leftovers(Path(self.path).parent)
        if not (self.resume and Path(self.path).is_file()):
            self._require_other_start()
            return
        state = load_tensors(self.path, "start anew with --resume false")
        try:
            self._check_record(state, engine)
            for name, thing in self.objects.items():
                thing.load_state_dict(state["objects"][name])
            _set_random_states(state["random"])
        except (KeyError, TypeError, RuntimeError) as error:
            raise InputError(
                f"{self.path}: this is not a checkpoint of this trainer ({error}); move it away."
            ) from error
        engine.state.iteration = state["iteration"]
        engine.state.epoch = state["iteration"] // state["epoch_length"]
        if is_first() and not self._is_written(engine):
            self._write_weights(engine)
        if engine.state.epoch >= engine.state.max_epochs:
            logger.info("%s: all %d epochs are done; raise max_epochs to go on.", self.path, engine.state.max_epochs)
        else:
            logger.info("%s: going on after iteration %d.", self.path, engine.state.iteration)

    def _require_other_start(self) -> None:
        start = self.record.initial_weights
        if start is not None and start == sha256(self.model_path):
            raise InputError(
                f"{self.model_path}: training would write over these weights, which it goes on from; "
                "give another --output_dir."
            )

    def _is_written(self, engine: Engine) -> bool:
        """Tell whether weights and record are those of the checkpoint."""
        beside = recorded(self.model_path)
        checksum = sha256(self.model_path)
        return checksum == beside.weights_sha256 and beside.about.get("iterations") == engine.state.iteration

    def _check_record(self, stored: Mapping[str, Any], engine: Engine) -> None:
        found = self.record.differences(TrainingRecord.from_json(stored["record"]))
        length, planned = engine.state.epoch_length, engine.state.max_epochs
        if stored["epoch_length"] != length:
            found["iterations in an epoch"] = (length, stored["epoch_length"])
        if not found:
            return
        words = ", ".join(f"{key} {before} -> {now}" for key, (now, before) in found.items())
        if stored.get("max_epochs", planned) != planned:  # older versions do not tell
            words = f"max_epochs {stored['max_epochs']} -> {planned}, and so perhaps {words}"
        raise InputError(
            f"{self.path}: this checkpoint was made with other settings ({words}); "
            "give another --output_dir, or start anew with --resume false."
        )


def _save(content: Any, path: str | os.PathLike[str]) -> str | None:
    """Write tensors, whole or not at all, and return the file's checksum."""
    with atomic_path(path) as temporary:
        with temporary.open("wb") as stream:  # by name, the file would hold its name
            torch.save(content, stream)
        return sha256(temporary)


def _random_states() -> dict[str, Any]:
    kind, keys, *rest = np.random.get_state()
    version, internal, gauss_next = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [str(kind), torch.from_numpy(np.asarray(keys, dtype=np.int64)), *rest],
        "python": [version, list(internal), gauss_next],
    }


def _set_random_states(states: Mapping[str, Any]) -> None:
    torch.set_rng_state(states["torch"])
    if torch.cuda.is_available() and states["cuda"]:
        torch.cuda.set_rng_state_all(states["cuda"])
    kind, keys, *rest = states["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))
    version, internal, gauss_next = states["python"]
    random.setstate((version, tuple(internal), gauss_next))
