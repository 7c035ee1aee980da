# SPDX-License-Identifier: Apache-2.0
"""Find the pairs of a data set: a target volume (T2w) and a reference of the same session.

A data set is a folder with BIDS-like names, a folder with IXI's names, a folder of DICOM series, or a list: a MONAI
datalist in JSON or a CSV table. Which of them is found out by looking. Only names are read here, and of DICOM series
the header of a file: whether the two volumes of a pair share a grid is checked when they are loaded.
"""

import difflib
import itertools
import logging
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from bundle.data.datalist import find_datalist, read_datalist
from bundle.dicom.export import nothing_paired, study_pairs
from bundle.dicom.series import is_dicom
from bundle.errors import InputError
from bundle.keys import CASE, IMAGE, REFERENCE, SUBJECT, Pair
from bundle.volumes.names import (
    NIFTI_ENDING,
    REFERENCE_CONTRASTS,
    TARGET_CONTRAST,
    Scan,
    absolute_path,
    first_few,
    parse_name,
    safe_name,
)

logger = logging.getLogger(__name__)

# Another day, another space or another sampling is another image, even where one of the two names leaves it out.
_STRICT_ENTITIES: Final = {"sub", "ses", "space", "res"}
_WANTED: Final = (
    "sub-*_T2w.nii[.gz] with sub-*_PDw or _T1w, IXI*-T2.nii.gz with -PD or -T1, or a datalist.json whose entries "
    "hold image and reference"
)


def find_pairs(dataset_dir: str | os.PathLike[str], reference_contrast: str = "auto") -> list[Pair]:
    """List the pairs of target and reference in a folder or in a datalist.

    Names match when their BIDS entities agree; the reference may lack an entity of the target or carry one more
    (``acq``, ``run``), and the closest is taken. Subject, session, space and resolution must be the same. One
    contrast serves as reference for the whole data set. Hidden files, ``*.partial`` and ``derivatives`` folders
    are left out.

    Args:
        dataset_dir: a folder of NIfTI files or with a datalist, or the path of a datalist or a CSV table; a datalist
            wins.
        reference_contrast: ``PDw``, ``T1w``, or ``auto`` for the one with more pairs (PDw on a tie).

    Returns:
        Dictionaries with absolute paths under ``image`` and ``reference``, and ``subject`` and ``case``, sorted by
        the last two; ``section`` too where the datalist has sections.

    Raises:
        InputError: if nothing is found, files are missing, or a target has several equally close references.
    """
    if reference_contrast not in ("auto", *REFERENCE_CONTRASTS):
        raise InputError(f"reference_contrast is {reference_contrast!r}; choose auto, PDw or T1w.")
    source = absolute_path(dataset_dir)
    if not source.exists():
        raise InputError(f"dataset_dir {source} does not exist{_nearest_sibling(source)}; name an existing folder.")
    datalist = find_datalist(source) if source.is_dir() else source
    if datalist is None:
        pairs, contrast = _pairs_by_name(source, reference_contrast)
    else:
        pairs, contrast = read_datalist(datalist, reference_contrast)
    _require_unique_cases(pairs)
    n_subjects = len({pair[SUBJECT] for pair in pairs})
    logger.info("%s: %d pairs of %d subjects, reference %s", datalist or source, len(pairs), n_subjects, contrast)
    return sorted(pairs, key=lambda pair: (pair[SUBJECT], pair[CASE]))


def _pairs_by_name(folder: Path, reference_contrast: str) -> tuple[list[Pair], str]:
    """Pair the volumes of a folder and return them with the contrast of the reference."""
    names = list(_nifti_files(folder))
    scans = [scan for path in names if (scan := parse_name(path)) and scan.entities.get("part", "mag") == "mag"]
    targets = [scan for scan in scans if scan.contrast == TARGET_CONTRAST]
    candidates = {name: _candidates(targets, scans, name) for name in REFERENCE_CONTRASTS}
    # max() keeps the first of equals, which makes PDw win a tie.
    best = max(REFERENCE_CONTRASTS, key=lambda name: sum(map(bool, candidates[name])))
    contrast = best if reference_contrast == "auto" else reference_contrast
    if not names and (folders := list(_dicom_folders(folder))):
        return _pairs_of_dicom(folder, folders, reference_contrast)
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
        CASE: safe_name(target.case),
    }


def _nifti_files(folder: Path) -> Iterator[Path]:
    """Walk a folder for NIfTI files."""
    return (path for path in _files(folder) if NIFTI_ENDING.search(path.name))


def _files(folder: Path) -> Iterator[Path]:
    """Walk a folder in sorted order; links to folders are followed once."""
    visited = set()
    for root, folders, files in os.walk(folder, followlinks=True, onerror=_warn_unreadable):
        if (real := os.path.realpath(root)) in visited:
            folders.clear()
            continue
        visited.add(real)
        folders[:] = sorted(filter(_is_wanted, folders))
        yield from (Path(root, name) for name in sorted(files) if _is_wanted(name))


def _warn_unreadable(error: OSError) -> None:
    logger.warning("%s cannot be read (%s), so what it holds is left out", error.filename, error.strerror)


def _is_wanted(name: str) -> bool:
    return not name.startswith(".") and not name.endswith(".partial") and name.lower() != "derivatives"


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
        logger.warning("%d targets have no %s reference and are left out: %s", len(names), contrast, ", ".join(names))


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


def _dicom_folders(folder: Path) -> Iterator[Path]:
    """Walk a folder for those below that hold DICOM files."""
    by_folder = itertools.groupby(_files(folder), key=lambda path: path.parent)
    return (parent for parent, files in by_folder if any(map(is_dicom, files)))


def _pairs_of_dicom(folder: Path, folders: Sequence[Path], reference_contrast: str) -> tuple[list[Pair], str]:
    """Pair DICOM series and return them with the contrast of the reference."""
    pairs, contrast, series = study_pairs(folders, folder, reference_contrast)
    if not pairs:
        raise nothing_paired(folder, series, reference_contrast)
    return pairs, contrast


def _other(contrast: str) -> str:
    return next(name for name in REFERENCE_CONTRASTS if name != contrast)


def _nearest_sibling(path: Path) -> str:
    """Return a hint naming the sibling with the most similar name, or an empty text."""
    if not path.parent.is_dir():
        return ""
    siblings = {entry.name.lower(): entry for entry in sorted(path.parent.iterdir())}
    nearest = difflib.get_close_matches(path.name.lower(), siblings, n=1)
    return f" (is {siblings[nearest[0]]} meant?)" if nearest else ""
