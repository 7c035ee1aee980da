# SPDX-License-Identifier: Apache-2.0
"""Keys of a config that the command line sets, held against the config: MONAI takes any and never uses a wrong one."""

import argparse
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from bundle.cli.values import absolute_where_path, nearest, yaml_value
from bundle.errors import InputError

SEPARATOR: Final = "::"
_TARGET: Final = "_target_"
_OF_MONAI: Final = ("tracking", "tracking_uri", "experiment_name", "run_name", "save_execute_config")
"""What ``monai.bundle run`` takes besides the keys of a config."""
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # several times faster, where libyaml is there


def split_keys(
    arguments: Sequence[str], options: Mapping[str, argparse.Action]
) -> tuple[list[str], list[tuple[str, str]]]:
    """Take ``--key value`` and ``--key=value`` out of a command line, for every key that is no option of it.

    So are switches with a truth value, such as ``--degrade true``: what messages of the configs name as remedies.

    Args:
        arguments: the command line.
        options: the options that the command knows, by name.

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


def entries(texts: Iterable[str]) -> list[tuple[str, str]]:
    """Split ``key=value`` texts.

    Raises:
        InputError: if one has no equals sign.
    """
    pairs = [text.partition("=") for text in texts]
    for key, equals, _ in pairs:
        if not key or not equals:
            raise InputError(f"--set {key}: write --set KEY=VALUE, such as --set output_dtype=input.")
    return [(key, value) for key, _, value in pairs]


def values(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Read the values of keys as YAML, with ``::`` between the parts of a key, and paths made absolute."""
    read = {}
    for key, text in pairs:
        identity = key.replace("#", SEPARATOR)
        read[identity] = absolute_where_path(identity, yaml_value(text))
    return read


def read_config(file: Path) -> dict[str, Any]:
    """Read a YAML config.

    Raises:
        InputError: if it is missing, damaged or no mapping.
    """
    try:
        content = yaml.load(file.read_text(encoding="utf-8"), _LOADER)
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: this config cannot be read ({error}); check the path and its rights.") from error
    except yaml.YAMLError as error:
        raise InputError(f"{file}: this config is no YAML ({' '.join(str(error).split())}); mend it.") from error
    if not isinstance(content, dict):
        raise InputError(f"{file}: this config is no mapping; write lines such as `max_epochs: 2`.")
    return content


def check(identities: Iterable[str], config: Mapping[str, Any], name: str, options: Collection[str] = ()) -> None:
    """Refuse keys that a config does not define.

    Below a component (a mapping with ``_target_``) and in a mapping that is empty in the config any key is taken: the
    component itself refuses unknown arguments.

    Args:
        identities: keys, with ``::`` between their parts.
        config: the config that defines the keys.
        name: what to call it.
        options: options of the command, one of which may have been meant.

    Raises:
        InputError: naming the key and the nearest known one.
    """
    for identity in identities:
        if identity not in _OF_MONAI:
            _check_one(identity, config, name, options)


def _check_one(identity: str, config: Mapping[str, Any], name: str, options: Collection[str]) -> None:
    """Follow one key through the config."""
    parent: Any = config
    parts = identity.split(SEPARATOR)
    for depth, part in enumerate(parts):
        if isinstance(parent, Mapping) and part in parent:
            parent = parent[part]
        elif isinstance(parent, list) and part.isdigit() and int(part) < len(parent):
            parent = parent[int(part)]
        elif depth and isinstance(parent, Mapping) and (not parent or _TARGET in parent):
            return
        else:
            above = SEPARATOR.join(parts[:depth])
            raise InputError(_sentence(identity, part, above, parent, name, options))


def _sentence(identity: str, part: str, above: str, parent: Any, name: str, options: Collection[str]) -> str:
    """Say what is wrong with a key, and which was meant."""
    if isinstance(parent, list):
        return f"{identity}: {above} of {name} is a list of {len(parent)}; name one by its number, from 0."
    if not isinstance(parent, Mapping):
        return f"{identity}: {above} of {name} is one value ({parent}), with nothing below it; set {above} itself."
    keys = [f"{above}{SEPARATOR}{key}" if above else str(key) for key in parent]
    if not above:
        names = {key: key for key in keys} | {option[2:]: option for option in options if option.startswith("--")}
        meant = names[nearest(part, list(names))]
    else:
        meant = nearest(f"{above}{SEPARATOR}{part}", keys)
    return f"{identity}: {name} has no key {part}, so it would change nothing; did you mean {meant}?"
