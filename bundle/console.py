# SPDX-License-Identifier: Apache-2.0
"""One clear sentence instead of a traceback, where the fault is in the input."""

import logging
import sys
import traceback
from types import TracebackType

from bundle.errors import input_error


def error_text(error: BaseException) -> str:
    """Return lines to tell of an exception: a sentence, or the traceback of what is no input error."""
    found = input_error(error)
    if isinstance(error, KeyboardInterrupt):
        return "\ninterrupted: nothing is half-written; run the same command again to go on.\n"
    return f"error: {found}\n" if found else "".join(traceback.format_exception(error))


def explain_input_errors() -> None:
    """Let an uncaught ``InputError`` end the program with its sentence; others keep their traceback.

    MONAI wraps what fails inside a configuration in errors of its own; the sentence is found beneath them. Under
    ``logging`` level DEBUG the traceback is shown all the same. Call it in ``initialize``.
    """
    sys.excepthook = _show


def _show(_: type[BaseException], error: BaseException, __: TracebackType | None) -> None:
    debugging = logging.getLogger().isEnabledFor(logging.DEBUG) and not isinstance(error, KeyboardInterrupt)
    sys.stderr.write("".join(traceback.format_exception(error)) if debugging else error_text(error))
