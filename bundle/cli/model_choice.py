# SPDX-License-Identifier: Apache-2.0
"""Which of several weights fit: by the training records that lie beside them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from bundle.errors import InputError

DEFAULT: Final = "model.pt"


def choose_weights(model: Path, options: Mapping[str, Any]) -> Path:
    """Return the weights to use.

    Args:
        model: a file of weights, or a folder of several; ``.pt`` files with a training record (``.json`` of the same
            name) count, or else the only ``.pt`` file.
        options: of them ``factor``, ``reference``, ``reference_contrast`` and ``dataset_dir`` tell which weights fit.

    Returns:
        The file; of several that fit, the one that is the folder's default by its name, ``model.pt``.

    Raises:
        InputError: if none fits, or several do.
    """
    if not model.is_dir():
        return model
    records = {file: record for file in sorted(model.glob("*.pt")) if (record := _record(file)) is not None}
    if not records:
        return _only_file(model)
    guided = {file: record for file, record in records.items() if record.get("fusion") != "none"}
    records = guided or records  # those without a reference are for cases where it cannot be used
    wanted = {"factor": options.get("factor")}
    fitting = _fitting(records, wanted)
    if len({record.get("reference_contrast") for record in fitting.values()}) > 1:
        wanted["reference_contrast"] = _contrast(options)
        fitting = _fitting(records, wanted)
    if len(fitting) == 1:
        return next(iter(fitting))
    if model / DEFAULT in fitting:
        return model / DEFAULT
    asked = ", ".join(f"{key} {value}" for key, value in wanted.items() if value is not None) or "any factor"
    at_hand = "; ".join(f"{file.name}: {_told(record)}" for file, record in (fitting or records).items())
    count = f"{len(fitting)} weights are" if fitting else "no weights are"
    raise InputError(f"{model}: {count} for {asked} ({at_hand}); name one file as --model, or give another --factor.")


def _fitting(records: Mapping[Path, Mapping[str, Any]], wanted: Mapping[str, Any]) -> dict[Path, Mapping[str, Any]]:
    """Keep the weights whose record agrees with what is wanted, as far as both tell."""
    stated = {key: value for key, value in wanted.items() if value is not None}
    return {
        file: record
        for file, record in records.items()
        if all(record.get(key) in (None, value) for key, value in stated.items())
    }


def _contrast(options: Mapping[str, Any]) -> str | None:
    """Return the contrast of the references, as options or names tell it."""
    if (stated := options.get("reference_contrast", "auto")) != "auto":
        return str(stated)
    from bundle.data import contrast_of, requested_pairs  # takes seconds, and few need it

    pairs = requested_pairs(options.get("dataset_dir", ""), "auto", options.get("image"), options.get("reference"))
    return contrast_of(pairs)


def _only_file(folder: Path) -> Path:
    """Return the only file of weights in a folder without training records."""
    files = sorted(folder.glob("*.pt"))
    if len(files) != 1:
        found = f"{len(files)} files" if files else "no file"
        raise InputError(
            f"{folder}: it holds {found} of weights (.pt) and no training record; name one file as --model."
        )
    return files[0]


def _record(weights: Path) -> dict[str, Any] | None:
    """Return the training record beside weights, or ``None``."""
    try:
        content = json.loads(weights.with_suffix(".json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _told(record: Mapping[str, Any]) -> str:
    """Say in a few words what weights were trained for."""
    return f"factor {record.get('factor', '?')}, reference {record.get('reference_contrast') or '?'}"
