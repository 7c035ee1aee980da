# SPDX-License-Identifier: Apache-2.0
"""Run a stage in this process, in the bundle's folder, with messages as they were asked for."""

import contextlib
import logging
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from bundle.console import error_text
from bundle.errors import InputError

_TALKATIVE: Final = ("monai.bundle.scripts", "monai.bundle.workflows")  # repeat the settings
_REPEAT_ERRORS: Final = (  # show an error with its traceback on its way; it is told at the end
    "monai.handlers.StatsHandler",
    "ignite.engine.engine.SupervisedEvaluator",
    "ignite.engine.engine.Trainer",
)


@dataclass(frozen=True)
class Messages:
    """What of a run is shown, and the file that gets all messages."""

    log: Path | None = None
    quiet: bool = False
    verbose: bool = False


def run_stage(root: Path, run_id: str, configs: Sequence[str], keys: Mapping[str, Any], messages: Messages) -> None:
    """Run ``run_id`` of configs, each laid over those before, as ``python -m monai.bundle run`` does.

    The bundle's folder, ``root``, is the working directory meanwhile, since its configs name files from there.

    Raises:
        InputError: if the log cannot be written; and whatever the stage raises.
    """
    with (
        contextlib.chdir(root),
        contextlib.redirect_stdout(sys.stderr),  # what libraries print; the standard output is for results
        _without_bars() if messages.quiet else contextlib.nullcontext(),
        _error_kept(messages.log) if messages.log else contextlib.nullcontext(),
        warnings.catch_warnings(),
    ):
        if not messages.verbose:
            warnings.simplefilter("ignore")  # of libraries, about their own code
        from monai.bundle import run  # takes seconds

        _set_up_logging(root / "configs" / "logging.conf", messages)
        run(run_id, config_file=list(configs), logging_file=False, **keys)


def _set_up_logging(file: Path, messages: Messages) -> None:
    """Apply the bundle's logging file, and on top of it what was asked for."""
    from logging.config import fileConfig

    fileConfig(file, disable_existing_loggers=False, encoding="utf-8")
    if messages.quiet:
        for handler in logging.getLogger().handlers:
            handler.setLevel(logging.WARNING)
    if messages.verbose:
        logging.getLogger("bundle").setLevel(logging.DEBUG)
    if messages.log:
        log = logging.FileHandler(messages.log, encoding="utf-8", errors="backslashreplace")
        log.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        for name in (None, "bundle", "ignite"):  # those of the file, each for itself
            logging.getLogger(name).addHandler(log)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.ERROR)
    for name in _REPEAT_ERRORS:
        logging.getLogger(name).addFilter(lambda record: record.levelno < logging.ERROR)


@contextlib.contextmanager
def _without_bars() -> Iterator[None]:
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
def _error_kept(log: Path) -> Iterator[None]:
    """Keep the error that ends a run in the log, since what shows it on the screen is no logger."""
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        stream = log.open("a", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise InputError(f"{log}: this log cannot be written ({error.strerror}); name another --log.") from error
    with stream:
        try:
            yield
        except (Exception, KeyboardInterrupt) as error:  # a batch that is interrupted has told so itself
            stream.write(f"{datetime.now():%Y-%m-%d %H:%M:%S} {error_text(error).lstrip()}")
            raise
