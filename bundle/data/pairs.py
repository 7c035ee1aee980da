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
from bundle.dicom.export import add_studies
from bundle.dicom.headers import is_dicom
from bundle.dicom.series import series_folder
from bundle.errors import InputError
from bundle.found import UNPAIRED, Found, is_result, refuse_fault
from bundle.keys import CASE, FAULT, IMAGE, REFERENCE, SUBJECT, Pair
from bundle.volumes import names
from bundle.volumes.header_facts import HeaderFacts
from bundle.volumes.names import Scan

logger = logging.getLogger(__name__)

# Another day, another space or another sampling is another image, even where one of the two names leaves it out.
_STRICT_ENTITIES: Final = {"sub", "ses", "space", "res"}
_LEFT_OUT: Final = ("derivatives", "sourcedata")  # folders of a BIDS data set
_RESULT: Final = "a result of an earlier run"


def find_pairs(
    dataset_dir: str | os.PathLike[str], reference_contrast: str = "auto", needs_reference: bool = True
) -> list[Pair]:
    """List the pairs that :func:`survey` finds; ``InputError`` if one of them cannot be used."""
    found = survey(dataset_dir, reference_contrast, needs_reference)
    for pair in found.pairs:
        refuse_fault(pair)
    return found.pairs


def survey(
    dataset_dir: str | os.PathLike[str], reference_contrast: str = "auto", needs_reference: bool = True
) -> Found:
    """Find the pairs of target and reference in a folder or in a datalist, sorted by subject and case.

    ``dataset_dir`` holds NIfTI files with BIDS-like or IXI's names, DICOM series, or a datalist, which wins; or is one,
    or a CSV table. Names match when their BIDS entities agree; the reference may lack an entity of the target or carry
    one more (``acq``, ``run``), and the closest is taken. Subject, session, space and resolution must be the same.
    Hidden files, ``*.partial``, ``derivatives`` and ``sourcedata`` are left out, and so are results of earlier runs.
    One contrast serves as reference for the whole data set; ``auto`` is that with more pairs, the first on a tie.
    Targets without one are passed over, or where none ``needs_reference`` listed alone. What leaves a guess, such as a
    target with several equally close references, is a case that cannot be done, see :class:`bundle.found.Found`.
    ``InputError`` if nothing is found.
    """
    if reference_contrast not in ("auto", *names.REFERENCE_CONTRASTS):
        raise InputError(f"reference_contrast is {reference_contrast!r}; choose auto, {names.ANY_REFERENCE}.")
    source = names.absolute_path(dataset_dir)
    if source.name == names.DICOM_DIRECTORY:  # whose folder holds what it lists
        source = source.parent
    if not os.path.exists(source):  # noqa: PTH110 - no path is too long for it
        raise InputError(f"dataset_dir {source} does not exist{_similar_name(source)}; name an existing folder.")
    found = Found()
    files = list(_files(source, found)) if source.is_dir() else []
    datalist = find_datalist(source) if source.is_dir() else source
    if datalist:
        pairs, contrast = read_datalist(datalist, reference_contrast, needs_reference)
        for pair in pairs:
            found.add(pair)
    else:
        contrast = _add_pairs(found, files, source, reference_contrast, needs_reference)
    found.merge_namesakes()
    found.pairs.sort(key=lambda pair: (pair[SUBJECT], pair[CASE]))
    _account_for(files, found, datalist)
    _log(found, source, datalist or source, contrast)
    return found


def _log(found: Found, top: Path, source: Path, contrast: str) -> None:
    sound = [pair for pair in found.pairs if FAULT not in pair]
    n_alone, n_faults = sum(REFERENCE not in pair for pair in sound), len(found.pairs) - len(sound)
    alone = f", and {n_alone} targets without" if n_alone else ""
    faults = f"; {n_faults} cases that cannot be done" if n_faults else ""
    n_subjects = len({pair[SUBJECT] for pair in sound})
    message = "%s: %d pairs of %d subjects, reference %s%s%s"
    logger.info(message, source, len(sound) - n_alone, n_subjects, contrast, alone, faults)
    found.log(top)


def _add_pairs(found: Found, files: Sequence[Path], folder: Path, wanted: str, needs_reference: bool) -> str:
    """Add what names tell, or where they tell nothing DICOM headers, and return the contrast of the references."""
    volumes = [path for path in files if names.NIFTI_ENDING.search(path.name) and not is_result(path)]
    if not any(map(names.parse_name, volumes)) and (folders := _dicom_folders(files)):
        return add_studies(found, folders, folder, wanted, needs_reference)
    scans = [scan for path in volumes if (scan := names.parse_name(path)) and _is_as_named(scan, found)]
    by_subject: dict[tuple[str, str], list[Scan]] = defaultdict(list)
    for scan in scans:
        by_subject[scan.entities["sub"], scan.contrast].append(scan)
    targets = [scan for scan in scans if scan.contrast == names.TARGET_CONTRAST]
    matches = {
        name: [(target, _closest(target, by_subject[target.entities["sub"], name])) for target in targets]
        for name in names.REFERENCE_CONTRASTS
    }
    n_pairs = {name: sum(bool(references) for _, references in pairs) for name, pairs in matches.items()}
    contrast = names.choose_contrast(n_pairs, wanted)
    if not n_pairs[contrast] and (needs_reference or not targets):
        raise InputError(_nothing_found(folder, volumes, scans, wanted))
    found.add_matched(matches[contrast], _pair, contrast, alone=not needs_reference)
    return contrast


def _dicom_folders(files: Iterable[Path]) -> list[Path]:
    by_folder = itertools.groupby(files, key=lambda path: path.parent)
    return [folder for folder, inside in by_folder if any(map(is_dicom, inside))]


def _is_as_named(scan: Scan, found: Found) -> bool:
    """Tell whether a volume is what its name says, as far as its side-car tells, and pass it over where it is not."""
    if scan.entities.get("part", "mag") != "mag":
        found.pass_over(scan.path, "it is no magnitude image (part)")
        return False
    if against := HeaderFacts.of_sidecar(scan.path).contradiction(scan.contrast):
        found.pass_over(scan.path, f"its name says {scan.contrast}, but {against}", warn=True)
    return not against


def _account_for(files: Sequence[Path], found: Found, datalist: Path | None) -> None:
    """Say of every image that is no part of a case, and of every folder of DICOM images, why that is so."""
    known = {series_folder(Path(path)) for path in found.told if not names.is_image_name(path)}
    for path in files:
        if names.is_image_name(path.name) and str(path) not in found.told:
            reason, warn = _why_unused(path, datalist)
            found.pass_over(path, reason, warn)
    for folder in _dicom_folders(path for path in files if not names.is_image_name(path.name)):
        if folder not in known:
            why = _not_listed(datalist) if datalist else "DICOM beside NIfTI images; name the folder itself to use it"
            found.pass_over(folder, _RESULT if is_result(folder) else why)


def _why_unused(path: Path, datalist: Path | None) -> tuple[str, bool]:
    """Return why an image is no part of a case, and whether that may be a surprise."""
    if is_result(path):
        return _RESULT, False
    if datalist:
        return _not_listed(datalist), False
    if names.is_misspelt(path.name):
        return "upper and lower case are not as in sub-01_T2w.nii.gz; rename it", True
    if not names.NIFTI_ENDING.search(path.name):
        return "its format is not read; convert it to NIfTI", False
    if names.parse_name(path):
        return UNPAIRED, False
    return "its name tells none of T2w, PDw and T1w as BIDS and IXI do", False


def _not_listed(datalist: Path) -> str:
    return f"{datalist.name} does not list it"


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


def _pair(target: Scan, reference: Scan | None) -> Pair:
    files = {IMAGE: str(target.path)} | ({REFERENCE: str(reference.path)} if reference else {})
    return files | {SUBJECT: target.entities["sub"], CASE: names.safe_name(target.case)}


def _files(folder: Path, found: Found) -> Iterator[Path]:
    """Walk a folder in sorted order; links to folders are followed once."""
    visited, waiting = set(), [str(folder)]
    while waiting:  # however deep they are: a function that calls itself has an end
        root = waiting.pop()
        try:
            place = Path(root).stat()
            entries = sorted(os.scandir(root), key=lambda entry: entry.name)
        except OSError as error:
            found.pass_over(Path(root), f"cannot be read ({error.strerror}), nor what it holds", warn=True)
            continue
        if (place.st_dev, place.st_ino) in visited:
            continue
        visited.add((place.st_dev, place.st_ino))
        wanted = [entry for entry in entries if not entry.name.startswith(".") and not entry.name.endswith(".partial")]
        yield from (Path(entry.path) for entry in wanted if not _is_folder(entry))
        folders = [entry for entry in reversed(wanted) if _is_folder(entry)]
        waiting += [entry.path for entry in folders if entry.name.lower() not in _LEFT_OUT]
        for entry in folders:
            if entry.name.lower() in _LEFT_OUT:
                found.pass_over(Path(entry.path), "BIDS keeps what is no raw data there; name it itself to use it")


def _is_folder(entry: os.DirEntry[str]) -> bool:
    with contextlib.suppress(OSError):  # of a link to itself
        return entry.is_dir()
    return False


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
