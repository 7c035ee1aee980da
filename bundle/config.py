# SPDX-License-Identifier: Apache-2.0
"""For the ``initialize`` section of a running config: unknown keys refused, YAML's words read, imports made again."""

import inspect
import os
from pathlib import Path
from typing import Final

from monai.bundle import ConfigExpression, ConfigParser
from monai.bundle.utils import DEFAULT_EXP_MGMT_SETTINGS

from bundle.config_files import read_config, refuse_unknown_keys
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
    """Turn ``true``, ``false`` and ``null`` given on the command line into what they mean.

    MONAI's command line reads Python's words only and hands these over as text, of which every one is true. Call it
    before anything else is evaluated from the values.
    """
    parser = running_parser()
    words = {k: YAML_WORDS[v] for k, v in parser.config.items() if isinstance(v, str) and v in YAML_WORDS}
    if words:
        parser.update(words)
        parser.parse(reset=True)  # what was parsed before holds the texts


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
