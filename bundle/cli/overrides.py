# SPDX-License-Identifier: Apache-2.0
"""Keys of a config that a command line sets, with values in YAML's words."""

import argparse
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import yaml

from bundle.config_files import SEPARATOR, nearest
from bundle.errors import InputError
from bundle.volumes.names import absolute_path

EXPRESSION: Final = ("$", "@", "%")
"""How values start that MONAI evaluates, refers to or copies."""
_PATH_KEY: Final = re.compile(r"image|reference|report|ensemble|vgg_weights|.*_(dir|file|path)")
_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def split_keys(
    arguments: Sequence[str], options: Mapping[str, argparse.Action]
) -> tuple[list[str], list[tuple[str, str]]]:
    """Take ``--key value`` and ``--key=value`` out of a command line, for every key that is no option of it.

    So are switches with a truth value, such as ``--degrade true``: what messages of the configs name as remedies.

    Returns:
        The other arguments, and pairs of key and value.

    Raises:
        InputError: if a value is missing.
    """
    known: list[str] = []
    keys: list[tuple[str, str]] = []
    rest = list(reversed(arguments))
    while rest:
        argument = rest.pop()
        name, equals, value = argument.partition("=")
        option = options.get(name)
        is_switch = option is not None and option.nargs == 0 and rest and rest[-1] in ("true", "false")
        if not name.startswith("--") or name == "--" or (option is not None and not is_switch):
            known.append(argument)
        elif equals:
            keys.append((name[2:], value))
        elif rest and not rest[-1].startswith("--"):
            keys.append((name[2:], rest.pop()))
        else:
            raise InputError(f"{name} is no option that stands alone; did you mean {nearest(name, sorted(options))}?")
    return known, keys


def read_settings(pairs: Iterable[tuple[str, str]], texts: Iterable[str] = ()) -> dict[str, Any]:
    """Return values by key, from pairs of key and YAML and, which win, from ``key=value`` texts; paths made absolute.

    Raises:
        InputError: if a text has no equals sign, or a value is no YAML.
    """
    split = [text.partition("=") for text in texts]
    for key, equals, _ in split:
        if not key or not equals:
            raise InputError(f"--set {key}: write --set KEY=VALUE, such as --set output_dtype=input.")
    named = [(key.replace("#", SEPARATOR), text) for key, text in (*pairs, *((key, text) for key, _, text in split))]
    return {key: _absolute_where_path(key, yaml_value(text)) for key, text in named}


def yaml_value(text: str) -> Any:
    """Read a value as YAML does, but 2e-5 as a number, and dates and MONAI's expressions as text.

    Raises:
        InputError: if it is no YAML.
    """
    if text.startswith(EXPRESSION):
        return text
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"{text}: this value cannot be read as YAML; put quotes around it.") from error
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return float(value)
    return value if value is None or isinstance(value, (bool, int, float, str, list, dict)) else text


def _absolute_where_path(key: str, value: Any) -> Any:
    """Make a value absolute where its key names a path, or paths, since a bundle runs in its own folder."""
    if isinstance(value, list):
        return [_absolute_where_path(key, one) for one in value]
    if isinstance(value, str) and value and _PATH_KEY.fullmatch(key) and not value.startswith(EXPRESSION):
        return str(absolute_path(value))
    return value
