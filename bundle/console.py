# SPDX-License-Identifier: Apache-2.0
"""One clear sentence instead of a traceback, where the fault is in the input."""

import logging
import sys
from types import TracebackType

from bundle.errors import InputError

logger = logging.getLogger(__name__)


def input_error(error: BaseException | None) -> InputError | None:
    """Return the ``InputError`` that an exception is or was caused by, if any."""
    while error is not None and not isinstance(error, InputError):
        error = error.__cause__
    return error


def explain_input_errors() -> None:
    """Let an uncaught ``InputError`` end the program with its sentence; others keep their traceback.

    MONAI wraps what fails inside a configuration in errors of its own; the sentence is found beneath them.
    Under ``logging`` level DEBUG the traceback is shown all the same. Returns nothing; call it in ``initialize``.
    """
    sys.excepthook = _show


def _show(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """Print the sentence of an input error, or the traceback of any other."""
    found = input_error(error)
    if issubclass(kind, KeyboardInterrupt):
        sys.stderr.write("\ninterrupted: nothing is half-written; run the same command again to go on.\n")
    elif found is None or logging.getLogger().isEnabledFor(logging.DEBUG):
        sys.__excepthook__(kind, error, traceback)
    else:
        sys.stderr.write(f"error: {found}\n")
