# SPDX-License-Identifier: Apache-2.0
"""Where results are, and the record beside each that says what it was made of: what is done is not done again."""

import json
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from bundle.case import Case
from bundle.data.bids import bids_sidecar
from bundle.data.reading import source_of
from bundle.errors import InputError
from bundle.files import json_content, remove_leftovers, stamp, write_json
from bundle.found import is_record
from bundle.keys import CASE, IMAGE, INTERVAL, REFERENCE, Pair
from bundle.transforms.dicom_output import DICOM_ENDING
from bundle.transforms.io import result_path
from bundle.version import package_version
from bundle.volumes.names import absolute_path


class Results:
    """Tell what of a folder of outputs is done, and mark what has been.

    Beside each output, ``<output>.json`` records its inputs, the settings, the warnings and facts of the case, and
    how long it took. It is written first without the output's size, by which what a kill leaves is known, and last with
    it: an output with such a record is whole. An output is made again where the
    settings (JSON values) differ, where a page, map or series beside it is missing, and without ``resume``.
    """

    def __init__(
        self,
        output_dir: str | os.PathLike[str],
        settings: Mapping[str, Any],
        ext: str = ".nii.gz",
        resume: bool = True,
        pages: bool = False,
    ) -> None:
        self.output_dir = Path(output_dir).expanduser()
        self.settings = json_value(settings)
        self.ext = ext
        self.resume = resume
        self.pages = pages

    def path(self, pair: Pair) -> Path:
        """Return where the output of a pair is written."""
        return result_path(self.output_dir, pair, ext=self.ext)

    def name(self, pair: Pair) -> str:
        """Return the path of the output of a pair below the folder."""
        return str(self.path(pair).relative_to(self.output_dir))

    def record_path(self, pair: Pair) -> Path:
        """Return where the record of a pair is."""
        return result_path(self.output_dir, pair, ext=".json")

    def files(self, pair: Pair) -> list[Path]:
        """Return all that is written of a pair: the output, its record, and what was asked for besides."""
        paths = [self.path(pair), self.record_path(pair)]
        if self.pages:
            paths.append(result_path(self.output_dir, pair, ext=".html"))
        if self.settings.get(INTERVAL):
            paths.append(result_path(self.output_dir, pair, INTERVAL, self.ext))
        if self.settings.get("dicom"):
            paths.append(result_path(self.output_dir, pair, ext=DICOM_ENDING))
        return paths

    def is_own(self, pair: Pair) -> bool:
        """Tell whether a record, damaged or not, shows that what lies in the place of a pair's output was made here."""
        return is_record(read_json(self.record_path(pair)))

    def finished(self, pair: Pair) -> dict[str, Any] | None:
        """Return the record of a pair that is done, by the same inputs and settings; otherwise ``None``."""
        record = self._record(pair)
        same = record.get("settings") == self.settings and _are_same(record.get("inputs"), pair)
        files = self.files(pair)
        whole = all(path.exists() for path in files) and files[0].stat().st_size == record.get("bytes")
        return record if same and whole else None

    def check_free(self, pair: Pair) -> None:
        """Refuse to replace the output of another image by an ``InputError`` that names both."""
        made_of: Any = self._record(pair)
        for key in ("inputs", IMAGE, "path"):
            made_of = made_of.get(key) if isinstance(made_of, dict) else None
        if made_of and made_of != str(absolute_path(pair[IMAGE])) and self.path(pair).is_file():
            raise InputError(
                f"{self.path(pair)}: this was made of {made_of}, and the result of {pair[IMAGE]} would replace it; "
                "give the case another name or another output folder, or replace it by --resume false."
            )

    def begin(self, pair: Pair) -> None:
        """Remove what a killed process has left half-written, and record that the output is not made yet."""
        remove_leftovers(self.path(pair).parent)
        inputs = {key: stamp(path) for key, path in _paths(pair).items()}
        write_json(self.record_path(pair), {"case": pair[CASE], "inputs": inputs, "settings": self.settings})

    def withdraw(self, pair: Pair) -> None:
        """Take back the record of a pair of which nothing was written."""
        output, record, *others = self.files(pair)
        if not any(path.exists() for path in (output, *others)):
            record.unlink(missing_ok=True)

    def mark(self, pair: Pair, found: Case) -> dict[str, Any]:
        """Write the record of a pair whose output is written, and what was found out about it, and return it."""
        record = {
            **bids_sidecar(pair),
            "case": pair[CASE],
            "output": self.name(pair),
            "bytes": self.path(pair).stat().st_size,
            "finished": datetime.now().astimezone().isoformat(timespec="seconds"),
            "inputs": dict(found.sources),
            "settings": self.settings,
            "version": package_version(),
            **found.told(),
            "facts": json_value(found.facts()),
        }
        write_json(self.record_path(pair), record)
        return record

    def _record(self, pair: Pair) -> dict[str, Any]:
        """Return what an earlier run has recorded of a pair; nothing where there is no record that can be read."""
        return (read_json(self.record_path(pair)) if self.resume else None) or {}


def json_value(value: Any) -> Any:
    """Return a value as JSON can hold it: tuples as lists, what is no number as ``None``, all else by its text."""
    text = json.dumps(value, default=lambda other: other.item() if hasattr(other, "item") else str(other))
    return json.loads(text, parse_constant=lambda _: None)


def read_json(path: Path) -> dict[str, Any] | None:
    """Read a JSON object; ``None`` where there is none, or it cannot be read."""
    try:
        content = json_content(path)
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _are_same(recorded: object, pair: Pair) -> bool:
    """Tell whether the inputs of a pair are those that a record tells of, by their stamps."""
    now = {key: stamp(source_of(path)) for key, path in _paths(pair).items()}
    if not isinstance(recorded, dict) or recorded.keys() != now.keys():
        return False
    return all(isinstance(recorded[key], dict) and recorded[key] == recorded[key] | now[key] for key in now)


def _paths(pair: Pair) -> dict[str, Path]:
    return {key: absolute_path(pair[key]) for key in (IMAGE, REFERENCE) if pair.get(key)}
