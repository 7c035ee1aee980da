# SPDX-License-Identifier: Apache-2.0
"""Train and evaluate what a study compares, one process after the other, and never the same thing twice."""

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import platform
import re
import shlex
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from bundle.batch.results import read_json
from bundle.config_files import SEPARATOR, fire_text, inert, marked, read_config
from bundle.engines import supports_bfloat16
from bundle.errors import InputError
from bundle.files import writable_folder, write_json
from bundle.keys import IMAGE, REFERENCE
from bundle.settings import place_of
from bundle.studies.plan import Row, full_key

logger = logging.getLogger(__name__)

Stage = Literal["training", "evaluating"]
RESULTS: Mapping[Stage, str] = {"training": "model.pt", "evaluating": "evaluation/slices.csv"}


@dataclass
class StudyRunner:
    """Bring every row of a study to its scores.

    A stage that was finished with the same settings, on the same data and split, is skipped; an evaluation also
    belongs to the training before it. An interrupted training goes on where its last checkpoint left it. A row
    that fails is named and does not stop the others.
    """

    bundle_root: Path
    output_dir: Path  # of the runs of one data set and scale
    scale: str  # names a file in configs/scales, laid over train.yaml before the variant
    training: Mapping[str, Any] = field(default_factory=dict)  # keys given to every training
    evaluating: Mapping[str, Any] = field(default_factory=dict)  # and to every evaluation
    n_folds: int | None = None
    data: str = ""  # what the runs depend on beside their settings, see data_fingerprint
    _seconds: list[float] = field(default_factory=list, init=False)

    def run(self, rows: Sequence[Row]) -> dict[str, str]:
        """Run all rows, each run once; return what failed, a sentence by the name of the run."""
        runs: dict[str, Row] = {}
        for row in rows:
            runs.setdefault(row.run, row)
        steps = [
            (row, fold, stage)
            for row in runs.values()
            for fold in self.folders(row)
            for stage in RESULTS
            if row.train or stage == "evaluating"
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
        base = self.output_dir / row.run
        return {fold: base / f"fold_{fold}" for fold in range(self.n_folds)} if self.n_folds else {None: base}

    def _time_left(self, n_steps: int) -> str:
        minutes = statistics.fmean(self._seconds or [0]) * n_steps / 60
        return f" (about {minutes:.0f} min left, if all steps take alike)" if self._seconds else ""

    def _stage(self, row: Row, fold: int | None, stage: Stage) -> None:
        """Run one stage, unless it was finished with the same configs and command, on the same data and training."""
        folder = self.folders(row)[fold]
        variant = {**read_config(self.bundle_root / "configs" / row.file), **row.settings}
        files, given = self._training(row, variant) if stage == "training" else self._evaluation(row, variant)
        given |= {"output_dir" if stage == "training" else "training_dir": str(folder)}
        given |= {} if fold is None else {"fold": fold}
        flags = [part for key, value in given.items() for part in (f"--{key}", _as_flag(value))]
        arguments = ["--config_file", repr(files) if len(files) > 1 else files[0], *flags]
        configs = [read_config(self.bundle_root / file) for file in files]
        trained = read_finished(folder, "training").get("finished") if stage == "evaluating" else None
        fingerprint = _hash([configs, variant, arguments, self.data, trained])
        if read_finished(folder, stage).get("settings") == fingerprint and (folder / RESULTS[stage]).is_file():
            logger.info("%s: %s is done.", folder, stage)
            return
        seconds = run_in_subprocess(self.bundle_root, stage, arguments, writable_folder(folder))
        self._seconds.append(seconds)
        content = {
            "settings": fingerprint,
            "seconds": round(seconds, 1),
            "command": " ".join(["python -m monai.bundle run", stage, *map(shlex.quote, arguments)]),
            "hardware": _hardware(),
            "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        }
        write_json(folder / f"{stage}.done.json", content)

    def _training(self, row: Row, variant: Mapping[str, Any]) -> tuple[list[str], dict[str, Any]]:
        own = set(map(full_key, variant))
        if twice := sorted(key for key in self.training if key != "seed" and full_key(key) in own):
            raise InputError(f"{', '.join(twice)} tells the rows apart; leave it out of training_settings.")
        names = ["train", f"scales/{self.scale}", row.file.removesuffix(".yaml")]
        return [f"configs/{name}.yaml" for name in names], {**self.training, **row.settings}

    def _evaluation(self, row: Row, variant: Mapping[str, Any]) -> tuple[list[str], dict[str, Any]]:
        """Return the config file and keys of an evaluation: of the variant, those that evaluate.yaml has."""
        base = read_config(self.bundle_root / "configs" / "evaluate.yaml")
        known = {key: variant[key] for key in variant if key.split(SEPARATOR)[0] in base or place_of(key, base)}
        return ["configs/evaluate.yaml"], {**self.evaluating, **known} | ({} if row.train else {"ckpt_path": None})


def read_finished(folder: Path, stage: Stage) -> dict[str, Any]:
    """Return what a stage left when it was finished: settings, seconds, command, hardware; empty before."""
    return read_json(folder / f"{stage}.done.json") or {}


def data_fingerprint(pairs: Sequence[Mapping[str, str]], splits: Mapping[str, Sequence[Mapping[str, str]]]) -> str:
    """Return a hash that changes with the files of a data set, their sizes and times, and with the split."""
    files = [Path(pair[key]) for pair in pairs for key in (IMAGE, REFERENCE)]
    stats = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.is_file()]
    return _hash([stats, splits])


def _hash(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _as_flag(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return fire_text(inert(marked(value)))


def _hardware() -> str:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    precision = "bfloat16" if supports_bfloat16(device) else "float32"
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name()}, {precision}"
    about = Path("/proc/cpuinfo")  # of Linux
    found = re.search(r"^model name\s*:\s*(.*\S)", about.read_text() if about.is_file() else "", re.MULTILINE)
    processor = found[1] if found else platform.processor() or platform.machine()
    return f"{processor}, {torch.get_num_threads()} threads, {precision}"


def run_in_subprocess(root: Path, stage: str, arguments: Sequence[str], folder: Path) -> float:
    """Run a stage as users do, its output on the screen and in a log, and return the seconds of all its attempts.

    Raises ``InputError`` if it fails, with the last line it wrote, or if another process works in the folder.
    """
    command = [sys.executable, "-W", "ignore", "-m", "monai.bundle", "run", stage, *arguments]
    log, total = folder / f"{stage}.log", folder / f"{stage}.seconds"
    start = time.monotonic()
    with _locked(folder) as lock, log.open("ab") as stream:
        begin = stream.tell()
        before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # stops the process below, too
        try:
            status = _follow(command, root, stream.fileno(), lock)
        finally:
            signal.signal(signal.SIGTERM, before)
            seconds = time.monotonic() - start + _seconds_before(total)
            total.write_text(f"{seconds:.1f}\n")
    if status:
        written = log.read_bytes()[begin:].decode(errors="replace")
        raise InputError(f"{stage} failed: {_reason(status, written)} (log: {log})")
    total.unlink()
    return seconds


def _follow(command: Sequence[str], root: Path, log: int, lock: int) -> int:
    """Run a command, copy what it writes, and return its exit status; stop it when this process is stopped."""
    with subprocess.Popen(
        command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, pass_fds=[lock]
    ) as process:
        assert process.stdout is not None
        try:
            while part := os.read(process.stdout.fileno(), 4096):  # as it comes: progress bars rewrite their line
                os.write(log, part)
                sys.stderr.write(part.decode(errors="replace"))
                sys.stderr.flush()
        except BaseException:
            process.terminate()
            raise
    return process.returncode


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[int]:
    """Keep others out of a folder while a process that inherits the descriptor yielded lives."""
    try:
        descriptor = os.open(folder / ".lock", os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW)
    except OSError as error:
        raise InputError(f"{folder / '.lock'}: this cannot be locked ({error.strerror}); move it away.") from error
    with os.fdopen(descriptor):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(f"{folder}: another process is working here; wait for it, or stop it first.") from error
        yield descriptor


def _reason(status: int, written: str) -> str:
    if status < 0:
        return f"it was killed by {signal.Signals(-status).name}; was there enough memory?"
    lines = [line.strip() for line in written.splitlines() if line.strip()]
    return lines[-1].removeprefix("error: ") if lines else f"exit status {status}"


def _seconds_before(file: Path) -> float:
    """Return what earlier attempts have taken; 0 where a kill has left the file empty."""
    try:
        return float(file.read_text())
    except (OSError, ValueError):
        return 0.0
