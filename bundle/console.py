# SPDX-License-Identifier: Apache-2.0
"""One clear sentence instead of a traceback, where the fault is in the input; names that do nothing to a terminal."""

import logging
import sys
import traceback
from collections.abc import Callable
from types import TracebackType

from bundle.errors import InputError, input_error, printable


def error_text(error: BaseException) -> str:
    """Return lines to tell of an exception: a sentence, or the traceback of what is no input error."""
    found = input_error(error)
    if isinstance(error, KeyboardInterrupt):
        return "\ninterrupted: nothing is half-written; run the same command again to go on.\n"
    return f"error: {found}\n" if found else _trace(error)


def run_tool(tool: Callable[[], str]) -> int:
    """Run a tool and print what it says; return the exit status: 2, with the sentence, where the input is at fault."""
    logging.basicConfig(format="%(message)s")
    escape_messages()
    try:
        sys.stdout.write(f"{tool()}\n")
    except InputError as error:
        sys.stderr.write(error_text(error))
        return 2
    return 0


def explain_input_errors() -> None:
    """Let an uncaught ``InputError`` end the program with its sentence; others keep their traceback.

    MONAI wraps what fails inside a configuration in errors of its own; the sentence is found beneath them. Under
    ``logging`` level DEBUG the traceback is shown all the same. Call it in ``initialize``.
    """
    sys.excepthook = _show


def _show(_: type[BaseException], error: BaseException, __: TracebackType | None) -> None:
    debugging = logging.getLogger().isEnabledFor(logging.DEBUG) and not isinstance(error, KeyboardInterrupt)
    sys.stderr.write(_trace(error) if debugging else error_text(error))


def _trace(error: BaseException) -> str:
    return printable("".join(traceback.format_exception(error)), keep="\n")


def escape_messages() -> None:
    """Let all that is logged show what a name of a file holds, instead of obeying it."""
    for name in (None, "bundle", "ignite"):  # those with handlers of their own
        for handler in logging.getLogger(name).handlers:
            handler.addFilter(_escape)


def _escape(record: logging.LogRecord) -> bool:
    keep = "\n" if "\n" in str(record.msg) else ""  # of a message that is written as several lines
    record.msg, record.args = printable(record.getMessage(), keep), None
    if record.exc_info and record.exc_info[1]:
        record.exc_text = _trace(record.exc_info[1]).rstrip("\n")
    return True
