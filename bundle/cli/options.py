# SPDX-License-Identifier: Apache-2.0
"""What may stand on a command line: options that several commands share, their values, and keys of a config."""

import argparse
import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from bundle.config_files import EXPRESSION, OLD_SEPARATOR, PATH_KEY, SEPARATOR, Expression, marked, nearest
from bundle.errors import InputError
from bundle.volumes.names import REFERENCE_CONTRASTS, absolute_path, is_there

_QUOTES: Final = ("'", '"')
_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def path(text: str) -> str:
    """Make a path absolute, since a bundle runs in its own folder."""
    if not text:
        raise argparse.ArgumentTypeError("a name is missing")
    return str(absolute_path(text))


def existing(text: str) -> str:
    """Make the path of something that is there absolute."""
    found = Path(path(text))
    if is_there(found):
        return str(found)
    beside = [entry.name for entry in sorted(found.parent.iterdir())] if found.parent.is_dir() else []
    close = difflib.get_close_matches(found.name, beside, n=1)
    hint = f" (is {found.parent / close[0]} meant?)" if close else ""
    raise argparse.ArgumentTypeError(f"{text} does not exist{hint}")


def count(text: str) -> int:
    """Read a whole number of at least 1."""
    if not re.fullmatch(r"0*[1-9]\d*", text):
        raise argparse.ArgumentTypeError(f"{text} is no whole number above 0")
    return int(text)


def millimetres(text: str) -> float:
    """Read a length above 0."""
    if not _NUMBER.fullmatch(text) or not float(text) > 0:
        raise argparse.ArgumentTypeError(f"{text} is no length above 0 mm; write a number such as 1.5")
    return float(text)


def factor(text: str) -> float | list[float]:
    """Read a factor above 1, or two with a comma between them, for rows and columns."""
    factors = [yaml_value(part) for part in text.removeprefix("[").removesuffix("]").split(",")]
    numbers = all(isinstance(value, (int, float)) and value >= 1 for value in factors)
    if not numbers or max(factors) == 1 or len(factors) > 2:
        raise argparse.ArgumentTypeError(f"{text} is no number above 1; write 4, or 4,2 for rows and columns")
    return factors[0] if len(set(factors)) == 1 else factors


def device(text: str) -> Expression:
    """Turn ``cpu``, ``cuda`` or ``cuda:1`` into the expression that configs use; expressions stay."""
    if text.startswith(EXPRESSION):
        return Expression(text)
    if not re.fullmatch(r"(cpu|cuda|mps|xpu)(:\d+)?", text):
        raise argparse.ArgumentTypeError(f"{text} is no device; choose cpu, cuda or cuda:1")
    return Expression(f"$torch.device('{text}')")


# Arguments of options that several commands share.
CONTRAST: Final[dict[str, Any]] = {"choices": ("auto", *REFERENCE_CONTRASTS)}
_PROCESSORS = "cpu, cuda or cuda:1; default: the first GPU"
DEVICE: Final[dict[str, Any]] = {"type": device, "metavar": "NAME", "help": _PROCESSORS}
OUTPUT: Final[dict[str, Any]] = {"dest": "output_dir", "type": path, "metavar": "FOLDER"}


def add_switch(parser: argparse._ActionsContainer, flag: str, meaning: str) -> None:
    """Add an option without a value that sets the key it names to true, or to false where it begins with ``--no-``."""
    negative = flag.startswith("--no-")
    key = flag.removeprefix("--no-" if negative else "--").replace("-", "_")
    parser.add_argument(flag, dest=key, action="store_const", const=not negative, help=meaning)


def split_keys(
    arguments: Sequence[str], options: Mapping[str, argparse.Action]
) -> tuple[list[str], list[tuple[str, str]]]:
    """Return what a command understands, and pairs of key and value, as of a switch with one: ``--degrade true``."""
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
    """Return values by key, from pairs of key and YAML and, which win, ``key=value`` texts; paths made absolute."""
    split = [text.partition("=") for text in texts]
    for key, equals, _ in split:
        if not key or not equals:
            raise InputError(f"--set {key}: write --set KEY=VALUE, such as --set output_dtype=input.")
    named = [(key.replace(OLD_SEPARATOR, SEPARATOR), value) for key, value in (*pairs, *((k, v) for k, _, v in split))]
    return {key: path_value(text) if PATH_KEY.fullmatch(key) else yaml_value(text) for key, text in named}


def yaml_value(text: str) -> Any:
    """Read a value as YAML does, but 2e-5 as a number, and dates, MONAI's expressions and plain words as they stand."""
    if text.startswith(EXPRESSION):
        return Expression(text)
    value = _yaml(text, yaml.SafeLoader)
    if isinstance(value, str):
        if _NUMBER.fullmatch(value):
            return float(value)
        return value if text.startswith(_QUOTES) else text  # in which YAML takes " #" for a comment
    return marked(value) if value is None or isinstance(value, (bool, int, float, list, dict)) else text


def path_value(text: str) -> Any:
    """Make the path of a file or folder absolute, since a bundle runs in its own folder, whatever its name.

    ``null``, MONAI's expressions and a path in quotes are read as such: before a name that looks like one of them
    stands ``./``.
    """
    if text.startswith(EXPRESSION):
        return Expression(text)
    if text in ("", "null"):
        return None
    return str(absolute_path(_yaml(text, yaml.BaseLoader) if text.startswith(_QUOTES) else text))


def _yaml(text: str, loader: type) -> Any:
    try:
        return yaml.load(text, loader)
    except yaml.YAMLError as error:
        raise InputError(f"{text}: this value cannot be read as YAML; put quotes around it.") from error
