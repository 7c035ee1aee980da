# SPDX-License-Identifier: Apache-2.0
"""Which pairs a run works on: a named one or those of a data set or split, and of them those that can be read."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from bundle.data.bids import with_outputs
from bundle.data.pairs import survey
from bundle.data.splits import read_split
from bundle.dicom.series import is_series
from bundle.errors import InputError, SomeFailedError, reason_of
from bundle.found import Found, refuse_fault
from bundle.keys import CASE, IMAGE, REFERENCE, REFERENCE_CONTRAST, SUBJECT, Pair
from bundle.settings import PathLike
from bundle.volumes.names import NIFTI_ENDING, REFERENCE_NAMES, absolute_path, parse_name, safe_name

logger = logging.getLogger(__name__)

Check = Callable[[Mapping[Any, Any]], Any]  # reads one pair and raises where it cannot be used, as LoadPaird does


def requested_cases(
    dataset_dir: PathLike,
    reference_contrast: str = "auto",
    image: PathLike | None = None,
    reference: PathLike | None = None,
    needs_reference: bool = True,
) -> Found:
    """Return the one pair that is named, or else what :func:`survey` finds in a data set.

    Pairs of a BIDS data set get ``output``. Unless one ``needs_reference``, targets without one stand among them.
    ``InputError`` if ``image`` or ``reference`` is given alone though both are needed, or the data set has no pairs.
    """
    if image is None and reference is None:
        found = survey(dataset_dir, reference_contrast, needs_reference)
        found.pairs = with_outputs(found.pairs, dataset_dir)
        return found
    if image is None or (reference is None and needs_reference):
        given, missing = (IMAGE, REFERENCE) if reference is None else (REFERENCE, IMAGE)
        raise InputError(f"--{given} is given without its {missing}; add --{missing} FILE.")
    return Found([named_pair(image, reference)])


def named_pair(image: PathLike, reference: PathLike | None) -> Pair:
    """Return a pair of files, or of folders of a DICOM series.

    A name that is neither BIDS-like nor IXI's is case and subject; so is that of a DICOM folder, after its parent's.
    """
    path = absolute_path(image)
    scan, stem = parse_name(path), NIFTI_ENDING.sub("", path.name)
    if is_series(path):  # its own name is often that of the sequence, the same for all patients
        stem = "_".join(filter(None, (path.parent.name, stem)))
    case, subject = (scan.case, scan.entities["sub"]) if scan else (stem, stem)
    guide = {} if reference is None else {REFERENCE: str(absolute_path(reference))}
    return {IMAGE: str(path), **guide, SUBJECT: subject, CASE: safe_name(case)}


def pairs_of_subset(
    pairs: Sequence[Pair], split_file: PathLike | None, subset: str = "test", fold: int | None = None
) -> list[Pair]:
    """Return the pairs of one set of a split, or all without a split file; ``InputError`` if there are none."""
    if split_file is None:
        return list(pairs)
    subjects = read_split(split_file, subset, fold)
    if not (chosen := [pair for pair in pairs if pair[SUBJECT] in subjects]):
        raise InputError(
            f"{split_file}: no subject of its {subset} set ({', '.join(sorted(subjects)) or 'empty'}) is in the data "
            "set; check --dataset_dir and --subset, or give --split_file null for all pairs."
        )
    return chosen


def contrast_of(pairs: Sequence[Pair]) -> str | None:
    """Return the contrast of all references; ``None`` where neither names nor DICOM headers tell, or they disagree."""
    scans = [(pair, parse_name(Path(pair[REFERENCE]))) for pair in pairs if REFERENCE in pair]
    contrasts = {scan.contrast if scan else pair.get(REFERENCE_CONTRAST) for pair, scan in scans}
    return contrasts.pop() if len(contrasts) == 1 else None


def reference_beside(
    image: PathLike, names: Mapping[str, Sequence[str]] | None = None, contrast: str | None = None
) -> Path:
    """Return the first reference beside an image, of ``contrast`` if any, by rules as ``REFERENCE_NAMES``."""
    path = Path(image)
    stem = NIFTI_ENDING.sub("", path.name)
    rules = {**(names or {}), **REFERENCE_NAMES, **(names or {})}  # those given come first
    own = next((end for end in rules if stem.endswith(end)), None)
    if own is None:
        raise InputError(
            f"{path.name}: which file is the reference of this image? Its name ends in none of {', '.join(rules)}; add "
            'a rule to reference_names in the config, or give the path of its reference as "reference".'
        )
    wanted = [stem.removesuffix(own) + end for end in rules[own]]
    there = [file for name in wanted for end in (".nii.gz", ".nii") if (file := path.with_name(name + end)).is_file()]
    if not there:
        missing = " or ".join(f"{name}.nii.gz" for name in wanted)
        raise InputError(
            f"{path.name}: no reference lies beside this image; put {missing} "
            'into its folder, or give the path of its reference as "reference".'
        )
    fitting = (file for file in there if (scan := parse_name(file)) and scan.contrast == contrast)
    return next(fitting, there[0])


def check_pairs(data: Sequence[Pair], check: Check) -> tuple[list[Pair], dict[str, str]]:
    """Read every pair before the first is computed; return those to work on, and the others' reasons by case."""
    usable, failures = [], {}
    for pair in tqdm(data, desc="checking inputs", unit="case", leave=False, disable=not data or None):
        try:
            refuse_fault(pair)
            check(pair)
        except Exception as error:
            failures[pair[CASE]] = reason_of(error)
            logger.error("%s is left out: %s", pair[CASE], failures[pair[CASE]])
            logger.debug("", exc_info=True)
        else:
            usable.append(pair)
    return usable, failures


def raise_failures(
    failures: Mapping[str, str], n_cases: int, others: str = "are done", told: object = "the lines above"
) -> None:
    """Say that cases were left out, once all others are done: a ``SomeFailedError``, or ``InputError`` if all were.

    Of one the reason is given; of several only how many they are, since ``told`` names what has the reasons.
    """
    if failures and len(failures) == n_cases:
        reason = next(iter(failures.values()))
        raise InputError(reason if n_cases == 1 else f"none of {n_cases} cases can be used; the first: {reason}")
    if failures:
        reasons = [f"{case}: {reason}" for case, reason in failures.items()]
        where = reasons[0] if len(reasons) == 1 else f"See {told} for the reasons."
        raise SomeFailedError(f"{len(failures)} of {n_cases} cases were left out, the others {others}. {where}")


class CheckedPairs:
    """Check every pair by :func:`check_pairs`, for configs; an ``InputError`` if none can be used."""

    def __init__(self, data: Sequence[Pair], load: Check) -> None:
        self.usable, self.failures = check_pairs(data, load)
        if not data:
            raise InputError("there are no pairs; check dataset_dir and the split file.")
        if not self.usable:
            self.raise_failures()

    def raise_failures(self) -> None:
        """Name the cases that were left out."""
        raise_failures(self.failures, len(self.usable) + len(self.failures))
