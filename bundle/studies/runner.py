# SPDX-License-Identifier: Apache-2.0
"""Train and evaluate what a study compares, one process after the other, and never the same thing twice."""

import hashlib
import json
import logging
import os
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from bundle.errors import InputError
from bundle.files import atomic_path, writable_folder
from bundle.studies.hardware import describe_hardware
from bundle.studies.plan import Row

logger = logging.getLogger(__name__)

Stage = Literal["training", "evaluating"]
CONFIGS: Mapping[Stage, str] = {"training": "train.yaml", "evaluating": "evaluate.yaml"}


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
    """

    bundle_root: Path
    output_dir: Path
    scale: str
    training: Mapping[str, Any] = field(default_factory=dict)
    evaluating: Mapping[str, Any] = field(default_factory=dict)
    n_folds: int | None = None

    @property
    def folds(self) -> Sequence[int | None]:
        """The folds to run; a single nameless one without cross-validation."""
        return range(self.n_folds) if self.n_folds else (None,)


class StudyRunner:
    """Bring every row of a study to its scores.

    A stage that was finished with the same settings is skipped; an interrupted training goes on where its last
    checkpoint left it. A row that fails is named and does not stop the others.

    Args:
        settings: what all rows share.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.seconds: list[float] = []

    def run(self, rows: Sequence[Row]) -> dict[str, str]:
        """Run all rows, each run once.

        Returns:
            What failed: a sentence by the row's label.
        """
        steps = [(row, fold, stage) for row, fold in self._runs(rows) for stage in _stages(row)]
        failed: dict[str, str] = {}
        for number, (row, fold, stage) in enumerate(steps):
            name = row.label if fold is None else f"{row.label}, fold {fold}"
            logger.info("[%d/%d] %s: %s%s", number + 1, len(steps), name, stage, self._time_left(len(steps) - number))
            if row.label in failed:
                continue
            try:
                self._stage(row, fold, stage)
            except InputError as error:
                failed[row.label] = str(error)
                logger.error("%s: %s", row.label, error)
        return failed

    def folders(self, row: Row) -> list[Path]:
        """Return the folders of a row's runs, one for each fold."""
        base = self.settings.output_dir / row.run
        return [base if fold is None else base / f"fold_{fold}" for fold in self.settings.folds]

    def _runs(self, rows: Sequence[Row]) -> list[tuple[Row, int | None]]:
        """Return every run once, in the order of the rows."""
        unique = {row.run: row for row in reversed(rows)}
        ordered = [row for row in rows if unique[row.run] is row]
        return [(row, fold) for row in ordered for fold in self.settings.folds]

    def _time_left(self, n_steps: int) -> str:
        """Return an estimate for the steps that are left, at the mean duration of those that have run."""
        if not self.seconds:
            return ""
        return f" (about {statistics.fmean(self.seconds) * n_steps / 60:.0f} min left, if all steps take alike)"

    def _stage(self, row: Row, fold: int | None, stage: Stage) -> None:
        """Run one stage, unless it was finished with the same settings."""
        folder = self.folders(row)[list(self.settings.folds).index(fold)]
        arguments = self._arguments(row, fold, stage, folder)
        done, fingerprint = folder / f"{stage}.done.json", self._fingerprint(arguments)
        if _read(done).get("settings") == fingerprint:
            logger.info("%s: %s is done.", folder, stage)
            return
        seconds = _call(self.settings.bundle_root, stage, arguments, writable_folder(folder) / f"{stage}.log")
        self.seconds.append(seconds)
        command = " ".join(["python -m monai.bundle run", stage, *map(shlex.quote, arguments)])
        with atomic_path(done) as temporary:
            content = {"settings": fingerprint, "seconds": round(seconds, 1), "command": command}
            content["hardware"] = describe_hardware()
            temporary.write_text(json.dumps(content, indent=2) + "\n")

    def _arguments(self, row: Row, fold: int | None, stage: Stage, folder: Path) -> list[str]:
        """Return the command line of a stage, after ``monai.bundle run training``."""
        configs = self.settings.bundle_root / "configs"
        files = [configs / CONFIGS[stage]]
        given = {**(self.settings.training if stage == "training" else self.settings.evaluating), "fold": fold}
        if stage == "training":
            files += [configs / "scales" / f"{self.settings.scale}.yaml", configs / row.file]
            given |= {**row.settings, "output_dir": str(folder)}
        else:
            given |= {"training_dir": str(folder), **self._known_to_evaluation(row)}
            given |= {} if row.train else {"ckpt_path": None}
        names = [str(file.relative_to(self.settings.bundle_root)) for file in files]
        flags = [part for key, value in given.items() if value is not None or key == "ckpt_path"
                 for part in (f"--{key}", _as_flag(value))]  # fmt: skip
        return ["--config_file", repr(names) if len(names) > 1 else names[0], *flags]

    def _known_to_evaluation(self, row: Row) -> dict[str, Any]:
        """Return the settings of a variant that the evaluation has too and cannot read from the weights."""
        configs = self.settings.bundle_root / "configs"
        variant = yaml.safe_load((configs / row.file).read_text()) | dict(row.settings)
        base = yaml.safe_load((configs / "evaluate.yaml").read_text())
        return {key: value for key, value in variant.items() if key in base}

    def _fingerprint(self, arguments: Sequence[str]) -> str:
        """Return a hash that changes with the command and with the files it names."""
        names = yaml.safe_load(arguments[1].replace("'", '"')) if arguments[1].startswith("[") else [arguments[1]]
        content = [*arguments, *((self.settings.bundle_root / name).read_text() for name in names)]
        return hashlib.sha256("\0".join(content).encode()).hexdigest()[:16]


def _stages(row: Row) -> tuple[Stage, ...]:
    return ("training", "evaluating") if row.train else ("evaluating",)


def _call(root: Path, stage: Stage, arguments: Sequence[str], log: Path) -> float:
    """Run a stage as users do, its output on the screen and in a log; return the seconds it took.

    Raises:
        InputError: if it fails; with the last line it wrote.
    """
    start = time.monotonic()
    command = [sys.executable, "-W", "ignore", "-m", "monai.bundle", "run", stage, *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with log.open("wb") as stream, subprocess.Popen(command, cwd=root, **pipes) as process:  # type: ignore[call-overload]
        try:
            while part := os.read(process.stdout.fileno(), 4096):  # as it comes: progress bars rewrite their line
                stream.write(part)
                sys.stderr.write(part.decode(errors="replace"))
                sys.stderr.flush()
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
        reason = lines[-1].removeprefix("error: ") if lines else f"exit status {process.returncode}"
        raise InputError(f"{stage} failed: {reason} (log: {log})")
    return time.monotonic() - start


def _as_flag(value: Any) -> str:
    """Return a value as MONAI's command line reads it."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return value if isinstance(value, str) else repr(value)


def _read(file: Path) -> dict[str, Any]:
    """Return what a finished stage left; empty where there is none."""
    try:
        return dict(json.loads(file.read_text()))
    except (OSError, ValueError, TypeError):
        return {}
