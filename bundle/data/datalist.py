# SPDX-License-Identifier: Apache-2.0
"""Read pairs from a list: a MONAI datalist in JSON, a list of entries or sections of such lists, or a CSV table."""

import csv
import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from bundle.errors import InputError
from bundle.files import json_content, read_text
from bundle.keys import CASE, IMAGE, REFERENCE, SUBJECT, Pair
from bundle.volumes.names import NIFTI_ENDING, Scan, first_few, is_there, parse_name, safe_name

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


def read_datalist(path: Path, reference_contrast: str) -> tuple[list[Pair], str]:
    """Return the pairs of a datalist, and the contrast of their references as names tell it.

    It is a JSON file, or by its ending a table whose first line names columns ``image`` and ``reference``, and
    ``subject`` and ``case`` where wanted. Paths count from its folder. With ``auto`` any contrast is taken.
    ``InputError`` if the file is damaged or empty, names missing files, or lists another contrast.
    """
    if not (entries := _read_entries(path)):
        raise InputError(f"{path} lists no pairs; add entries with image and reference, or sections of them.")
    missing = [file for entry in entries for file in (entry[IMAGE], entry[REFERENCE]) if not is_there(Path(file))]
    if missing:
        raise InputError(f"{path} lists missing files: {first_few(missing)}; paths count from the datalist's folder.")
    scans = [parse_name(Path(entry[IMAGE])) for entry in entries]
    cases = _cases(path.parent, entries, scans)
    subjects = [scan.entities["sub"] if scan else case for scan, case in zip(scans, cases, strict=True)]
    if n_guessed := sum(not scan and SUBJECT not in entry for scan, entry in zip(scans, entries, strict=True)):
        logger.warning(
            "%s: %d entries name no subject, so each file counts as a subject of its own; where a person was scanned "
            "more than once, add `subject` to the entries, or sessions may straddle a split",
            *(path, n_guessed),
        )
    pairs = [
        {SUBJECT: subject} | entry | {CASE: safe_name(entry.get(CASE, case))}
        for subject, case, entry in zip(subjects, cases, entries, strict=True)
    ]
    return pairs, _listed_contrast(path, pairs, reference_contrast)


def _holds_pairs(path: Path) -> bool:
    try:
        return bool(_read_entries(path))
    except InputError:
        return False


def _read_entries(path: Path) -> list[dict[str, str]]:
    return _table_entries(path) if path.suffix.lower() in (".csv", ".tsv") else _json_entries(path)


def _table_entries(path: Path) -> list[dict[str, str]]:
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
    if not {IMAGE, REFERENCE} <= set(names):
        raise InputError(f"{path}: its first line is {', '.join(names) or 'empty'}; name columns image and reference.")
    entries = []
    for cells, line in rows:
        row = dict(zip(names, map(str.strip, cells), strict=False))
        if any(row.values()):
            if not (row.get(IMAGE) and row.get(REFERENCE)):
                raise InputError(f"{path}, line {line}: image or reference is missing; name one file each.")
            entries.append(_entry(path, row))
    return entries


def _json_entries(path: Path) -> list[dict[str, str]]:
    try:
        content = json_content(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as a JSON datalist ({error}); mend it or take it away.") from error
    sections = content if isinstance(content, dict) else {"": content}
    sections = {name: listed for name, listed in sections.items() if name in _SECTIONS}
    if not all(isinstance(listed, list) for listed in sections.values()):
        raise InputError(f"{path} is no datalist; write a list of entries with image and reference, or sections of it.")
    return [_entry(path, entry, _SECTIONS[name]) for name, listed in sections.items() for entry in listed]


def _entry(path: Path, entry: object, section: str = "") -> dict[str, str]:
    if not isinstance(entry, dict) or not all(isinstance(entry.get(key), str) for key in (IMAGE, REFERENCE)):
        start = json.dumps(entry)[:80]
        raise InputError(f"{path} has the entry {start}; each needs image and reference, one file name each.")
    files = {key: os.path.normpath(path.parent / entry[key]) for key in (IMAGE, REFERENCE)}
    labels = {key: str(entry[key]) for key in (SUBJECT, CASE) if entry.get(key) not in (None, "")}
    return files | labels | ({SECTION: section} if section else {})


def _cases(folder: Path, entries: Sequence[Mapping[str, str]], scans: Sequence[Scan | None]) -> list[str]:
    """Name entries after their files, and their folders too where files share a name."""
    files = [NIFTI_ENDING.sub("", entry[IMAGE]) for entry in entries]
    names = [scan.case if scan else Path(file).name for scan, file in zip(scans, files, strict=True)]
    paths = [os.path.relpath(file, folder).replace(os.sep, "_") for file in files]
    return [path if names.count(name) > 1 else name for name, path in zip(names, paths, strict=True)]


def _listed_contrast(path: Path, pairs: Sequence[Mapping[str, str]], wanted: str) -> str:
    """Name the contrast of the listed references, as far as their names tell, and hold it against the wanted one."""
    contrasts = sorted({scan.contrast for pair in pairs if (scan := parse_name(Path(pair[REFERENCE])))})
    if wanted != "auto" and contrasts and contrasts != [wanted]:
        raise InputError(
            f"{path} lists {' and '.join(contrasts)} as reference where reference_contrast is {wanted}; "
            "change the datalist, or set reference_contrast to auto."
        )
    if len(contrasts) > 1:
        logger.warning("%s mixes references of several contrasts: %s", path, ", ".join(contrasts))
    return " and ".join(contrasts) or "as listed"
