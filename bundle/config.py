# SPDX-License-Identifier: Apache-2.0
"""What a command line may hold: MONAI takes any key and never uses a mistyped one, and reads ``false`` as text."""

import difflib
import inspect
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from monai.bundle import ConfigExpression, ConfigParser
from monai.bundle.utils import DEFAULT_EXP_MGMT_SETTINGS, ID_SEP_KEY

from bundle.console import explain_input_errors
from bundle.errors import InputError
from bundle.settings import BLOCKS, place_of, setting_names

TARGET = "_target_"
_SETTING: Final = re.compile(rf"({'|'.join(BLOCKS)}){ID_SEP_KEY}")
YAML_WORDS = {"true": True, "false": False, "null": None}


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
    place_settings(running_parser(), yaml.safe_load(Path(base).read_text()))
    check_keys(base)


def place_settings(parser: ConfigParser, known: Mapping[str, Any]) -> None:
    """Move settings of ``model`` and ``recipe`` that were given by their own names to where the config has them.

    Args:
        parser: of the configuration that is running.
        known: the base file; what stands in it under its own name stays there.

    Raises:
        InputError: naming an unknown setting and the nearest known one.
    """
    moved = {key: place for key in parser.config if (place := place_of(key, known))}
    for key, place in moved.items():
        parser[place] = parser.config.pop(key)
    for block, kind in BLOCKS.items():
        names = [*setting_names(kind), *known.get(block, {})]
        unknown = [key for key in parser.config.get(block, {}) if key not in names]
        if unknown:
            raise InputError(" ".join(_sentence(key, names, block) for key in unknown))
    if moved:
        parser.parse(reset=True)


def check_keys(base: str | os.PathLike[str]) -> None:
    """Compare the configuration that is running with the file that defines its keys.

    For use as an expression in ``initialize``: it finds the parser that evaluates it. Below a component (a
    mapping with ``_target_``) nothing is compared, since the component refuses unknown arguments itself; nor in a
    mapping that is empty in the file, which takes any key.

    Args:
        base: the YAML file of the stage, such as ``configs/train.yaml``; every key that overlays and
            overrides may set stands there.

    Raises:
        InputError: naming the unknown key and the nearest known one.
    """
    known = yaml.safe_load(Path(base).read_text())
    unknown = list(unknown_keys(running_parser().config, known))
    if unknown:
        every_key = [_SETTING.sub("", key) for key in _all_keys(known)]
        raise InputError(" ".join(_sentence(key, every_key, Path(base).name) for key in unknown))


def read_yaml_words() -> None:
    """Turn ``true``, ``false`` and ``null`` given on the command line into what they mean.

    MONAI's command line reads Python's words only and hands these over as text, of which every one is true. For
    use as an expression in ``initialize``, before anything else is evaluated from the values.
    """
    parser = running_parser()
    texts = {key: value for key, value in parser.config.items() if isinstance(value, str) and value in YAML_WORDS}
    if texts:
        parser.update({key: YAML_WORDS[value] for key, value in texts.items()})
        parser.parse(reset=True)  # what was parsed before holds the texts


def import_again() -> None:
    """Make the imports of the running configuration once more.

    MONAI makes them before it evaluates anything, and a package that it does not find it replaces by one that raises
    when it is used. For use as an expression in ``initialize``, once the bundle's folder is on Python's path: from
    another working directory it was not.
    """
    parser = running_parser()
    for statement in parser.config["imports"]:
        ConfigExpression(statement, globals=parser.globals).evaluate()


def unknown_keys(config: Mapping[str, Any], known: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield the ids of ``config`` that ``known`` does not define, such as ``train::max_epocs``.

    Args:
        config: parsed configuration, overlays and overrides merged.
        known: the base file.
        prefix: id of the mapping that both are in.
    """
    tools = _tool_keys() if not prefix else set()
    for key, value in config.items():
        identity = f"{prefix}{key}"
        if key not in known:
            if key not in tools:
                yield identity
        elif isinstance(value, Mapping) and isinstance(known[key], Mapping) and known[key] and TARGET not in known[key]:
            yield from unknown_keys(value, known[key], f"{identity}{ID_SEP_KEY}")


def _tool_keys() -> set[str]:
    """Return the top-level keys that MONAI itself knows or adds."""
    return {
        "_meta_",
        "finalize",
        *(key for settings in DEFAULT_EXP_MGMT_SETTINGS.values() for key in settings["configs"]),
    }


def running_parser() -> ConfigParser:
    """Return the parser that is evaluating the caller."""
    frame = inspect.currentframe()
    while frame is not None:
        parser = frame.f_locals.get("self")
        if isinstance(parser, ConfigParser):
            return parser
        frame = frame.f_back
    raise RuntimeError("no configuration is being evaluated; call this from a bundle's initialize section.")


def _all_keys(known: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield the ids of a mapping, outermost first."""
    for key, value in known.items():
        yield f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _all_keys(value, f"{prefix}{key}{ID_SEP_KEY}")


def _sentence(key: str, every_key: list[str], file: str) -> str:
    """Return what to tell about one unknown key."""
    close = difflib.get_close_matches(key, every_key, n=1, cutoff=0.0)
    return f"{key}: {file} has no such key, so it would change nothing; did you mean {close[0]}?"
