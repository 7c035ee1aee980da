# SPDX-License-Identifier: Apache-2.0
"""For the ``initialize`` section of a running config: unknown keys refused, YAML's words read, imports made again."""

import inspect
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

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
    evaluated from the values: it finds the parser that evaluates it.

    Args:
        base: the YAML file of the stage, such as ``configs/train.yaml``.

    Raises:
        InputError: naming an unknown key or setting and the nearest known one.
    """
    explain_input_errors()
    read_yaml_words()
    known = read_config(Path(base))
    place_settings(known)
    settings = {key: value for key, value in running_parser().config.items() if key not in _ADDED_BY_MONAI}
    refuse_unknown_keys(settings, known, Path(base).name)


def place_settings(known: Mapping[str, Any]) -> None:
    """Move settings of ``model`` and ``recipe`` that were given by their own names to where the config has them.

    Args:
        known: content of the base file; what stands in it under its own name stays there.
    """
    parser = running_parser()
    moved = {key: place for key in parser.config if (place := place_of(key, known))}
    for key, place in moved.items():
        parser[place] = parser.config.pop(key)
    if moved:
        parser.parse(reset=True)


def read_yaml_words() -> None:
    """Turn ``true``, ``false`` and ``null`` given on the command line into what they mean.

    MONAI's command line reads Python's words only and hands these over as text, of which every one is true. To be
    called before anything else is evaluated from the values.
    """
    parser = running_parser()
    texts = {key: value for key, value in parser.config.items() if isinstance(value, str) and value in YAML_WORDS}
    if texts:
        parser.update({key: YAML_WORDS[value] for key, value in texts.items()})
        parser.parse(reset=True)  # what was parsed before holds the texts


def import_again() -> None:
    """Make the imports of the running configuration once more.

    MONAI makes them before it evaluates anything, and a package that it does not find it replaces by one that raises
    when it is used. To be called once the bundle's folder is on Python's path: from another working directory it was
    not.
    """
    parser = running_parser()
    for statement in parser.config["imports"]:
        ConfigExpression(statement, globals=parser.globals).evaluate()


def running_parser() -> ConfigParser:
    """Return the parser that is evaluating the caller."""
    frame = inspect.currentframe()
    while frame is not None:
        parser = frame.f_locals.get("self")
        if isinstance(parser, ConfigParser):
            return parser
        frame = frame.f_back
    raise RuntimeError("no configuration is being evaluated; call this from a bundle's initialize section.")
