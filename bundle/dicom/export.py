# SPDX-License-Identifier: Apache-2.0
"""Find the pairs of each study among the DICOM series that a PACS exports, by their headers."""

import hashlib
import logging
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np

from bundle.dicom.headers import Tag, numbers_of
from bundle.dicom.stacks import stacks_in
from bundle.errors import InputError, reason_of
from bundle.found import UNPAIRED, Found
from bundle.keys import CASE, IMAGE, REFERENCE, REFERENCE_CONTRAST, SUBJECT, Pair
from bundle.pseudonyms import pseudonym
from bundle.volumes import names
from bundle.volumes.header_facts import HeaderFacts

logger = logging.getLogger(__name__)

_SAME_ORIENTATION: Final = np.cos(np.radians(20))  # between normals of two series that are both called axial
_SHORTEST_IDENTIFIER: Final = 16  # of a study; what is shorter than this was made up for all
_PERSON: Final = (Tag.PATIENT, Tag.BIRTH_DATE, Tag.SEX)


@dataclass(frozen=True)
class Series:
    """One series of a study, or one echo of it: what ``read_series`` takes, and the tags of one of its headers."""

    path: Path
    tags: Mapping[str, str]
    folder: Path = Path()
    part: str = ""  # which of several in its folder

    @cached_property
    def judged(self) -> tuple[str, str]:
        """Name of one of ``CONTRASTS``, by words, else by times, or why it is none or nobody can tell."""
        if self.tags[Tag.MODALITY] not in ("MR", ""):
            return "", f"it is of modality {self.tags[Tag.MODALITY]}"
        if "DERIVED" in self.tags[Tag.IMAGE_TYPE]:
            return "", "it was computed from other images (DERIVED)"
        words = self._words()
        if other := re.search(names.OTHER_SERIES, words):
            return "", f"its description says {other[0].strip()}"
        said = [contrast.name for contrast in names.CONTRASTS if re.search(contrast.words, words)]
        if len(said) != 1:
            return self._by_times()
        against = self._acquisition().contradiction(said[0])
        return ("", f"its description says {said[0]}, but {against}") if against else (said[0], "")

    def _by_times(self) -> tuple[str, str]:
        repetition, echo, inversion = self._times()
        if repetition is None or echo is None:
            return "", f"nothing says whether it is {_contrasts()}"
        found = next((one.name for one in names.CONTRASTS if one.times(repetition, echo, inversion or 0)), "")
        if not found:
            return "", f"its times are not those of {_contrasts()}"
        against = self._acquisition().contradiction(found)
        return ("", against) if against else (found, "")

    @property
    def contrast(self) -> str:
        """Name of one of ``CONTRASTS``; empty where it is none of them or nobody can tell."""
        return self.judged[0]

    @property
    def name(self) -> str:
        """What a person calls it."""
        words, echo = self.tags[Tag.DESCRIPTION] or "without description", numbers_of(self.tags, Tag.ECHO_TIME)
        return f"{self.path} ({words}{f', echo time {echo[0]:g} ms' if self.part and echo else ''})"

    def _words(self) -> str:
        return self.tags[Tag.DESCRIPTION].lower() or self.tags[Tag.PROTOCOL].lower()

    def _times(self) -> list[float | None]:
        found = (numbers_of(self.tags, tag) for tag in (Tag.REPETITION_TIME, Tag.ECHO_TIME, Tag.INVERSION_TIME))
        return [values[0] if values else None for values in found]

    def _acquisition(self) -> HeaderFacts:
        return HeaderFacts(self._times(), self.tags[Tag.SCANNING_SEQUENCE], self.tags[Tag.BODY_PART], self._words())


def add_studies(
    found: Found,
    folders: Iterable[Path],
    top: Path,
    reference_contrast: str = "auto",
    needs_reference: bool = True,
) -> str:
    """Add the T2w series of each study, with a reference of the same person and study, and return the contrast taken.

    A reference is taken, in this order of preference, that was scanned without contrast agent, in the target's frame
    of reference, at its orientation, beside its folder, with the smallest pixels. Where no header says which study it
    is, the two must lie side by side. Cases are named by their path from ``top``. What is no part of a case is passed
    over with the reason. ``InputError`` if there is no case, saying what series there are.
    """
    series = [one for folder in folders for one in _series_of(folder, top, found)]
    studies = _studies(series)
    matches = {name: list(_pairs_of(studies, name)) for name in names.REFERENCE_CONTRASTS}
    n_pairs = {name: sum(bool(references) for _, references in pairs) for name, pairs in matches.items()}
    contrast = names.choose_contrast(n_pairs, reference_contrast)
    if not n_pairs[contrast] and (needs_reference or not matches[contrast]) and not found.pairs:
        raise InputError(_nothing_paired(top, series, reference_contrast))
    for one in series:
        if reason := one.judged[1]:
            found.pass_over(one.path, reason)
    found.add_matched(
        matches[contrast],
        lambda target, reference: _pair(target, reference, top, contrast),
        contrast,
        alone=not needs_reference,
    )
    for one in series:
        if str(one.path) not in found.told:
            found.pass_over(one.path, UNPAIRED)
    return contrast


def _contrasts() -> str:
    *others, last = (contrast.name for contrast in names.CONTRASTS)
    return f"{', '.join(others)} or {last}"


def _nothing_paired(folder: Path, series: Sequence[Series], wanted: str) -> str:
    known = [f"{one.contrast or f'no {_contrasts()}'}: {one.name}{_because(one)}" for one in series]
    contrasts = names.ANY_REFERENCE if wanted == "auto" else wanted
    return (
        f"{folder} holds {len(series)} DICOM series and no {names.TARGET_CONTRAST} with a {contrasts} of the same "
        f"study ({names.first_few(known)}); list series that belong together, folders or one file of each, in a CSV "
        "table with columns image and reference."
    )


def _because(series: Series) -> str:
    return f", since {series.judged[1]}" if series.judged[1] else ""


def _series_of(folder: Path, top: Path, found: Found) -> list[Series]:
    """Return the series of a folder; none where it holds no MR image, or one is damaged: it may be anybody's case."""
    try:
        stacks = stacks_in(folder)
    except (InputError, OSError) as error:
        case = _case(folder, top)
        found.add({IMAGE: str(folder), SUBJECT: case, CASE: case}, fault=reason_of(error))
        return []
    if not stacks:
        found.pass_over(folder, "it holds no MR images")
    return [Series(stack.path, stack.tags, stack.folder, stack.part) for stack in stacks]


def _studies(series: Iterable[Series]) -> list[list[Series]]:
    """Group by study where identifiers tell it, else by the folder around those of the series.

    An identifier tells nothing that is missing or short, or is shared by several people, or by several folders
    that each hold a target: it was put in for all.
    """
    by_study: dict[str, list[Series]] = defaultdict(list)
    for one in series:
        by_study[one.tags[Tag.STUDY]].append(one)
    groups: dict[tuple[str, ...], list[Series]] = defaultdict(list)
    for study, members in by_study.items():
        doubtful = len(study) < _SHORTEST_IDENTIFIER or not _is_one_person(members) or _places_of_targets(members) > 1
        for one in members:
            place = one.folder if one.part else one.folder.parent
            unknown = (str(place), *(one.tags[tag] for tag in (*_PERSON, Tag.STUDY_DATE))) if doubtful else ()
            groups[study, *unknown].append(one)
    return list(groups.values())


def _is_one_person(series: Sequence[Series]) -> bool:
    tags = (*_PERSON, Tag.PATIENT_NAME, Tag.STUDY_DATE)
    return all(len({one.tags[tag] for one in series} - {""}) <= 1 for tag in tags)


def _places_of_targets(series: Sequence[Series]) -> int:
    return len({one.folder.parent for one in series if one.contrast == names.TARGET_CONTRAST})


def _pairs_of(studies: Iterable[Sequence[Series]], contrast: str) -> Iterator[tuple[Series, list[Series]]]:
    """Yield each target with the equally good references of one contrast: none, one, or an ambiguity."""
    for study in studies:
        candidates = [one for one in study if one.contrast == contrast]
        for target in study:
            if target.contrast == names.TARGET_CONTRAST:
                ranks = [_rank(target, one) for one in candidates]
                yield target, [one for one, rank in zip(candidates, ranks, strict=True) if rank == min(ranks)]


def _rank(target: Series, reference: Series) -> tuple[bool, bool, bool, bool, float]:
    directions = (numbers_of(one.tags, Tag.DIRECTIONS, 6) or [0.0] * 6 for one in (target, reference))
    normals = [np.cross(values[:3], values[3:]) for values in directions]
    turned = abs(float(normals[0] @ normals[1])) < _SAME_ORIENTATION
    elsewhere = target.tags[Tag.FRAME_OF_REFERENCE] != reference.tags[Tag.FRAME_OF_REFERENCE]
    apart = target.folder.parent != reference.folder.parent
    pixel = math.prod(numbers_of(reference.tags, Tag.PIXEL_SPACING, 2) or [math.inf])  # area in mm^2
    return bool(reference.tags[Tag.AGENT]), elsewhere, turned, apart, round(pixel, 4)


def _pair(target: Series, reference: Series | None, top: Path, contrast: str) -> Pair:
    """Return a pair that names neither patient nor study, unless folders do."""
    patient = target.tags[Tag.PATIENT] or target.tags[Tag.STUDY]
    subject = pseudonym(hashlib.sha256(patient.encode()).hexdigest()[:12])
    pair = {IMAGE: str(target.path), SUBJECT: subject, CASE: _case(target.folder, top, target.part)}
    logger.info("%s with %s", target.name, reference.name if reference else "no reference")
    return pair | ({REFERENCE: str(reference.path), REFERENCE_CONTRAST: contrast} if reference else {})


def _case(folder: Path, top: Path, part: str = "") -> str:
    folders = folder.relative_to(top).parts or (folder.name,)
    return names.safe_name("_".join(filter(None, (*folders, part))))
