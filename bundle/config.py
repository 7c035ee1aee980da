# SPDX-License-Identifier: Apache-2.0
"""For the ``initialize`` section of a running config: unknown keys refused, YAML's words read, imports made again."""

import inspect
import itertools
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from monai.bundle import ConfigExpression, ConfigParser, ConfigWorkflow, run
from monai.bundle.utils import DEFAULT_EXP_MGMT_SETTINGS

from bundle.config_files import (
    EXPRESSION,
    PATH_KEY,
    SEPARATOR,
    YAML_WORDS,
    inert,
    read_config,
    refuse_unknown_keys,
)
from bundle.console import escape_messages, explain_input_errors
from bundle.errors import InputError, input_error
from bundle.settings import place_of

logger = logging.getLogger(__name__)

Running = TypeVar("Running", ConfigParser, ConfigWorkflow)
_ADDED_BY_MONAI: Final = {"_meta_", "finalize"}.union(*(one["configs"] for one in DEFAULT_EXP_MGMT_SETTINGS.values()))


def start(base: str | os.PathLike[str]) -> None:
    """Begin a run: one sentence where the input is at fault, names escaped, every key known, YAML's words read.

    For use as an expression in ``initialize``, once the bundle's folder is on Python's path and before anything else is
    evaluated from the values: it finds the parser that evaluates it. Settings of ``model`` and ``recipe`` that were
    given by their own names go to where ``base``, the YAML file of the stage, has them.
    """
    explain_input_errors()
    escape_messages()
    tell_missing_properties()
    keep_names()
    read_yaml_words()
    known = read_config(Path(base))
    parser = running_parser()
    if moved := {key: place for key in parser.config if (place := place_of(key, known))}:
        for key, place in moved.items():
            parser[place] = parser.config.pop(key)
        parser.parse(reset=True)
    settings = {key: value for key, value in parser.config.items() if key not in _ADDED_BY_MONAI}
    refuse_unknown_keys(settings, known, Path(base).name)
    for key, value in settings.items():
        if isinstance(known.get(key), bool):
            found = parser.get_parsed_content(key) if str(value).startswith(EXPRESSION) else value
            if not isinstance(found, bool):
                raise InputError(f"{key} is {found!r}; write true or false.")


def tell_missing_properties() -> None:
    """Let ``check_properties`` of the running workflow name what cannot be had without data, and log what is missing.

    Properties such as the data set are made when they are asked for. Where an input error stands in their way, MONAI
    would raise what it wraps that in; now they count as missing, and asking for one raises ``AttributeError`` with the
    sentence.
    """
    flow = _running(ConfigWorkflow)
    if flow is None:
        return
    make = flow._get_property

    def get(name: str, property: dict[str, Any]) -> Any:
        try:
            return make(name, property)
        except Exception as error:
            if found := input_error(error):
                logger.warning("no %s: %s", name, found)
                raise AttributeError(f"{name}: {found}") from error
            raise

    flow._get_property = get


def read_yaml_words() -> None:
    """Turn ``true``, ``false`` and ``null`` given on the command line into what they mean, ``None`` too.

    MONAI's command line reads Python's words only, hands these over as text, of which every one is true, and leaves
    out what is ``None``. Call it before anything else is evaluated from the values.
    """
    parser, given = running_parser(), _given()
    words = dict(_words(parser.config)) | {key: None for key, value in given.items() if value is None}
    if words:
        parser.update(words)
        parser.parse(reset=True)  # what was parsed before holds the texts


def keep_names() -> None:
    """Put names of files and folders back that MONAI has taken for something else, or refuse them by ``InputError``.

    Its command line reads ``2024`` as a number and ``study#2`` as ``study``; its parser makes ``::`` of a ``#``. What
    was given to ``run`` is known, what stands in files is not. Call it before anything else is evaluated.
    """
    parser, given = running_parser(), _given()
    paths = {key: value for key, value in given.items() if PATH_KEY.fullmatch(key)}
    names = {key: name for key, value in (paths | _typed(paths)).items() if (name := _name(value))}
    if changed := {key: inert(name) for key, name in names.items() if parser.config.get(key) != name}:
        parser.update(changed)
        parser.parse(reset=True)
    for key, value in parser.config.items():
        if not PATH_KEY.fullmatch(key) or key in names:
            continue
        if SEPARATOR in _name(value):
            raise InputError(
                f"{key} is {value}: is there a # in this name, of which MONAI makes {SEPARATOR}? Rename it, or "
                f"give it to mcsr, or a single one on MONAI's command line."
            )


def _name(value: Any) -> str:
    """Return the name of a file or folder; empty for what is none."""
    if not isinstance(value, (str, int, float)) or isinstance(value, bool) or value in YAML_WORDS:
        return ""
    return "" if str(value).startswith(EXPRESSION) else str(value)


def _typed(paths: Mapping[str, Any]) -> dict[str, str]:
    """Return by key what stands on MONAI's command line itself, of single names without quotes."""
    main = getattr(sys.modules["__main__"], "__spec__", None)
    if main is None or main.name != "monai.bundle.__main__":
        return {}
    texts: dict[str, str] = {}
    for word, after in itertools.pairwise([*sys.argv, ""]):
        key, equals, text = word.removeprefix("--").partition("=")
        if word.startswith("--"):
            texts[key.replace("-", "_")] = text if equals else after
    single = (key for key, value in paths.items() if value is not None)
    return {key: texts[key] for key in single if texts.get(key, "'")[:1] not in ("", "'", '"')}


def _words(config: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield key and meaning of each text that is one of YAML's words, at any depth of mappings."""
    for key, value in config.items():
        if isinstance(value, dict):
            yield from _words(value, f"{above}{key}{SEPARATOR}")
        elif isinstance(value, str) and value in YAML_WORDS:
            yield f"{above}{key}", YAML_WORDS[value]


def _given() -> dict[str, Any]:
    """Return the keys and values that were given to MONAI's ``run``, which takes ``None`` for not given."""
    for caller in inspect.stack(context=0):
        if caller.frame.f_code is run.__code__:
            return dict(caller.frame.f_locals["override"])
    return {}


def import_again() -> None:
    """Make the imports of the running configuration once more.

    MONAI makes them before it evaluates anything, and a package that it does not find it replaces by one that raises
    when it is used. From another working directory the bundle's folder was not on Python's path then.
    """
    parser = running_parser()
    for statement in parser.config["imports"]:
        ConfigExpression(statement, globals=parser.globals).evaluate()


def running_parser() -> ConfigParser:
    """Return the parser that is evaluating the caller."""
    if parser := _running(ConfigParser):
        return parser
    raise RuntimeError("no configuration is being evaluated; call this from a bundle's initialize section.")


def _running(kind: type[Running]) -> Running | None:
    """Return the innermost object of a kind of which a method is running."""
    for caller in inspect.stack(context=0):
        if isinstance(found := caller.frame.f_locals.get("self"), kind):
            return found
    return None
