# SPDX-License-Identifier: Apache-2.0
"""SimpleITK in a process of its own, so that a crash of it costs one reference and no more."""

import pickle
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Final, Literal

from bundle.errors import InputError

# -P: nothing is imported from the program's folder; -W: the wrapping of ITK warns of itself
COMMAND: Final = [sys.executable, "-P", "-W", "ignore", str(Path(__file__).with_name("sitk_worker.py"))]


def isolated(function: Literal["find_motion", "interpolate"], *arguments: Any) -> Any:
    """Return what a function of ``sitk_worker.py`` makes of its arguments, which go through a pipe.

    A process starts, computes this and ends; it ends with this one, too. Signals of the terminal do not reach it.
    ``InputError`` if the process ends by a crash, ``RuntimeError`` for any exception in it.
    """
    question = pickle.dumps((function, arguments), protocol=pickle.HIGHEST_PROTOCOL)
    done = subprocess.run(COMMAND, input=question, capture_output=True, process_group=0)
    if done.returncode == 1:
        raise RuntimeError(done.stderr.decode(errors="replace").strip().rpartition("\n")[2])
    if status := done.returncode:
        how = f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
        raise InputError(
            f"ITK, which registers and resamples the reference, ended {how}; where other programs need the memory, run "
            "it again, or else give a reference on the image's own grid with --register false."
        )
    return pickle.loads(done.stdout)
