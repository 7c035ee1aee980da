# SPDX-License-Identifier: Apache-2.0
"""Find the pairs of a data set: a target volume (T2w) and a reference of the same session.

A data set is a folder with BIDS-like names, a folder with IXI's names, or a MONAI datalist in JSON; which
of them is found out by looking. Only names are read here: whether the two volumes of a pair share a grid is
checked when they are loaded.
"""

import difflib
import json
import logging
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bundle.errors import InputError
from bundle.keys import CASE, IMAGE, REFERENCE, SUBJECT

logger = logging.getLogger(__name__)

Pair = dict[str, str]
"""An item of a datalist: absolute paths under ``image`` and ``reference``, with ``subject`` and ``case``."""

TARGET_CONTRAST: Final = "T2w"
REFERENCE_CONTRASTS: Final = ("PDw", "T1w")
"""Contrasts that can serve as reference, the preferred one first."""
SECTION: Final = "section"
"""Key of the datalist's own section, on pairs whose datalist has sections: ``train``, ``validate`` or ``test``."""

_BIDS_NAME = re.compile(r"(?P<case>sub-(?P<subject>[^_]+)(?:_[A-Za-z]+-[^_]+)*)_(?P<contrast>T2w|PDw|T1w)\.nii(\.gz)?")
_IXI_NAME = re.compile(r"(?P<case>(?P<subject>IXI\d+)-[A-Za-z]+-\w+)-(?P<contrast>T2|PD|T1)\.nii(\.gz)?")
_NIFTI_ENDING = re.compile(r"\.nii(\.gz)?$")
# Another day, another space or another sampling is another image, even where one of the two names leaves it out.
_STRICT_ENTITIES: Final = {"sub", "ses", "space", "res"}
_SECTIONS: Final = {
    "training": "train",
    "train": "train",
    "validation": "validate",
    "validate": "validate",
    "test": "test",
    "testing": "test",
}
_WANTED: Final = (
    "sub-*_T2w.nii[.gz] with sub-*_PDw or _T1w, IXI*-T2.nii.gz with -PD or -T1, or a datalist.json whose entries "
    "hold image and reference"
)


@dataclass(frozen=True)
class Scan:
    """One volume, as told by its name.

    Attributes:
        path: absolute path.
        contrast: ``T2w``, ``PDw`` or ``T1w``, also for IXI's ``T2``, ``PD``, ``T1``.
        case: the name without contrast and ending.
        entities: BIDS entities, such as ``{"sub": "L12", "ses": "1"}``; IXI's names give ``sub`` and ``scan``.
    """

    path: Path
    contrast: str
    case: str
    entities: Mapping[str, str]


def find_pairs(dataset_dir: str | os.PathLike[str], reference_contrast: str = "auto") -> list[Pair]:
    """List the pairs of target and reference in a folder or in a datalist.

    Names match when their BIDS entities agree; the reference may lack an entity of the target or carry one more
    (``acq``, ``run``), and the closest is taken. Subject, session, space and resolution must be the same. One
    contrast serves as reference for the whole data set. Hidden files, ``*.partial`` and ``derivatives`` folders
    are left out.

    Args:
        dataset_dir: a folder of NIfTI files or with a datalist, or the path of a datalist; a datalist wins.
        reference_contrast: ``PDw``, ``T1w``, or ``auto`` for the one with more pairs (PDw on a tie).

    Returns:
        Dictionaries with absolute paths under ``image`` and ``reference``, and ``subject`` and ``case``, sorted by
        the last two; ``section`` too where the datalist has sections.

    Raises:
        InputError: if nothing is found, files are missing, or a target has several equally close references.
    """
    if reference_contrast not in ("auto", *REFERENCE_CONTRASTS):
        raise InputError(f"reference_contrast is {reference_contrast!r}; choose auto, PDw or T1w.")
    source = Path(os.path.abspath(Path(dataset_dir).expanduser()))  # noqa: PTH100 - links keep their names
    if not source.exists():
        raise InputError(f"dataset_dir {source} does not exist{_nearest_sibling(source)}; name an existing folder.")
    datalist = _find_datalist(source) if source.is_dir() else source
    if datalist is None:
        pairs, contrast = _pairs_by_name(source, reference_contrast)
    else:
        pairs, contrast = _pairs_in_datalist(datalist, reference_contrast)
    _require_unique_cases(pairs)
    n_subjects = len({pair[SUBJECT] for pair in pairs})
    logger.info("%s: %d pairs of %d subjects, reference %s", datalist or source, len(pairs), n_subjects, contrast)
    return sorted(pairs, key=lambda pair: (pair[SUBJECT], pair[CASE]))


def parse_name(path: Path) -> Scan | None:
    """Read contrast and entities from a BIDS-like or IXI name; ``None`` for any other name."""
    if match := _BIDS_NAME.fullmatch(path.name):
        entities = dict(part.split("-", 1) for part in match["case"].split("_"))
        return Scan(path, match["contrast"], match["case"], entities)
    if match := _IXI_NAME.fullmatch(path.name):
        contrast = {"T2": "T2w", "PD": "PDw", "T1": "T1w"}[match["contrast"]]
        return Scan(path, contrast, match["case"], {"sub": match["subject"], "scan": match["case"]})
    return None


def first_few(items: Sequence[str], limit: int = 5) -> str:
    """Join the first few items for a message and count the rest."""
    return ", ".join(items[:limit]) + (f" and {len(items) - limit} more" if len(items) > limit else "")


def _pairs_by_name(folder: Path, reference_contrast: str) -> tuple[list[Pair], str]:
    """Pair the volumes of a folder and return them with the contrast of the reference."""
    names = list(_nifti_files(folder))
    scans = [scan for path in names if (scan := parse_name(path)) and scan.entities.get("part", "mag") == "mag"]
    targets = [scan for scan in scans if scan.contrast == TARGET_CONTRAST]
    candidates = {name: _candidates(targets, scans, name) for name in REFERENCE_CONTRASTS}
    # max() keeps the first of equals, which makes PDw win a tie.
    best = max(REFERENCE_CONTRASTS, key=lambda name: sum(map(bool, candidates[name])))
    contrast = best if reference_contrast == "auto" else reference_contrast
    if not any(candidates[contrast]):
        raise InputError(_nothing_found(folder, names, scans, reference_contrast))
    found = list(zip(targets, candidates[contrast], strict=True))
    for target, references in found:
        _require_one_reference(target, references)
    _warn_without_reference([target.path.name for target, references in found if not references], contrast)
    return [_pair(target, references[0]) for target, references in found if references], contrast


def _candidates(targets: Sequence[Scan], scans: Iterable[Scan], contrast: str) -> list[list[Scan]]:
    """List for each target the equally close references of one contrast: none, one, or an ambiguity."""
    by_subject: dict[str, list[Scan]] = defaultdict(list)
    for scan in scans:
        if scan.contrast == contrast:
            by_subject[scan.entities["sub"]].append(scan)
    closest = []
    for target in targets:
        ranked = [(_distance(target, scan), scan) for scan in by_subject[target.entities["sub"]]]
        least = min((distance for distance, _ in ranked if distance is not None), default=None)
        closest.append([scan for distance, scan in ranked if distance is not None and distance == least])
    return closest


def _distance(target: Scan, reference: Scan) -> tuple[int, int, bool] | None:
    """Rank how well two names agree, smaller is closer; ``None`` where they contradict each other.

    Returns:
        The number of entities only the reference has, of those only the target has, and whether the folders differ.
    """
    ours, theirs = target.entities, reference.entities
    differing = {key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key)}
    if differing & _STRICT_ENTITIES or differing & ours.keys() & theirs.keys():
        return None
    return len(differing & theirs.keys()), len(differing & ours.keys()), target.path.parent != reference.path.parent


def _pair(target: Scan, reference: Scan) -> Pair:
    return {
        IMAGE: str(target.path),
        REFERENCE: str(reference.path),
        SUBJECT: target.entities["sub"],
        CASE: _safe_name(target.case),
    }


def _find_datalist(folder: Path) -> Path | None:
    """Return ``datalist.json``, else the one ``dataset*.json``, else the one ``*.json`` that holds pairs."""
    if (stated := folder / "datalist.json").is_file():
        return stated
    # Content decides: BIDS folders hold a dataset_description.json and side-cars, which are no datalists.
    files = [path for path in sorted(folder.glob("*.json")) if not path.name.startswith(".") and _holds_pairs(path)]
    preferred = [path for path in files if path.name.startswith("dataset")] or files
    if len(preferred) > 1:
        names = " and ".join(path.name for path in preferred[:2])
        raise InputError(f"{folder} holds several datalists, {names}; give the path of one of them as dataset_dir.")
    return preferred[0] if preferred else None


def _holds_pairs(path: Path) -> bool:
    try:
        return bool(_read_entries(path))
    except InputError:
        return False


def _read_entries(path: Path) -> list[dict[str, str]]:
    """Read a datalist, with or without sections, into one list of entries; each remembers its section."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as a JSON datalist ({error}); mend it or take it away.") from error
    sections = content if isinstance(content, dict) else {"": content}
    entries = []
    for name, listed in sections.items():
        if name in _SECTIONS or name == "":
            entries += [_checked_entry(path, entry, _SECTIONS.get(name)) for entry in _checked_list(path, listed)]
    return entries


def _checked_list(path: Path, listed: object) -> list[Any]:
    if not isinstance(listed, list):
        raise InputError(f"{path} is no datalist; write a list of entries with image and reference, or sections of it.")
    return listed


def _checked_entry(path: Path, entry: object, section: str | None) -> dict[str, str]:
    """Keep what a pair is made of, with absolute paths."""
    if not isinstance(entry, dict) or not all(isinstance(entry.get(key), str) for key in (IMAGE, REFERENCE)):
        shown = json.dumps(entry)[:80]
        raise InputError(f"{path} has the entry {shown}; each needs image and reference, one file name each.")
    files = {key: os.path.normpath(path.parent / entry[key]) for key in (IMAGE, REFERENCE)}
    labels = {key: str(entry[key]) for key in (SUBJECT, CASE) if entry.get(key) not in (None, "")}
    return files | labels | ({SECTION: section} if section else {})


def _pairs_in_datalist(path: Path, reference_contrast: str) -> tuple[list[Pair], str]:
    """Turn the entries of a datalist into pairs and return them with the contrast of the reference."""
    if not (entries := _read_entries(path)):
        raise InputError(f"{path} lists no pairs; add entries with image and reference, or sections of them.")
    missing = [file for entry in entries for file in (entry[IMAGE], entry[REFERENCE]) if not Path(file).is_file()]
    if missing:
        raise InputError(f"{path} lists missing files: {first_few(missing)}; paths count from the datalist's folder.")
    scans = [parse_name(Path(entry[IMAGE])) for entry in entries]
    cases = _cases(path.parent, entries, scans)
    subjects = [scan.entities["sub"] if scan else case for scan, case in zip(scans, cases, strict=True)]
    _warn_guessed_subjects(
        path, sum(not scan and SUBJECT not in entry for scan, entry in zip(scans, entries, strict=True))
    )
    pairs = [{SUBJECT: subjects[i], CASE: cases[i]} | entry for i, entry in enumerate(entries)]
    pairs = [pair | {CASE: _safe_name(pair[CASE])} for pair in pairs]
    return pairs, _listed_contrast(path, pairs, reference_contrast)


def _cases(folder: Path, entries: Sequence[Mapping[str, str]], scans: Sequence[Scan | None]) -> list[str]:
    """Name entries after their files, and after their folders too where files of several folders share a name."""
    files = [_NIFTI_ENDING.sub("", entry[IMAGE]) for entry in entries]
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


def _nifti_files(folder: Path) -> Iterator[Path]:
    """Walk a folder in sorted order; links to folders are followed once."""
    visited = set()
    for root, folders, files in os.walk(folder, followlinks=True, onerror=_warn_unreadable):
        if (real := os.path.realpath(root)) in visited:
            folders.clear()
            continue
        visited.add(real)
        folders[:] = sorted(filter(_is_wanted, folders))
        yield from (Path(root, name) for name in sorted(files) if _is_wanted(name) and _NIFTI_ENDING.search(name))


def _warn_unreadable(error: OSError) -> None:
    logger.warning("%s cannot be read (%s), so what it holds is left out", error.filename, error.strerror)


def _is_wanted(name: str) -> bool:
    return not name.startswith(".") and not name.endswith(".partial") and name.lower() != "derivatives"


def _safe_name(name: str) -> str:
    """Make a text safe as a file name; what separates folders becomes a hyphen."""
    return re.sub(r"[^\w.-]+", "-", name).strip("-.") or "case"


def _require_unique_cases(pairs: Iterable[Mapping[str, str]]) -> None:
    seen: dict[str, str] = {}
    for pair in pairs:
        if pair[CASE] in seen:
            raise InputError(
                f"{seen[pair[CASE]]} and {pair[IMAGE]} would both be called {pair[CASE]}; keep one of them, or list "
                "the pairs in a datalist.json and give each its own case."
            )
        seen[pair[CASE]] = pair[IMAGE]


def _require_one_reference(target: Scan, references: Sequence[Scan]) -> None:
    if len(references) > 1:
        raise InputError(
            f"{target.path} has two references that fit equally well, {references[0].path} and {references[1].path}; "
            "take one away, or list the pairs in a datalist.json."
        )


def _warn_without_reference(names: Sequence[str], contrast: str) -> None:
    if names:
        logger.warning("%d targets have no %s reference and are left out: %s", len(names), contrast, first_few(names))


def _warn_guessed_subjects(path: Path, n_guessed: int) -> None:
    if n_guessed:
        logger.warning(
            "%s: %d entries name no subject, so each file counts as a subject of its own; where a person was scanned "
            "more than once, add `subject` to the entries, or sessions may straddle a split",
            path,
            n_guessed,
        )


def _nothing_found(folder: Path, files: Sequence[Path], scans: Sequence[Scan], wanted: str) -> str:
    """Say what was looked for, what lies there instead, and what to do."""
    contrasts = {scan.contrast for scan in scans}
    if wanted != "auto" and {TARGET_CONTRAST, _other(wanted)} <= contrasts:
        return f"{folder} has T2w but no matching {wanted} volumes; set reference_contrast to {_other(wanted)} or auto."
    if contrasts:
        present = ", ".join(f"{sum(scan.contrast == name for scan in scans)} {name}" for name in sorted(contrasts))
        return (
            f"{folder} holds {present} but no target with its reference ({first_few([s.path.name for s in scans])}); "
            f"looked for {_WANTED}: rename the files or write a datalist.json."
        )
    lying = f"found {first_few([path.name for path in files])}" if files else "found no NIfTI file"
    return f"{folder} holds no pairs: looked for {_WANTED}; {lying}. Rename the files or write a datalist.json."


def _other(contrast: str) -> str:
    return next(name for name in REFERENCE_CONTRASTS if name != contrast)


def _nearest_sibling(path: Path) -> str:
    """Return a hint naming the sibling with the most similar name, or an empty text."""
    if not path.parent.is_dir():
        return ""
    siblings = {entry.name.lower(): entry for entry in sorted(path.parent.iterdir())}
    nearest = difflib.get_close_matches(path.name.lower(), siblings, n=1)
    return f" (is {siblings[nearest[0]]} meant?)" if nearest else ""
