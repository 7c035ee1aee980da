# SPDX-License-Identifier: Apache-2.0
"""One clear sentence instead of a traceback, where the fault is in the input."""

import logging
import sys
import traceback
from types import TracebackType

from bundle.errors import input_error

logger = logging.getLogger(__name__)


def told(error: BaseException) -> str:
    """Return what to tell of an exception, lines and all: a sentence, or the traceback of what is no input error."""
    found = input_error(error)
    if isinstance(error, KeyboardInterrupt):
        return "\ninterrupted: nothing is half-written; run the same command again to go on.\n"
    return f"error: {found}\n" if found else "".join(traceback.format_exception(error))


def explain_input_errors() -> None:
    """Let an uncaught ``InputError`` end the program with its sentence; others keep their traceback.

    MONAI wraps what fails inside a configuration in errors of its own; the sentence is found beneath them.
    Under ``logging`` level DEBUG the traceback is shown all the same. Returns nothing; call it in ``initialize``.
    """
    sys.excepthook = _show


def _show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print the sentence of an input error, or the traceback of any other."""
    if issubclass(kind, KeyboardInterrupt):
        sys.stderr.write(told(error))
    elif input_error(error) is None or logging.getLogger().isEnabledFor(logging.DEBUG):
        sys.__excepthook__(kind, error, trace)
    else:
        sys.stderr.write(told(error))
