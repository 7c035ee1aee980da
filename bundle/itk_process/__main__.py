# SPDX-License-Identifier: Apache-2.0
"""The process that has ITK: answers what it is asked through standard input, until that ends.

    python -m bundle.itk_process

Started by :func:`bundle.itk_process.ask`, and of no use without it.
"""

import os
import pickle
import signal
import sys
import types
from collections.abc import Callable
from typing import IO, Any, Final

from bundle.errors import InputError
from bundle.itk_process.descent import find_motion
from bundle.itk_process.itk_images import load_itk
from bundle.itk_process.spline import interpolate

TASKS: Final[dict[str, Callable[..., Any]]] = {
    "find_motion": find_motion,
    "interpolate": interpolate,
    "load": lambda: bool(load_itk()),
}


def main() -> None:
    """Answer until there are no more questions."""
    for number in (signal.SIGINT, signal.SIGTERM):  # sent to the whole group; for the parent, with which this ends
        signal.signal(number, signal.SIG_IGN)
    _spare_torch()
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what ITK prints is not an answer
    while (question := _next(sys.stdin.buffer)) is not None:
        task, arguments = question
        try:
            pickle.dump(_answer(task, arguments), replies, protocol=pickle.HIGHEST_PROTOCOL)
            replies.flush()
        except BrokenPipeError:  # nobody is there any more
            os._exit(1)


def _next(questions: IO[bytes]) -> tuple[str, tuple[Any, ...]] | None:
    """Return a task and its arguments; ``None`` at the end."""
    try:
        name, arguments = pickle.load(questions)
    except (EOFError, pickle.UnpicklingError):  # the parent has ended, in the middle of a question even
        return None
    return name, arguments


def _answer(task: str, arguments: tuple[Any, ...]) -> Any:
    """Return the result, or the error to raise at the other end."""
    try:
        return TASKS[task](*arguments)
    except InputError as error:
        return error
    except Exception as error:
        return RuntimeError(f"{type(error).__name__}: {error}")


def _spare_torch() -> None:
    """Keep ITK from importing PyTorch, wherever that is installed, to know its tensors: seconds and 0.3 GB."""
    stand_in = types.ModuleType("torch")
    stand_in.Tensor = type("Tensor", (), {})  # type: ignore[attr-defined]
    sys.modules["torch"] = stand_in


if __name__ == "__main__":
    main()
