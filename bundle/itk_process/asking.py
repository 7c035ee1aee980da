# SPDX-License-Identifier: Apache-2.0
"""This end of the process that has ITK: starts it, asks it, and ends it."""

import atexit
import os
import pickle
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Any, Final, cast

from bundle.errors import InputError

# -P: nothing is imported from the current folder; -W: ITK's wrapping warns of itself
COMMAND: Final = [sys.executable, "-P", "-W", "ignore", "-m", "bundle.itk_process"]
_ROOT: Final = Path(__file__).resolve().parents[2]


class _Asking:
    """Hold the process, where one runs; one question at a time."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.process: subprocess.Popen[bytes] | None = None


_asking = _Asking()
_of_parents: Final[list[_Asking]] = []


def ask(task: str, *arguments: Any) -> Any:
    """Return what a task makes of its arguments in the process that has ITK.

    Args:
        task: its name, one of :data:`bundle.itk_process.__main__.TASKS`.
        arguments: arrays, numbers, texts and the named tuples of this package; they go through a pipe.

    Raises:
        InputError: that of the task; or if the process ends, by a crash of ITK. The next call starts another.
        RuntimeError: for any other error of the task.
    """
    with _asking.lock:
        process = _asking.process = _asking.process or _start()
        try:
            _send((task, arguments), cast(IO[bytes], process.stdin))
            reply = pickle.load(cast(IO[bytes], process.stdout))
        except (EOFError, BrokenPipeError, pickle.UnpicklingError) as error:
            status = process.wait()
            end()
            raise InputError(_obituary(status)) from error
        except BaseException:  # Ctrl-C: what comes late would be taken for the next answer
            end()
            raise
    if isinstance(reply, Exception):
        raise reply
    return reply


def end() -> None:
    """End the process, where one runs, and free its memory; the next question starts another."""
    with _asking.lock:
        process, _asking.process = _asking.process, None
        if process is not None:
            process.kill()
            process.communicate()


def _start() -> "subprocess.Popen[bytes]":
    """Start the process, which ends when this one does: its input ends then."""
    path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
    return subprocess.Popen(
        COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path}
    )


def _send(message: Any, stream: IO[bytes]) -> None:
    """Write a message; arrays go without another copy of them."""
    pickle.dump(message, stream, protocol=pickle.HIGHEST_PROTOCOL)
    stream.flush()


def _obituary(status: int) -> str:
    """Say how the process ended."""
    how = f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
    return (
        f"ITK, which registers and resamples the reference, ended {how}; where other programs need the memory, run it "
        "again, or else give a reference on the image's own grid and set register to false."
    )


def _forget() -> None:
    """Leave the process to the parent that this one was forked from."""
    global _asking
    _of_parents.append(_asking)  # kept as it is: what is deleted would be closed
    _asking = _Asking()


atexit.register(end)
os.register_at_fork(after_in_child=_forget)
