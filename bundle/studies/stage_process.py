# SPDX-License-Identifier: Apache-2.0
"""One stage of a study as a process of its own: shown, logged, stopped with its parent, never run twice at once."""

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from bundle.errors import InputError


def run_in_subprocess(root: Path, stage: str, arguments: Sequence[str], folder: Path) -> float:
    """Run a stage as users do, its output on the screen and in a log that goes on from attempt to attempt.

    It is ``python -m monai.bundle run <stage>`` with these arguments, in the bundle's root. The run's folder gets
    ``<stage>.log`` and, while the stage is not finished, ``<stage>.seconds``. Returns the seconds it took, earlier
    attempts that were interrupted included.

    Raises:
        InputError: if it fails, with the last line it wrote, or another process works in the folder.
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
            seconds = time.monotonic() - start + (float(total.read_text()) if total.is_file() else 0.0)
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
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(f"{folder}: another process is working here; wait for it, or stop it first.") from error
        yield file.fileno()


def _reason(status: int, written: str) -> str:
    """Return why a process failed: the signal that killed it, or the last line it wrote."""
    if status < 0:
        return f"it was killed by {signal.Signals(-status).name}; was there enough memory?"
    lines = [line.strip() for line in written.splitlines() if line.strip()]
    return lines[-1].removeprefix("error: ") if lines else f"exit status {status}"
