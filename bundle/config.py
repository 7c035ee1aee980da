# SPDX-License-Identifier: Apache-2.0
"""For the ``initialize`` section of a running config: unknown keys refused, YAML's words read, imports made again."""

import inspect
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from monai.bundle import ConfigExpression, ConfigParser, run
from monai.bundle.utils import DEFAULT_EXP_MGMT_SETTINGS

from bundle.config_files import SEPARATOR, read_config, refuse_unknown_keys
from bundle.console import explain_input_errors
from bundle.settings import place_of

YAML_WORDS: Final = {"true": True, "false": False, "null": None}
_ADDED_BY_MONAI: Final = {"_meta_", "finalize"}.union(*(one["configs"] for one in DEFAULT_EXP_MGMT_SETTINGS.values()))


def start(base: str | os.PathLike[str]) -> None:
    """Begin a run: one sentence where the input is at fault, every key known, YAML's words read.

    For use as an expression in ``initialize``, once the bundle's folder is on Python's path and before anything else is
    evaluated from the values: it finds the parser that evaluates it. Settings of ``model`` and ``recipe`` that were
    given by their own names go to where ``base``, the YAML file of the stage, has them.
    """
    explain_input_errors()
    read_yaml_words()
    known = read_config(Path(base))
    parser = running_parser()
    if moved := {key: place for key in parser.config if (place := place_of(key, known))}:
        for key, place in moved.items():
            parser[place] = parser.config.pop(key)
        parser.parse(reset=True)
    settings = {key: value for key, value in parser.config.items() if key not in _ADDED_BY_MONAI}
    refuse_unknown_keys(settings, known, Path(base).name)


def read_yaml_words() -> None:
    """Turn ``true``, ``false`` and ``null`` given on the command line into what they mean, ``None`` too.

    MONAI's command line reads Python's words only, hands these over as text, of which every one is true, and leaves
    out what is ``None``. Call it before anything else is evaluated from the values.
    """
    parser = running_parser()
    words = dict(_words(parser.config)) | dict.fromkeys(_left_out())
    if words:
        parser.update(words)
        parser.parse(reset=True)  # what was parsed before holds the texts


def _words(config: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield key and meaning of each text that is one of YAML's words, at any depth of mappings."""
    for key, value in config.items():
        if isinstance(value, dict):
            yield from _words(value, f"{above}{key}{SEPARATOR}")
        elif isinstance(value, str) and value in YAML_WORDS:
            yield f"{above}{key}", YAML_WORDS[value]


def _left_out() -> list[str]:
    """Return the keys that were given to MONAI's ``run`` as ``None``, which it takes for not given."""
    for caller in inspect.stack(context=0):
        if caller.frame.f_code is run.__code__:
            return [key for key, value in caller.frame.f_locals["override"].items() if value is None]
    return []


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
    for caller in inspect.stack(context=0):
        if isinstance(parser := caller.frame.f_locals.get("self"), ConfigParser):
            return parser
    raise RuntimeError("no configuration is being evaluated; call this from a bundle's initialize section.")
