# SPDX-License-Identifier: Apache-2.0
"""Messages name keys of a config, as ``--ckpt_path FILE``; the command's own options stand in their place here."""

import argparse
import re
from collections.abc import Mapping
from typing import Final

# Keys that an option sets under another name.
_OTHERWISE_NAMED: Final = {"ckpt_path": "model"}
_KEY: Final = re.compile(r"--([a-z0-9]+(?:_[a-z0-9]+)*)(?: (true|false)\b)?")
Spelling = Mapping[tuple[str, bool | None], str]  # the option by the key, and the value that a switch sets


def spelling_of(parser: argparse.ArgumentParser) -> Spelling:
    """Return how a command spells the keys that its options set."""
    options = {}
    for action in parser._actions:  # argparse tells its options nowhere else
        if action.option_strings:
            is_switch = isinstance(action.const, bool) and action.nargs == 0
            options[action.dest, action.const if is_switch else None] = action.option_strings[-1]
    renamed = {(key, None): options[name, None] for key, name in _OTHERWISE_NAMED.items() if (name, None) in options}
    return options | renamed


def respelt(text: str, spelling: Spelling) -> str:
    """Return a message with ``--KEY`` and ``--KEY true`` or ``false`` as the options that do the same, if any do."""

    def option(found: re.Match[str]) -> str:
        key, value = found[1], found[2]
        if value and (switch := spelling.get((key, value == "true"))):
            return switch
        own = spelling.get((key, None))
        return f"{own} {value}" if own and value else own or found[0]

    return _KEY.sub(option, text)
