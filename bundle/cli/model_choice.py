# SPDX-License-Identifier: Apache-2.0
"""Which of several weights fit: by the training records that lie beside them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from bundle.errors import InputError
from bundle.settings import TrainingRecord, records_in

DEFAULT: Final = "model.pt"


def choose_weights(model: Path, options: Mapping[str, Any]) -> Path:
    """Return the weights to use.

    Args:
        model: a file of weights, or a folder of several; ``.pt`` files with a training record (``.json`` of the same
            name) count, or else the only ``.pt`` file. Of several that fit, ``model.pt`` is taken.
        options: of them ``factor``, ``reference``, ``reference_contrast`` and ``dataset_dir`` tell which weights fit.

    Raises:
        InputError: if none fits, or several do.
    """
    if not model.is_dir():
        return model
    files = sorted(model.glob("*.pt"))
    trained = {file: _purpose(record) for file, record in records_in(model).items()}
    if not trained:
        return _only_file(model, files)
    guided = {file: purpose for file, purpose in trained.items() if purpose["fusion"] != "none"}
    trained = guided or trained  # those without a reference are for cases where it cannot be used
    wanted = {"factor": options.get("factor")}
    fitting = _fitting(trained, wanted)
    if len({purpose["reference_contrast"] for purpose in fitting.values()}) > 1:
        wanted["reference_contrast"] = _contrast(options)
        fitting = _fitting(trained, wanted)
    if len(fitting) == 1:
        return next(iter(fitting))
    if model / DEFAULT in fitting:
        return model / DEFAULT
    asked = ", ".join(f"{key} {value}" for key, value in wanted.items() if value is not None) or "any factor"
    at_hand = "; ".join(
        f"{file.name}: factor {purpose['factor'] or '?'}, reference {purpose['reference_contrast'] or '?'}"
        for file, purpose in (fitting or trained).items()
    )
    number = f"{len(fitting)} weights are" if fitting else "no weights are"
    raise InputError(f"{model}: {number} for {asked} ({at_hand}); name one file as --model, or give another --factor.")


def _purpose(record: TrainingRecord) -> dict[str, Any]:
    """Return what tells weights apart."""
    model = record.model
    return {"factor": model.factor, "reference_contrast": record.reference_contrast, "fusion": model.fusion}


def _fitting(trained: Mapping[Path, dict[str, Any]], wanted: Mapping[str, Any]) -> dict[Path, dict[str, Any]]:
    """Keep the weights that were trained for what is wanted, as far as both tell."""
    stated = {key: value for key, value in wanted.items() if value is not None}
    return {
        file: purpose
        for file, purpose in trained.items()
        if all(purpose[key] in (None, value) for key, value in stated.items())
    }


def _contrast(options: Mapping[str, Any]) -> str | None:
    """Return the contrast of the references, as options or names tell it."""
    if (stated := options.get("reference_contrast", "auto")) != "auto":
        return str(stated)
    from bundle.data import contrast_of, requested_pairs  # takes seconds, and few need it

    pairs = requested_pairs(options.get("dataset_dir", ""), "auto", options.get("image"), options.get("reference"))
    return contrast_of(pairs)


def _only_file(folder: Path, files: list[Path]) -> Path:
    """Return the only file of weights in a folder without training records."""
    if len(files) == 1:
        return files[0]
    found = f"{len(files)} files" if files else "no file"
    raise InputError(f"{folder}: it holds {found} of weights (.pt) and no training record; name one file as --model.")
