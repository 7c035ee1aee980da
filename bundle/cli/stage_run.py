# SPDX-License-Identifier: Apache-2.0
"""A stage run in this process, with messages as they were asked for; or shown, as MONAI's command line and as YAML."""

import contextlib
import logging.config
import re
import shlex
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import yaml
from tqdm import tqdm

from bundle.cli.dialect import Spelling, respelt
from bundle.config_files import Expression, fire_text, inert
from bundle.console import error_text, escape_messages
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
    spelling: Spelling = field(default_factory=dict)  # of the options that messages advise


def run_stage(root: Path, run_id: str, configs: Sequence[str], keys: Mapping[str, Any], messages: Messages) -> None:
    """Run ``run_id`` of configs, each laid over those before, as ``python -m monai.bundle run`` does."""
    with (
        contextlib.chdir(root),  # the bundle's folder, from where its configs name files
        contextlib.redirect_stdout(sys.stderr),  # what libraries print; the standard output is for results
        _without_bars() if messages.quiet else contextlib.nullcontext(),
        _error_kept(messages.log, messages.spelling) if messages.log else contextlib.nullcontext(),
        warnings.catch_warnings(),
    ):
        if not messages.verbose:
            warnings.simplefilter("ignore")  # of libraries, about their own code
        from monai.bundle import run  # takes seconds

        _set_up_logging(root / "configs" / "logging.conf", messages)
        run(run_id, config_file=list(configs), logging_file=False, **inert(dict(keys)))


def _set_up_logging(file: Path, messages: Messages) -> None:
    logging.config.fileConfig(file, disable_existing_loggers=False, encoding="utf-8")
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
    escape_messages()  # first: it tells line breaks of a message from those of a name
    for handler in (h for name in (None, "bundle", "ignite") for h in logging.getLogger(name).handlers):
        handler.addFilter(lambda record: _respell(record, messages.spelling))
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.ERROR)
    for name in _REPEAT_ERRORS:
        logging.getLogger(name).addFilter(lambda record: record.levelno < logging.ERROR)


def _respell(record: logging.LogRecord, spelling: Spelling) -> bool:
    record.msg, record.args = respelt(record.getMessage(), spelling), ()
    return True


@contextlib.contextmanager
def _without_bars() -> Iterator[None]:
    """Hide progress bars, whoever draws them: its own environment variable loses against what a caller says."""
    drawn = tqdm.__init__

    def hidden(self: Any, *arguments: Any, **settings: Any) -> None:
        drawn(self, *arguments, **{**settings, "disable": True})

    tqdm.__init__ = hidden
    try:
        yield
    finally:
        tqdm.__init__ = drawn


@contextlib.contextmanager
def _error_kept(log: Path, spelling: Spelling) -> Iterator[None]:
    """Keep the error that ends a run in the log, since what shows it on the screen is no logger."""
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        if log.exists() and not log.is_char_device() and not _is_log(log):
            raise InputError(f"{log}: this is another file than a log, which would be spoilt; name another --log.")
        stream = log.open("a", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise InputError(f"{log}: this log cannot be written ({error.strerror}); name another --log.") from error
    with stream:
        try:
            yield
        except (Exception, KeyboardInterrupt) as error:  # a batch that is interrupted has told so itself
            text = respelt(error_text(error), spelling)
            stream.write(f"{datetime.now():%Y-%m-%d %H:%M:%S} {text.lstrip()}")
            raise


def _is_log(file: Path) -> bool:
    """Tell whether a file is a log of earlier runs, which begins with a date, or empty."""
    if not file.is_file():  # a pipe, which would wait for ever
        return False
    with file.open("rb") as stream:
        return re.fullmatch(rb"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)?", stream.read(19)) is not None


class _Dumper(yaml.SafeDumper):
    """Write expressions as the texts that they are."""


_Dumper.add_representer(Expression, lambda dumper, text: dumper.represent_str(str(text)))


def command_words(run_id: str, configs: Sequence[str], keys: Mapping[str, Any]) -> list[str]:
    """Return MONAI's command line, word by word, for ``run_id`` of configs, each laid over those before."""
    files = configs[0] if len(configs) == 1 else repr(list(configs))
    words = [sys.executable, "-m", "monai.bundle", "run", run_id, f"--config_file={files}"]
    return [*words, *(f"--{key}={fire_text(inert(value))}" for key, value in keys.items())]


def command_lines(root: Path, run_id: str, configs: Sequence[str], keys: Mapping[str, Any]) -> str:
    """Return a run in the bundle's folder ``root`` as lines for a shell, and its keys as YAML in comments."""
    interpreter, *words = [_quoted(word) for word in command_words(run_id, configs, keys)]
    command = " \\\n    ".join([" ".join([interpreter, *words[:4]]), *words[4:]])
    text = yaml.dump(dict(keys), Dumper=_Dumper, sort_keys=False, allow_unicode=True) if keys else "none\n"
    comments = "".join(f"#   {line}\n" for line in text.splitlines())
    return f"cd {shlex.quote(str(root))}\n{command}\n\n# keys of {configs[0]} that this sets:\n{comments}"


def _quoted(word: str) -> str:
    """Quote a word for a shell: with double quotes where single ones stand in it, which is easier to read."""
    if "'" not in word or "!" in word:  # which shells take for history within double quotes
        return shlex.quote(word)
    return '"' + re.sub(r'([\\"$`])', r"\\\1", word) + '"'
