# SPDX-License-Identifier: Apache-2.0
"""Run a stage in this process, in the bundle's folder, with messages as they were asked for."""

import configparser
import contextlib
import logging
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from bundle.console import told
from bundle.errors import InputError

_REPEAT_SETTINGS: Final = ("monai.bundle.scripts", "monai.bundle.workflows")
_REPEAT_ERRORS: Final = (
    "monai.handlers.StatsHandler",
    "ignite.engine.engine.SupervisedEvaluator",
    "ignite.engine.engine.Trainer",
)
"""Loggers that show an error with its traceback on its way; it is told at the end."""


@dataclass(frozen=True)
class Messages:
    """What of a run is shown and kept.

    Attributes:
        log: file that gets all messages, or ``None``.
        quiet: show warnings and errors only.
        verbose: show more.
    """

    log: Path | None = None
    quiet: bool = False
    verbose: bool = False


def run_stage(root: Path, run_id: str, configs: Sequence[str], keys: Mapping[str, Any], messages: Messages) -> None:
    """Run a stage of the bundle as ``python -m monai.bundle run`` does.

    Args:
        root: the bundle's folder; it is the working directory meanwhile, since its configs name files from there.
        run_id: what to run.
        configs: config files, each laid over those before.
        keys: values by config key.
        messages: what to show and keep.

    Raises:
        InputError: if the log cannot be written; and whatever the stage raises.
    """
    with (
        contextlib.chdir(root),
        contextlib.redirect_stdout(sys.stderr),  # what libraries print; the standard output is for results
        _no_bars() if messages.quiet else contextlib.nullcontext(),
        _log_of_end(messages.log),
        _logging_file(root, messages) as logging_file,
        warnings.catch_warnings(),
    ):
        if not messages.verbose:
            warnings.simplefilter("ignore")  # of libraries, about their own code
        from monai.bundle import run  # takes seconds

        for name in _REPEAT_SETTINGS:
            logging.getLogger(name).setLevel(logging.WARNING)
        for name in _REPEAT_ERRORS:
            logging.getLogger(name).addFilter(_is_no_error)
        run(run_id, config_file=list(configs), logging_file=logging_file, **keys)


def _is_no_error(record: logging.LogRecord) -> bool:
    return record.levelno < logging.ERROR


@contextlib.contextmanager
def _no_bars() -> Iterator[None]:
    """Hide progress bars, whoever draws them: its own environment variable loses against what a caller says."""
    from tqdm import tqdm

    drawn = tqdm.__init__

    def hidden(self: Any, *arguments: Any, **settings: Any) -> None:
        drawn(self, *arguments, **{**settings, "disable": True})

    tqdm.__init__ = hidden
    try:
        yield
    finally:
        tqdm.__init__ = drawn


@contextlib.contextmanager
def _logging_file(root: Path, messages: Messages) -> Iterator[str | None]:
    """Yield a variation of ``configs/logging.conf``; ``None``, which is that file itself, where nothing differs."""
    if messages == Messages():
        yield None
        return
    parser = configparser.RawConfigParser()
    parser.read(root / "configs" / "logging.conf", encoding="utf-8")
    if messages.quiet:
        parser["handler_console"]["level"] = "WARNING"
    if messages.verbose:
        parser["logger_bundle"]["level"] = "DEBUG"
    if messages.log:
        _add_log(parser, messages.log)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "logging.conf"
        with file.open("w", encoding="utf-8") as stream:
            parser.write(stream)
        yield str(file)


def _add_log(parser: configparser.RawConfigParser, log: Path) -> None:
    """Send what every logger says to a file too, with date and name."""
    parser["formatters"]["keys"] += ",dated"
    parser["formatter_dated"] = {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}
    parser["handlers"]["keys"] += ",log"
    arguments = (str(log), "a", "utf-8", False, "backslashreplace")
    parser["handler_log"] = {"class": "FileHandler", "formatter": "dated", "args": repr(arguments)}
    for section in parser.sections():
        if section.startswith("logger_"):
            parser[section]["handlers"] += ",log"


@contextlib.contextmanager
def _log_of_end(log: Path | None) -> Iterator[None]:
    """Keep the error that ends a run in the log, since what shows it on the screen is no logger."""
    if log is None:
        yield
        return
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a"):
            pass
    except OSError as error:
        raise InputError(f"{log}: this log cannot be written ({error.strerror}); name another --log.") from error
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:  # a batch that is interrupted has told so itself
        with log.open("a", encoding="utf-8", errors="backslashreplace") as stream:
            stream.write(f"{datetime.now():%Y-%m-%d %H:%M:%S} {told(error).lstrip()}")
        raise
