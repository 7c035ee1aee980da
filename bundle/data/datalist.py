# SPDX-License-Identifier: Apache-2.0
"""Read pairs from a list: a MONAI datalist in JSON, a list of entries or sections of such lists, or a CSV table."""

import csv
import json
import logging
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bundle.errors import InputError
from bundle.files import json_content, read_text
from bundle.keys import CASE, FAULT, IMAGE, REFERENCE, SUBJECT, Pair
from bundle.volumes.names import NIFTI_ENDING, Scan, is_there, parse_name, safe_name

logger = logging.getLogger(__name__)

SECTION: Final = "section"  # key on pairs whose datalist has sections: train, validate or test
_SECTIONS: Final = {
    **{"training": "train", "validation": "validate", "testing": "test"},
    **{name: name for name in ("train", "validate", "test", "")},
}


def find_datalist(folder: Path) -> Path | None:
    """Return a folder's datalist: ``datalist.json``, or the one ``dataset*.json``, or ``*.json``, that holds pairs."""
    if (stated := folder / "datalist.json").is_file():
        return stated
    # Content decides: BIDS folders hold a dataset_description.json and side-cars, which are no datalists.
    files = [path for path in sorted(folder.glob("*.json")) if not path.name.startswith(".") and _holds_pairs(path)]
    preferred = [path for path in files if path.name.startswith("dataset")] or files
    if len(preferred) > 1:
        names = " and ".join(path.name for path in preferred[:2])
        raise InputError(f"{folder} holds several datalists, {names}; give the path of one of them as dataset_dir.")
    return preferred[0] if preferred else None


def read_datalist(path: Path, reference_contrast: str, needs_reference: bool = True) -> tuple[list[Pair], str]:
    """Return the pairs of a datalist, and the contrast of their references as names tell it.

    It is a JSON file, or by its ending a table whose first line names columns ``image`` and ``reference``, and
    ``subject`` and ``case`` where wanted. Paths count from its folder. With ``auto`` any contrast is taken. An entry
    that names no image, a missing file, another contrast, or no reference where one is needed, has a ``fault``.
    ``InputError`` if the file is damaged or empty.
    """
    if not (entries := _read_entries(path)):
        raise InputError(f"{path} lists no pairs; add entries with image and reference, or sections of them.")
    scans = [parse_name(Path(entry.files[IMAGE])) if IMAGE in entry.files else None for entry in entries]
    cases = _cases(path.parent, entries, scans)
    subjects = [scan.entities["sub"] if scan else case for scan, case in zip(scans, cases, strict=True)]
    pairs = []
    for entry, case, subject in zip(entries, cases, subjects, strict=True):
        fault = entry.fault or _missing(entry, needs_reference) or _other_contrast(entry, reference_contrast)
        named = {SUBJECT: subject} | entry.labels | {CASE: safe_name(entry.labels.get(CASE, case))}
        told = {FAULT: f"{path}, {entry.place}: {fault}."} if fault else {}
        pairs.append({IMAGE: "", **entry.files} | named | told)
    names = zip(scans, entries, pairs, strict=True)
    n_guessed = sum(not (scan or SUBJECT in entry.labels or FAULT in pair) for scan, entry, pair in names)
    if n_guessed:
        logger.warning(
            "%s: %d entries name no subject, so each file counts as a subject of its own; where a person was scanned "
            "more than once, add `subject` to the entries, or sessions may straddle a split",
            *(path, n_guessed),
        )
    contrasts = sorted({name for entry in entries if (name := entry.contrast)})
    if len(contrasts) > 1:
        logger.warning("%s mixes references of several contrasts: %s", path, ", ".join(contrasts))
    return pairs, " and ".join(contrasts) or "as listed"


@dataclass(frozen=True)
class _Entry:
    """One entry of a list."""

    place: str  # in the list
    files: dict[str, str]  # what it names of image and reference
    labels: dict[str, str]  # subject, case and section, as far as it says
    fault: str = ""  # why it is no entry

    @property
    def contrast(self) -> str | None:
        """The contrast of the reference, as its name tells it."""
        scan = parse_name(Path(self.files.get(REFERENCE, "")))
        return scan.contrast if scan else None


def _missing(entry: _Entry, needs_reference: bool) -> str:
    wanted = (IMAGE, REFERENCE) if needs_reference else (IMAGE,)
    if missing := [key for key in wanted if key not in entry.files]:
        return f"{missing[0]} is missing; name one file"
    lost = [file for file in entry.files.values() if not is_there(Path(file))]
    return f"{lost[0]} does not exist; paths count from the folder of the list" if lost else ""


def _other_contrast(entry: _Entry, wanted: str) -> str:
    if wanted == "auto" or entry.contrast in (None, wanted):
        return ""
    return (
        f"the reference is {entry.contrast} where reference_contrast is {wanted}; change the list, or set "
        "reference_contrast to auto"
    )


def _holds_pairs(path: Path) -> bool:
    try:
        return any({IMAGE, REFERENCE} <= entry.files.keys() for entry in _read_entries(path))
    except InputError:
        return False


def _read_entries(path: Path) -> list[_Entry]:
    return _table_entries(path) if path.suffix.lower() in (".csv", ".tsv") else _json_entries(path)


def _table_entries(path: Path) -> list[_Entry]:
    """Read the lines of a table as spreadsheets save it: comma, semicolon or tab, with or without a byte order mark."""
    try:
        lines = read_text(path, "utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as a table ({error}); save it as CSV UTF-8.") from error
    delimiter = max(",;\t", key=lines[0].count) if lines else ","
    table = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
    try:
        rows = [(cells, table.line_num) for cells in table]
    except csv.Error as error:
        raise InputError(f"{path}, line {table.line_num}: this is no table ({error}); save it as CSV UTF-8.") from error
    names = [name.strip().lower() for name in (rows.pop(0)[0] if rows else [])]
    if doubled := [name for name, count in Counter(filter(None, names)).items() if count > 1]:
        raise InputError(f"{path}: its first line names {doubled[0]} more than once; keep one of these columns.")
    if not {IMAGE, REFERENCE} <= set(names):
        raise InputError(f"{path}: its first line is {', '.join(names) or 'empty'}; name columns image and reference.")
    cells_by_line = ((dict(zip(names, map(str.strip, cells), strict=False)), line) for cells, line in rows)
    return [_entry(path, row, f"line {line}") for row, line in cells_by_line if any(row.values())]


def _json_entries(path: Path) -> list[_Entry]:
    try:
        content = json_content(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as a JSON datalist ({error}); mend it or take it away.") from error
    sections = content if isinstance(content, dict) else {"": content}
    sections = {name: listed for name, listed in sections.items() if name in _SECTIONS}
    if not all(isinstance(listed, list) for listed in sections.values()):
        raise InputError(f"{path} is no datalist; write a list of entries with image and reference, or sections of it.")
    listed_in = [(name, entry) for name, listed in sections.items() for entry in listed]
    return [_entry(path, entry, f"entry {i}", _SECTIONS[name]) for i, (name, entry) in enumerate(listed_in, 1)]


def _entry(path: Path, entry: object, place: str, section: str = "") -> _Entry:
    given = entry if isinstance(entry, dict) else {}
    named = {key: given[key] for key in (IMAGE, REFERENCE) if given.get(key) not in (None, "")}
    labels = {key: str(given[key]) for key in (SUBJECT, CASE) if given.get(key) not in (None, "")}
    labels |= {SECTION: section} if section else {}
    if not given or not all(isinstance(file, str) for file in named.values()):
        fault = f"it reads {json.dumps(entry)[:80]}; each entry needs image and reference, one file name each"
        return _Entry(place, {}, labels, fault)
    return _Entry(place, {key: os.path.normpath(path.parent / file) for key, file in named.items()}, labels)


def _cases(folder: Path, entries: Sequence[_Entry], scans: Sequence[Scan | None]) -> list[str]:
    """Name entries after their files, and their folders too where files share a name."""
    files = [NIFTI_ENDING.sub("", entry.files.get(IMAGE) or str(folder / entry.place)) for entry in entries]
    names = [scan.case if scan else Path(file).name for scan, file in zip(scans, files, strict=True)]
    paths = [os.path.relpath(file, folder).replace(os.sep, "_") for file in files]
    return [path if names.count(name) > 1 else name for name, path in zip(names, paths, strict=True)]
