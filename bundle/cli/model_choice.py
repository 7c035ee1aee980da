# SPDX-License-Identifier: Apache-2.0
"""Which weights are meant: by their name, or by the training records that lie beside several."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bundle.cli.options import EXPRESSION, path
from bundle.errors import InputError
from bundle.settings import records_in


def choose_weights(model: Path, options: Mapping[str, Any]) -> Path:
    """Return a file of weights as it is, or of a folder of several those that the options ask for.

    ``.pt`` files with a training record (``.json`` of the same name) count, or else the only ``.pt`` file. Of several
    that fit ``factor`` and the contrast of the references, ``model.pt`` is taken.
    """
    if not model.is_dir():
        return model
    records = records_in(model)
    if not records:
        return _only_file(model)
    # those without a reference are for cases where it cannot be used
    records = {file: record for file, record in records.items() if record.model.fusion != "none"} or records
    factor, contrast = options.get("factor"), None
    fitting = [file for file, record in records.items() if _agree(record.model.factor, factor)]
    if len({records[file].reference_contrast for file in fitting}) > 1:
        contrast = _contrast(options)
        fitting = [file for file in fitting if _agree(records[file].reference_contrast, contrast)]
    if len(fitting) == 1:
        return fitting[0]
    if model / "model.pt" in fitting:
        return model / "model.pt"
    wanted = {"factor": factor, "reference_contrast": contrast}
    asked = ", ".join(f"{key} {value}" for key, value in wanted.items() if value is not None) or "any factor"
    at_hand = "; ".join(
        f"{file.name}: factor {records[file].model.factor or '?'}, reference {records[file].reference_contrast or '?'}"
        for file in fitting or records
    )
    found = f"{len(fitting) or 'no'} weights are for {asked} ({at_hand})"
    raise InputError(f"{model}: {found}; name one file as --model, or give another --factor.")


def named_weights(named: str, folder: Path) -> str:
    """Return the path of weights: a file, or that of a folder by its name."""
    if named.startswith(EXPRESSION):
        return named
    if Path(file := path(named)).is_file():
        return file
    own = {file.stem: file for file in sorted(folder.glob("*.pt"))}
    if (name := named.removesuffix(".pt")) not in own:
        known = ", ".join(own)
        raise InputError(f"{named}: there are no weights here; give a .pt file, or one of the bundle's: {known}.")
    return str(own[name])


def _agree(recorded: Any, wanted: Any) -> bool:
    return recorded is None or wanted is None or bool(recorded == wanted)


def _contrast(options: Mapping[str, Any]) -> str | None:
    if (stated := options.get("reference_contrast", "auto")) != "auto":
        return str(stated)
    from bundle.data import contrast_of, requested_pairs  # takes seconds, and few need it

    pairs = requested_pairs(options.get("dataset_dir", ""), "auto", options.get("image"), options.get("reference"))
    return contrast_of(pairs)


def _only_file(folder: Path) -> Path:
    files = list(folder.glob("*.pt"))
    if len(files) == 1:
        return files[0]
    found = f"{len(files)} files" if files else "no file"
    raise InputError(f"{folder}: it holds {found} of weights (.pt) and no training record; name one file as --model.")
