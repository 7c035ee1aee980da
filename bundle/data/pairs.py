# SPDX-License-Identifier: Apache-2.0
"""Find the pairs of a data set, a target volume (T2w) and a reference of the same session, by names and headers."""

import contextlib
import difflib
import itertools
import logging
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from bundle.data.datalist import find_datalist, read_datalist
from bundle.dicom.export import study_pairs
from bundle.dicom.headers import is_dicom
from bundle.errors import InputError
from bundle.keys import CASE, IMAGE, REFERENCE, SUBJECT, Pair
from bundle.pseudonyms import pseudonym
from bundle.volumes import names
from bundle.volumes.header_facts import HeaderFacts
from bundle.volumes.names import Scan

logger = logging.getLogger(__name__)

# Another day, another space or another sampling is another image, even where one of the two names leaves it out.
_STRICT_ENTITIES: Final = {"sub", "ses", "space", "res"}


def find_pairs(
    dataset_dir: str | os.PathLike[str], reference_contrast: str = "auto", needs_reference: bool = True
) -> list[Pair]:
    """List the pairs of target and reference in a folder or in a datalist, sorted by subject and case.

    ``dataset_dir`` holds NIfTI files with BIDS-like or IXI's names, DICOM series, or a datalist, which wins; or is one,
    or a CSV table. Names match when their BIDS entities agree; the reference may lack an entity of the target or carry
    one more (``acq``, ``run``), and the closest is taken. Subject, session, space and resolution must be the same.
    Hidden files, ``*.partial`` and ``derivatives`` folders are left out. One contrast serves as reference for the whole
    data set; ``auto`` is that with more pairs, the first on a tie. Targets without one are left out, or where none
    ``needs_reference`` listed alone (of files with such names). ``InputError`` if nothing is found, files are missing,
    or a target has several equally close references.
    """
    if reference_contrast not in ("auto", *names.REFERENCE_CONTRASTS):
        raise InputError(f"reference_contrast is {reference_contrast!r}; choose auto, {names.ANY_REFERENCE}.")
    source = names.absolute_path(dataset_dir)
    if source.name == names.DICOM_DIRECTORY:  # whose folder holds what it lists
        source = source.parent
    if not source.exists():
        raise InputError(f"dataset_dir {source} does not exist{_similar_name(source)}; name an existing folder.")
    datalist = find_datalist(source) if source.is_dir() else source
    if datalist:
        pairs, contrast = read_datalist(datalist, reference_contrast)
    else:
        pairs, contrast = _pairs_by_name(source, reference_contrast, needs_reference)
    _require_unique_cases(pairs)
    n_subjects = len({pair[SUBJECT] for pair in pairs})
    n_alone = sum(REFERENCE not in pair for pair in pairs)
    alone = f", and {n_alone} targets without" if n_alone else ""
    message = "%s: %d pairs of %d subjects, reference %s%s"
    logger.info(message, datalist or source, len(pairs) - n_alone, n_subjects, contrast, alone)
    return sorted(pairs, key=lambda pair: (pair[SUBJECT], pair[CASE]))


def _pairs_by_name(folder: Path, reference_contrast: str, needs_reference: bool) -> tuple[list[Pair], str]:
    files = list(_files(folder))
    volumes = [path for path in files if names.NIFTI_ENDING.search(path.name)]
    if not any(map(names.parse_name, volumes)):  # results of an earlier run may lie here
        by_folder = itertools.groupby(files, key=lambda path: path.parent)
        if folders := [parent for parent, inside in by_folder if any(map(is_dicom, inside))]:
            pairs, contrast = study_pairs(folders, folder, reference_contrast)
            return [pair | {SUBJECT: pseudonym(pair[SUBJECT])} for pair in pairs], contrast
    scans = [scan for path in volumes if (scan := names.parse_name(path)) and scan.entities.get("part", "mag") == "mag"]
    scans = list(filter(_agrees_with_sidecar, scans))
    by_subject: dict[tuple[str, str], list[Scan]] = defaultdict(list)
    for scan in scans:
        by_subject[scan.entities["sub"], scan.contrast].append(scan)
    targets = [scan for scan in scans if scan.contrast == names.TARGET_CONTRAST]
    candidates = {
        name: [(target, _closest(target, by_subject[target.entities["sub"], name])) for target in targets]
        for name in names.REFERENCE_CONTRASTS
    }
    n_pairs = {name: sum(bool(references) for _, references in found) for name, found in candidates.items()}
    contrast = names.choose_contrast(n_pairs, reference_contrast)
    if not n_pairs[contrast] and (needs_reference or not targets):
        raise InputError(_nothing_found(folder, volumes, scans, reference_contrast))
    chosen = [one for one in candidates[contrast] if one[1] or not needs_reference]
    pairs = [_pair(target, references) for target, references in chosen]
    if needs_reference and (
        alone := [target.path.name for target, references in candidates[contrast] if not references]
    ):
        logger.warning("%d targets have no %s reference and are left out: %s", len(alone), contrast, ", ".join(alone))
    return pairs, contrast


def _agrees_with_sidecar(scan: Scan) -> bool:
    """Tell whether a volume is what its name says, as far as its side-car tells, and warn where it is not."""
    if against := HeaderFacts.of_sidecar(scan.path).contradiction(scan.contrast):
        logger.warning("%s is left out: its name says %s, but %s.", scan.path, scan.contrast, against)
    return not against


def _closest(target: Scan, scans: Iterable[Scan]) -> list[Scan]:
    """List the equally close references for a target: none, one, or an ambiguity."""
    ranked = [(distance, one) for one in scans if (distance := _distance(target, one))]
    least = min((distance for distance, _ in ranked), default=None)
    return [scan for distance, scan in ranked if distance == least]


def _distance(target: Scan, reference: Scan) -> tuple[int, int, bool] | None:
    """Count the entities that only the reference or the target has, smaller is closer; ``None`` in contradiction."""
    ours, theirs = target.entities, reference.entities
    differing = {key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key)}
    if differing & _STRICT_ENTITIES or differing & ours.keys() & theirs.keys():
        return None
    return len(differing & theirs.keys()), len(differing & ours.keys()), target.path.parent != reference.path.parent


def _pair(target: Scan, references: Sequence[Scan]) -> Pair:
    if len(references) > 1:
        raise InputError(
            f"{target.path} has two references that fit equally well, {references[0].path} and {references[1].path}; "
            "take one away, or list the pairs in a datalist.json."
        )
    files = {IMAGE: str(target.path)} | ({REFERENCE: str(references[0].path)} if references else {})
    return files | {SUBJECT: target.entities["sub"], CASE: names.safe_name(target.case)}


def _files(folder: Path) -> Iterator[Path]:
    """Walk a folder in sorted order; links to folders are followed once."""
    visited, waiting = set(), [str(folder)]
    while waiting:  # however deep they are: a function that calls itself has an end
        root = waiting.pop()
        try:
            place = Path(root).stat()
            entries = sorted(os.scandir(root), key=lambda entry: entry.name)
        except OSError as error:
            logger.warning("%s cannot be read (%s), so what it holds is left out", root, error.strerror)
            continue
        if (place.st_dev, place.st_ino) in visited:
            continue
        visited.add((place.st_dev, place.st_ino))
        wanted = [entry for entry in entries if _is_wanted(entry.name)]
        yield from (Path(entry.path) for entry in wanted if not _is_folder(entry))
        waiting += [entry.path for entry in reversed(wanted) if _is_folder(entry)]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    with contextlib.suppress(OSError):  # of a link to itself
        return entry.is_dir()
    return False


def _is_wanted(name: str) -> bool:
    return not name.startswith(".") and not name.endswith(".partial") and name.lower() != "derivatives"


def _require_unique_cases(pairs: Iterable[Pair]) -> None:
    seen: dict[str, str] = {}
    for pair in pairs:
        if first := seen.get(pair[CASE]):
            raise InputError(
                f"{first} and {pair[IMAGE]} would both be called {pair[CASE]}; keep one of them, or list "
                "the pairs in a datalist.json and give each its own case."
            )
        seen[pair[CASE]] = pair[IMAGE]


def _nothing_found(folder: Path, files: Sequence[Path], scans: Sequence[Scan], wanted: str) -> str:
    counts = Counter(scan.contrast for scan in scans)
    others = [name for name in names.REFERENCE_CONTRASTS if name in counts and name != wanted]
    if wanted != "auto" and others and names.TARGET_CONTRAST in counts:
        return f"{folder} has T2w but no matching {wanted} volumes; set reference_contrast to {others[0]} or auto."
    wanted_names = (
        f"{start}{target}.nii[.gz] with {start}{' or '.join(ends)}"
        for start, (target, ends) in zip(("sub-*", "IXI*"), names.REFERENCE_NAMES.items(), strict=True)
    )
    looked_for = f"looked for {', '.join(wanted_names)}, or a datalist.json whose entries hold image and reference"
    if counts:
        present = ", ".join(f"{n} {name}" for name, n in sorted(counts.items()))
        listed = names.first_few([scan.path.name for scan in scans])
        return (
            f"{folder} holds {present} but no target with its reference ({listed}); {looked_for}: "
            "rename the files or write a datalist.json."
        )
    present = f"found {names.first_few([path.name for path in files])}" if files else "found no NIfTI file"
    return f"{folder} holds no pairs: {looked_for}; {present}. Rename the files or write a datalist.json."


def _similar_name(path: Path) -> str:
    entries = {entry.name.lower(): entry for entry in sorted(path.parent.glob("*"))}
    nearest = difflib.get_close_matches(path.name.lower(), entries, n=1)
    return f" (is {entries[nearest[0]]} meant?)" if nearest else ""
