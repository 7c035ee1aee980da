# SPDX-License-Identifier: Apache-2.0
"""What may stand after an option, and what of a config it becomes."""

import argparse
import difflib
import os
import re
from pathlib import Path
from typing import Any, Final

import yaml

from bundle.errors import InputError

EXPRESSION: Final = ("$", "@", "%")
"""How values start that MONAI evaluates, refers to or copies."""
_PATH_KEY: Final = re.compile(r"image|reference|report|ensemble|vgg_weights|.*_(dir|file|path)")
_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def path(text: str) -> str:
    """Make a path absolute, since a bundle runs in its own folder; links keep their names."""
    if not text:
        raise argparse.ArgumentTypeError("a name is missing")
    return os.path.abspath(os.path.expanduser(text))  # noqa: PTH100, PTH111 - pathlib refuses ~ of unknown users


def existing(text: str) -> str:
    """Make the path of something that is there absolute."""
    found = Path(path(text))
    if not found.exists():
        raise argparse.ArgumentTypeError(f"{text} does not exist{_nearest_sibling(found)}")
    return str(found)


def device(text: str) -> str:
    """Turn ``cpu``, ``cuda`` or ``cuda:1`` into the expression that configs use; expressions stay."""
    if text.startswith(EXPRESSION):
        return text
    if not re.fullmatch(r"(cpu|cuda|mps|xpu)(:\d+)?", text):
        raise argparse.ArgumentTypeError(f"{text} is no device; choose cpu, cuda or cuda:1")
    return f"$torch.device('{text}')"


def count(text: str) -> int:
    """Read a whole number of at least 1."""
    if not re.fullmatch(r"0*[1-9]\d*", text):
        raise argparse.ArgumentTypeError(f"{text} is no whole number above 0")
    return int(text)


def factor(text: str) -> float | list[float]:
    """Read a factor above 1, or two with a comma between them, for rows and columns."""
    factors = [yaml_value(part) for part in text.removeprefix("[").removesuffix("]").split(",")]
    numbers = all(isinstance(value, (int, float)) and value >= 1 for value in factors)
    if not numbers or max(factors) == 1 or len(factors) > 2:
        raise argparse.ArgumentTypeError(f"{text} is no number above 1; write 4, or 4,2 for rows and columns")
    return factors[0] if len(set(factors)) == 1 else factors


def subjects(text: str) -> float | list[str]:
    """Read a fraction such as 0.2, or names with commas between them."""
    if re.fullmatch(r"0?\.\d+|0", text):
        return float(text)
    return [name.strip() for name in text.split(",") if name.strip()]


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


def absolute_where_path(key: str, value: Any) -> Any:
    """Make a value absolute where its key names a path, or paths."""
    if isinstance(value, list):
        return [absolute_where_path(key, one) for one in value]
    if isinstance(value, str) and value and _PATH_KEY.fullmatch(key) and not value.startswith(EXPRESSION):
        return path(value)
    return value


def nearest(name: str, names: list[str]) -> str:
    """Return the most similar of several names."""
    return difflib.get_close_matches(name, names, n=1, cutoff=0.0)[0]


def _nearest_sibling(missing: Path) -> str:
    """Return a hint naming the sibling with the most similar name, or an empty text."""
    siblings = [entry.name for entry in sorted(missing.parent.iterdir())] if missing.parent.is_dir() else []
    close = difflib.get_close_matches(missing.name, siblings, n=1)
    return f" (is {missing.parent / close[0]} meant?)" if close else ""
