# SPDX-License-Identifier: Apache-2.0
"""The bundle's config files; imports neither PyTorch nor MONAI, so that the command line tells a mistake at once."""

import ast
import difflib
import os
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from bundle.errors import InputError
from bundle.files import read_text
from bundle.settings import BLOCKS, place_of, setting_names
from bundle.version import DISTRIBUTION

SEPARATOR: Final = "::"  # between the parts of a key
OLD_SEPARATOR: Final = "#"  # which MONAI takes for the other, wherever it stands
EXPRESSION: Final = ("$", "@", "%")  # how texts start that MONAI evaluates, refers to or copies
PATH_KEY: Final = re.compile(r"image|reference|report|vgg_weights|.*_(dir|file|path)")
YAML_WORDS: Final = {"true": True, "false": False, "null": None}
TARGET: Final = "_target_"
VARIABLE: Final = "MCSR_BUNDLE"  # names the bundle's folder, where the package is installed apart from it
_PARSED: Final = re.compile(rf"[{OLD_SEPARATOR}{''.join(EXPRESSION)}]")
# What `monai.bundle run` takes besides the keys of a config.
_OF_MONAI: Final = ("tracking", "tracking_uri", "experiment_name", "run_name", "save_execute_config")
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # several times faster, where libyaml is there


class Expression(str):
    """A text that is meant for MONAI's parser; every other text is no code of anybody."""


def marked(value: Any) -> Any:
    """Return a value of a config with the texts in it that MONAI would evaluate, refer to or copy as such."""
    if isinstance(value, str):
        return Expression(value) if value.startswith(EXPRESSION) else value
    return _in_all(marked, value)


def inert(value: Any) -> Any:
    """Return a value that MONAI's parser reads as it is: nothing is evaluated in it but an :class:`Expression`.

    The parser makes ``::`` of every ``#``, and looks for ``$``, ``@`` and ``%``. A text in which it would find one
    becomes a string literal of Python in which these are escaped, which it evaluates to the text.
    """
    if isinstance(value, Expression):
        return str(value)
    if not isinstance(value, str):
        return _in_all(inert, value)
    if not _PARSED.search(value) and value not in YAML_WORDS:
        return value
    return "$" + _PARSED.sub(lambda found: f"\\x{ord(found[0]):02x}", ascii(value))


def fire_text(value: Any) -> str:
    """Write a value such that Fire, MONAI's command line, reads the same: text that looks like a literal is quoted."""
    if not isinstance(value, str):
        return repr(value)
    try:
        body = ast.parse(value, mode="eval").body
    except (SyntaxError, ValueError):
        return value
    return value if isinstance(body, ast.Name) and body.id == value else repr(value)


def bundle_root() -> Path:
    """Return the folder that holds ``configs``.

    The one that the package lies in, else the one that was installed with it, else the one in ``MCSR_BUNDLE``.
    """
    beside = Path(__file__).resolve().parents[1]
    named = os.environ.get(VARIABLE)
    folders = [beside] if _is_root(beside) else [*_installed(beside), *([Path(named).expanduser()] if named else [])]
    for folder in folders:
        if _is_root(folder):
            return folder.resolve()
    found = f"{VARIABLE} is {named}" if named else f"{VARIABLE} is not set"
    raise InputError(f"{beside}: the bundle's configs are not here and {found}; set it to the folder that holds them.")


def _installed(site: Path) -> list[Path]:
    """Return where a wheel in the folder ``site`` has put the bundle's folder, if it has."""
    from importlib.metadata import distributions  # takes longer than all else

    files = [file for one in distributions(name=DISTRIBUTION, path=[str(site)]) for file in one.files or []]
    return [Path(str(file.locate())).parents[1] for file in files if file.match("configs/inference.yaml")]


def _is_root(folder: Path) -> bool:
    return (folder / "configs" / "inference.yaml").is_file()


def read_config(file: Path) -> dict[str, Any]:
    """Read a YAML config; an ``InputError`` says where it is missing, damaged or no mapping."""
    try:
        content = yaml.load(read_text(file), _LOADER)
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: this config cannot be read ({error}); check the path and its rights.") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise InputError(f"{file}: this config is no YAML ({' '.join(str(error).split())}); mend it.") from error
    if not isinstance(content, dict):
        raise InputError(f"{file}: this config is no mapping; write lines such as `max_epochs: 2`.")
    return content


def refuse_unknown_keys(
    settings: Mapping[str, Any], known: Mapping[str, Any], file: str, options: Collection[str] = ()
) -> None:
    """Refuse keys that a config does not define: MONAI takes any key, and never uses a mistyped one.

    Below a component (a mapping with ``_target_``) and in a mapping that is empty in the config any key is taken: the
    component itself refuses unknown arguments. A setting of ``model`` or ``recipe`` may stand under its own name.
    Settings may be nested, or have ``::`` between the parts of a key. An ``InputError`` names the key and the nearest
    known one, which may be one of the ``options`` of the command line.
    """
    for identity, value in settings.items():
        if identity in _OF_MONAI or place_of(identity, known):
            continue
        defined = _definition(identity, known, file, options)
        is_open = isinstance(defined, Mapping) and _takes_any_key(defined) and identity not in BLOCKS
        if isinstance(value, Mapping) and isinstance(defined, Mapping) and not is_open:
            refuse_unknown_keys({f"{identity}{SEPARATOR}{key}": value[key] for key in value}, known, file)


def nearest(name: str, names: Collection[str]) -> str:
    """Return the most similar of several names."""
    return difflib.get_close_matches(name, names, n=1, cutoff=0.0)[0]


def _in_all(change: Callable[[Any], Any], value: Any) -> Any:
    if isinstance(value, dict):
        return {key: change(inner) for key, inner in value.items()}
    return type(value)(map(change, value)) if isinstance(value, (list, tuple)) else value


def _definition(identity: str, known: Mapping[str, Any], file: str, options: Collection[str]) -> Any:
    """Return what a config holds under a key; ``None`` where what is above the key takes any."""
    above: Any = known
    parts = identity.split(SEPARATOR)
    for depth, part in enumerate(parts):
        if isinstance(above, Mapping) and part in above:
            above = above[part]
        elif isinstance(above, list) and part.isdigit() and int(part) < len(above):
            above = above[int(part)]
        elif depth and _is_open(parts[:depth], part, above):
            return None
        else:
            raise InputError(f"{identity}: {_fault(parts[: depth + 1], above, file, options)}")
    return above


def _is_open(outer: list[str], part: str, above: Any) -> bool:
    """Tell whether there may be a key that the config does not have."""
    if block := BLOCKS.get(outer[0]):
        return len(outer) > 1 or part in setting_names(block)
    return isinstance(above, Mapping) and _takes_any_key(above)


def _takes_any_key(mapping: Mapping[str, Any]) -> bool:
    return not mapping or TARGET in mapping


def _fault(parts: list[str], above: Any, file: str, options: Collection[str]) -> str:
    """Say what is wrong with the last part of a key, and which was meant."""
    outer = SEPARATOR.join(parts[:-1])
    if isinstance(above, list):
        return f"{outer} of {file} is a list of {len(above)}; name one by its number, from 0."
    if not isinstance(above, Mapping):
        return f"{outer} of {file} is one value ({above}), with nothing below it; set {outer} itself."
    listed = setting_names(BLOCKS[outer]) if outer in BLOCKS else list(above)
    names = {key: key for key in (SEPARATOR.join([*parts[:-1], str(key)]) for key in listed)}
    if not outer:
        names |= {name: name for block, kind in BLOCKS.items() if block in above for name in setting_names(kind)}
        names |= {option[2:]: option for option in options if option.startswith("--")}
    meant = names[nearest(SEPARATOR.join(parts), names)]
    return f"{file} has no key {parts[-1]}, so it would change nothing; did you mean {meant}?"
