# SPDX-License-Identifier: Apache-2.0
"""Results of a BIDS data set as its derivatives, by BIDS 1.8 and later: https://bids-specification.readthedocs.io."""

import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from bundle.errors import InputError
from bundle.files import json_content, write_json
from bundle.keys import IMAGE, OUTPUT, REFERENCE, Pair
from bundle.settings import PathLike
from bundle.version import package_version
from bundle.volumes.names import TARGET_CONTRAST, absolute_path, parse_name, safe_name

logger = logging.getLogger(__name__)

DATASET: Final = "dataset"  # key of the top folder of the BIDS data set that a pair was found in
DESCRIPTION_FILE: Final = "dataset_description.json"
_RAW: Final = "raw"  # what derivatives call the data set that they come from
_GENERATOR: Final = "mcsr"


def with_outputs(pairs: Iterable[Pair], dataset_dir: PathLike) -> list[Pair]:
    """Return the pairs, those of a BIDS data set with ``dataset`` and ``output``, which is named as derivatives are."""
    dataset = absolute_path(dataset_dir)
    if not (dataset / DESCRIPTION_FILE).is_file():
        return list(pairs)
    return [pair | {OUTPUT: name, DATASET: str(dataset)} if (name := _output(pair)) else pair for pair in pairs]


def bids_sidecar(pair: Mapping[str, Any]) -> dict[str, Any]:
    """Return what BIDS wants to know of a result, for the JSON file beside it; nothing outside a BIDS data set."""
    if DATASET not in pair:
        return {}
    return {
        "Description": f"{TARGET_CONTRAST} super-resolved with the help of a reference of the same session",
        "Sources": [_uri(Path(pair[key]), Path(pair[DATASET])) for key in (IMAGE, REFERENCE) if pair.get(key)],
        "SpatialReference": "orig",  # the target's own space, which the result keeps
    }


def write_dataset_description(
    output_dir: PathLike, pairs: Iterable[Mapping[str, Any]], only_check: bool = False
) -> None:
    """Describe the folder of results as a derived data set, where pairs are of a BIDS data set and it is not yet.

    ``InputError`` if the folder holds a data set that is not derived, such as the source itself, or cannot be written;
    ``only_check`` writes nothing.
    """
    source = next((Path(pair[DATASET]) for pair in pairs if DATASET in pair), None)
    if source is None:
        return
    output = absolute_path(output_dir)
    if (file := output / DESCRIPTION_FILE).is_file():
        if _read(file).get("DatasetType") != "derivative":
            raise InputError(
                f"{output}: this output folder holds a BIDS data set that is not derived; choose another, "
                f"such as {source / 'derivatives' / _GENERATOR}."
            )
        return
    if only_check:
        return
    description = {
        "Name": f"Super-resolution of {_read(source / DESCRIPTION_FILE).get('Name') or source.name}",
        "BIDSVersion": "1.8.0",
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": _GENERATOR, "Version": package_version()}],
        "SourceDatasets": [{"URL": source.as_uri()}],
        "DatasetLinks": {_RAW: quote(os.path.relpath(source, output))},
    }
    write_json(file, description)
    logger.info("Wrote %s", file)


def _output(pair: Pair) -> str | None:
    """Return the path of a result below the output folder; ``None`` where the target has no BIDS name."""
    scan = parse_name(Path(pair[IMAGE]))
    if scan is None or "scan" in scan.entities:  # IXI's names have no entities
        return None
    entities = dict(scan.entities)
    label = f"{entities.pop('desc', '')}sr"  # a target that is a derivative itself keeps its label in ours
    folders = [f"{key}-{safe_name(entities[key])}" for key in ("sub", "ses") if key in entities]
    name = "_".join([*(f"{key}-{safe_name(value)}" for key, value in entities.items()), f"desc-{label}", scan.contrast])
    return "/".join([*folders, "anat", name])


def _uri(file: Path, source: Path) -> str:
    return f"bids:{_RAW}:{file.relative_to(source).as_posix()}" if file.is_relative_to(source) else file.as_uri()


def _read(file: Path) -> dict[str, Any]:
    try:
        return dict(json_content(file, "utf-8-sig"))
    except (OSError, ValueError, TypeError):
        return {}
