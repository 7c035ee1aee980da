# SPDX-License-Identifier: Apache-2.0
"""Options that several commands share, and what may stand after an option."""

import argparse
import difflib
import re
from pathlib import Path
from typing import Any

from bundle.cli.overrides import EXPRESSION, yaml_value
from bundle.volumes.names import REFERENCE_CONTRASTS, absolute_path


def path(text: str) -> str:
    """Make a path absolute, since a bundle runs in its own folder."""
    if not text:
        raise argparse.ArgumentTypeError("a name is missing")
    return str(absolute_path(text))


def existing(text: str) -> str:
    """Make the path of something that is there absolute."""
    found = Path(path(text))
    if found.exists():
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


def factor(text: str) -> float | list[float]:
    """Read a factor above 1, or two with a comma between them, for rows and columns."""
    factors = [yaml_value(part) for part in text.removeprefix("[").removesuffix("]").split(",")]
    numbers = all(isinstance(value, (int, float)) and value >= 1 for value in factors)
    if not numbers or max(factors) == 1 or len(factors) > 2:
        raise argparse.ArgumentTypeError(f"{text} is no number above 1; write 4, or 4,2 for rows and columns")
    return factors[0] if len(set(factors)) == 1 else factors


def add_command(commands: Any, name: str, summary: str, description: str, **settings: Any) -> argparse.ArgumentParser:
    """Add a command to ``commands``, which ``ArgumentParser.add_subparsers`` returns, and return its parser."""
    return commands.add_parser(
        name,
        help=summary,
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        **settings,
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add the option that chooses a processor."""
    parser.add_argument("--device", type=_device, metavar="NAME", help="cpu, cuda or cuda:1; default: the first GPU")


def add_output(parser: argparse.ArgumentParser, meaning: str) -> None:
    """Add the option that names the folder of the results."""
    parser.add_argument("-o", "--output", dest="output_dir", type=path, metavar="FOLDER", help=meaning)


def add_contrast(parser: argparse._ActionsContainer, meaning: str) -> None:
    """Add the option that chooses the reference's contrast."""
    parser.add_argument("--reference-contrast", choices=("auto", *REFERENCE_CONTRASTS), help=meaning)


def add_switch(parser: argparse._ActionsContainer, flag: str, meaning: str) -> None:
    """Add an option without a value that sets the key it names to true, or to false where it begins with ``--no-``."""
    negative = flag.startswith("--no-")
    key = flag.removeprefix("--no-" if negative else "--").replace("-", "_")
    parser.add_argument(flag, dest=key, action="store_const", const=not negative, help=meaning)


def _device(text: str) -> str:
    """Turn ``cpu``, ``cuda`` or ``cuda:1`` into the expression that configs use; expressions stay."""
    if text.startswith(EXPRESSION):
        return text
    if not re.fullmatch(r"(cpu|cuda|mps|xpu)(:\d+)?", text):
        raise argparse.ArgumentTypeError(f"{text} is no device; choose cpu, cuda or cuda:1")
    return f"$torch.device('{text}')"
