# SPDX-License-Identifier: Apache-2.0
"""Train and evaluate what a study compares, one process after the other, and never the same thing twice."""

import hashlib
import json
import logging
import platform
import shlex
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
import yaml

from bundle.engines import supports_bfloat16
from bundle.errors import InputError
from bundle.files import atomic_path, writable_folder
from bundle.keys import IMAGE, REFERENCE
from bundle.studies.plan import Row
from bundle.studies.stage_process import run_in_subprocess

logger = logging.getLogger(__name__)

Stage = Literal["training", "evaluating"]
CONFIGS: Mapping[Stage, str] = {"training": "train.yaml", "evaluating": "evaluate.yaml"}
RESULTS: Mapping[Stage, str] = {"training": "model.pt", "evaluating": "evaluation/slices.csv"}


@dataclass(frozen=True)
class Settings:
    """What all rows of a study share.

    Attributes:
        bundle_root: folder that holds ``configs``.
        output_dir: folder of the runs, one for each data set and scale.
        scale: name of a file in ``configs/scales``, laid over train.yaml before the variant.
        training: keys given to every training, such as ``dataset_dir`` and ``seed``.
        evaluating: keys given to every evaluation.
        n_folds: folds of the cross-validation, ``None`` without.
        data: what the runs depend on beside their settings, see :func:`data_fingerprint`.
    """

    bundle_root: Path
    output_dir: Path
    scale: str
    training: Mapping[str, Any] = field(default_factory=dict)
    evaluating: Mapping[str, Any] = field(default_factory=dict)
    n_folds: int | None = None
    data: str = ""


class StudyRunner:
    """Bring every row of a study to its scores.

    A stage that was finished with the same settings, on the same data and split, is skipped; an evaluation also
    belongs to the training before it. An interrupted training goes on where its last checkpoint left it. A row
    that fails is named and does not stop the others.

    Args:
        settings: what all rows share.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.seconds: list[float] = []

    def run(self, rows: Sequence[Row]) -> dict[str, str]:
        """Run all rows, each run once.

        Returns:
            What failed: a sentence by the name of the run.
        """
        runs: dict[str, Row] = {}
        for row in rows:
            runs.setdefault(row.run, row)
        stages: Mapping[bool, Sequence[Stage]] = {True: ("training", "evaluating"), False: ("evaluating",)}
        steps = [
            (row, fold, stage) for row in runs.values() for fold in self.folders(row) for stage in stages[row.train]
        ]
        failed: dict[str, str] = {}
        for number, (row, fold, stage) in enumerate(steps):
            name = row.label if fold is None else f"{row.label}, fold {fold}"
            logger.info("[%d/%d] %s: %s%s", number + 1, len(steps), name, stage, self._time_left(len(steps) - number))
            if row.run in failed:
                continue
            try:
                self._stage(row, fold, stage)
            except InputError as error:
                failed[row.run] = str(error)
                logger.error("%s: %s", row.label, error)
        return failed

    def folders(self, row: Row) -> dict[int | None, Path]:
        """Return the folder of each fold's run; of a single nameless one without cross-validation."""
        base, n_folds = self.settings.output_dir / row.run, self.settings.n_folds
        return {fold: base / f"fold_{fold}" for fold in range(n_folds)} if n_folds else {None: base}

    def _time_left(self, n_steps: int) -> str:
        """Return an estimate for the steps that are left, at the mean duration of those that have run."""
        minutes = statistics.fmean(self.seconds or [0]) * n_steps / 60
        return f" (about {minutes:.0f} min left, if all steps take alike)" if self.seconds else ""

    def _stage(self, row: Row, fold: int | None, stage: Stage) -> None:
        """Run one stage, unless it was finished with the same settings."""
        folder = self.folders(row)[fold]
        arguments = self._arguments(row, fold, stage)
        fingerprint = self._fingerprint(row, stage, arguments, folder)
        if read_finished(folder, stage).get("settings") == fingerprint and (folder / RESULTS[stage]).is_file():
            logger.info("%s: %s is done.", folder, stage)
            return
        seconds = run_in_subprocess(self.settings.bundle_root, stage, arguments, writable_folder(folder))
        self.seconds.append(seconds)
        content = {
            "settings": fingerprint,
            "seconds": round(seconds, 1),
            "command": " ".join(["python -m monai.bundle run", stage, *map(shlex.quote, arguments)]),
            "hardware": _hardware(),
            "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        }
        with atomic_path(_done(folder, stage)) as temporary:
            temporary.write_text(json.dumps(content, indent=2) + "\n")

    def _arguments(self, row: Row, fold: int | None, stage: Stage) -> list[str]:
        """Return the command line of a stage, after ``monai.bundle run training``."""
        folder, variant = str(self.folders(row)[fold]), self._variant(row)
        files = [f"configs/{CONFIGS[stage]}"]
        if stage == "training":
            files += [f"configs/scales/{self.settings.scale}.yaml", f"configs/{row.file}"]
            given = {**self.settings.training, **row.settings, "output_dir": folder}
            if twice := sorted((set(self.settings.training) - {"seed"}) & set(variant)):
                raise InputError(f"{', '.join(twice)} tells the rows apart; leave it out of training_settings.")
        else:
            base = self._config(CONFIGS[stage])
            known = {key: value for key, value in variant.items() if key in base}
            given = {**self.settings.evaluating, **known, "training_dir": folder}
            given |= {} if row.train else {"ckpt_path": None}
        given |= {} if fold is None else {"fold": fold}
        flags = [part for key, value in given.items() for part in (f"--{key}", _as_flag(value))]
        return ["--config_file", repr(files) if len(files) > 1 else files[0], *flags]

    def _config(self, name: str) -> dict[str, Any]:
        return dict(yaml.safe_load((self.settings.bundle_root / "configs" / name).read_text()))

    def _variant(self, row: Row) -> dict[str, Any]:
        """Return the settings that make a row what it is."""
        return {**self._config(row.file), **row.settings}

    def _fingerprint(self, row: Row, stage: Stage, arguments: Sequence[str], folder: Path) -> str:
        """Return a hash that changes with the command, the configs, the data and, for an evaluation, the training."""
        names = ["inference.yaml", CONFIGS[stage]]  # inference.yaml defines network and preprocessing of all
        names += [f"scales/{self.settings.scale}.yaml"] if stage == "training" else []
        content: list[Any] = [self._config(name) for name in names]
        content += [self._variant(row), list(arguments), self.settings.data]
        content += [read_finished(folder, "training").get("finished")] if stage == "evaluating" else []
        return _hash(content)


def read_finished(folder: Path, stage: Stage) -> dict[str, Any]:
    """Return what a stage left when it was finished: settings, seconds, command, hardware; empty before."""
    try:
        return dict(json.loads(_done(folder, stage).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def data_fingerprint(pairs: Sequence[Mapping[str, str]], splits: Mapping[str, Sequence[Mapping[str, str]]]) -> str:
    """Return a hash that changes with the files of a data set, their sizes and times, and with the split."""
    files = [Path(pair[key]) for pair in pairs for key in (IMAGE, REFERENCE)]
    stats = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.is_file()]
    return _hash([stats, splits])


def _done(folder: Path, stage: Stage) -> Path:
    return folder / f"{stage}.done.json"


def _hash(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _as_flag(value: Any) -> str:
    """Return a value as MONAI's command line reads it."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return value if isinstance(value, str) else repr(value)


def _hardware() -> str:
    """Return the GPU's name, or the processor's with PyTorch's number of threads; and the networks' precision."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    precision = "bfloat16" if supports_bfloat16(device) else "float32"
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name()}, {precision}"
    about = Path("/proc/cpuinfo")  # of Linux
    lines = about.read_text().splitlines() if about.is_file() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    processor = models[0] if models else platform.processor() or platform.machine()
    return f"{processor}, {torch.get_num_threads()} threads, {precision}"
