# SPDX-License-Identifier: Apache-2.0
"""Which weights are meant: by a file, a folder or a name."""

from pathlib import Path

from bundle.cli.options import path
from bundle.config_files import Expression
from bundle.errors import InputError


def named_weights(named: str, folder: Path) -> str:
    """Return the path of weights: a file, the one in a folder (``model.pt`` of several), or a name in ``folder``."""
    if isinstance(named, Expression):
        return named
    if (file := Path(path(named))).is_file():
        return str(file)
    own = {file.stem: file for file in sorted(folder.glob("*.pt"))}
    name = named.removesuffix(".pt")
    if file.is_dir() and (name not in own or any(file.glob("*.pt"))):
        return str(_only_file(file))
    if name not in own:
        known = ", ".join(own)
        raise InputError(f"{named}: there are no weights here; give a .pt file, or one of the bundle's: {known}.")
    return str(own[name])


def _only_file(folder: Path) -> Path:
    files = sorted(folder.glob("*.pt"))
    if len(files) == 1:
        return files[0]
    if (default := folder / "model.pt") in files:
        return default
    found = f"it holds {', '.join(file.name for file in files)}; name one of them" if files else "no .pt file is in it"
    raise InputError(f"{folder}: {found} as --model.")
