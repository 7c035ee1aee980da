# SPDX-License-Identifier: Apache-2.0
"""Find the pairs of each study among DICOM series as a PACS exports them, a folder a series, by one header of each."""

import contextlib
import hashlib
import logging
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from bundle.dicom.headers import Tag, is_dicom, read_dicom_header
from bundle.errors import InputError
from bundle.keys import CASE, IMAGE, REFERENCE, REFERENCE_CONTRAST, SUBJECT, Pair
from bundle.volumes import names

logger = logging.getLogger(__name__)

_SAME_ORIENTATION: Final = np.cos(np.radians(20))  # between normals of two series that are both called axial


@dataclass(frozen=True)
class Series:
    """One series of a study: the folder of its files, and the tags of one of their headers."""

    folder: Path
    tags: Mapping[str, str]

    @property
    def contrast(self) -> str:
        """Name of one of ``CONTRASTS``, by words, else by times; empty where it is none of them or nobody can tell."""
        if self.tags[Tag.MODALITY] not in ("MR", "") or "DERIVED" in self.tags[Tag.IMAGE_TYPE]:
            return ""
        words = self.tags[Tag.DESCRIPTION].lower() or self.tags[Tag.PROTOCOL].lower()
        if re.search(names.OTHER_SERIES, words):
            return ""
        said = [contrast.name for contrast in names.CONTRASTS if re.search(contrast.words, words)]
        if len(said) == 1:
            return said[0]
        repetition, echo = self.numbers(Tag.REPETITION_TIME, 1), self.numbers(Tag.ECHO_TIME, 1)
        if not (repetition and echo):
            return ""
        inversion = self.numbers(Tag.INVERSION_TIME, 1) or [0.0]
        return next((one.name for one in names.CONTRASTS if one.times(*repetition, *echo, *inversion)), "")

    @property
    def name(self) -> str:
        """What a person calls it."""
        return f"{self.folder} ({self.tags[Tag.DESCRIPTION] or 'without description'})"

    def numbers(self, tag: Tag, n_numbers: int) -> list[float]:
        """Read the numbers of a tag; none where they are not as many, or no numbers."""
        try:
            numbers = [float(part) for part in self.tags[tag].split("\\")]
        except ValueError:
            return []
        return numbers if len(numbers) == n_numbers else []


def study_pairs(folders: Iterable[Path], top: Path, reference_contrast: str = "auto") -> tuple[list[Pair], str]:
    """Pair the T2w series of each study with a reference of the same study.

    A reference is taken, in this order of preference, that was scanned without contrast agent, in the target's frame
    of reference, at its orientation, with the smallest pixels. Each folder holds the files of one series; cases are
    named by their path from ``top``. The contrast of the references is returned too. ``InputError`` if there is no
    pair, saying what series there are.
    """
    series = [one for folder in folders if (one := _first_of(folder))]
    studies: dict[str, list[Series]] = defaultdict(list)
    for one in series:
        studies[one.tags[Tag.STUDY]].append(one)
    found = {name: list(_pairs_of(studies.values(), name)) for name in names.REFERENCE_CONTRASTS}
    n_pairs = {name: sum(bool(references) for _, references in pairs) for name, pairs in found.items()}
    contrast = names.choose_contrast(n_pairs, reference_contrast)
    pairs = []
    for target, references in found[contrast]:
        if len(references) == 1:
            pairs.append(_pair(target, references[0], top, contrast))
            logger.info("%s with %s", target.name, references[0].name)
        elif n_pairs[contrast]:
            both = " and ".join(str(one.folder) for one in references[:2])
            fits = f"two {contrast} references fit equally well, {both}"
            why = fits if references else f"there is no {contrast} series in its study"
            logger.warning("%s is left out: %s; list it in a CSV table to have it done.", target.name, why)
    if not pairs:
        raise InputError(_nothing_paired(top, series, reference_contrast))
    return pairs, contrast


def _nothing_paired(folder: Path, series: Sequence[Series], wanted: str) -> str:
    *others, last = (contrast.name for contrast in names.CONTRASTS)
    none = f"no {', '.join(others)} or {last}"
    known = [f"{one.contrast or none}: {one.name}" for one in series]
    contrasts = names.ANY_REFERENCE if wanted == "auto" else wanted
    return (
        f"{folder} holds {len(series)} DICOM series and no {names.TARGET_CONTRAST} with a {contrasts} of the same "
        f"study ({names.first_few(known)}); list the folders in a CSV table with columns image and reference."
    )


def _first_of(folder: Path) -> Series | None:
    files = [path for path in sorted(folder.iterdir()) if is_dicom(path)]
    ends = []
    for path in dict.fromkeys([*files[:1], *files[-1:]]):
        with contextlib.suppress(InputError):
            ends.append(read_dicom_header(path).tags)
    if len({tags[Tag.SERIES] for tags in ends}) == 1:
        return Series(folder, ends[0])
    if ends:
        found = [tags[Tag.DESCRIPTION] or "one without description" for tags in ends]
        logger.warning(
            "%s is left out: it holds several DICOM series, %s and %s among them; sort it into one folder a series, or "
            "convert it with dcm2niix.",
            *(folder, *found),
        )
    elif files:
        logger.warning("%s is left out: its DICOM files cannot be read.", folder)
    return None


def _pairs_of(studies: Iterable[Sequence[Series]], contrast: str) -> Iterator[tuple[Series, list[Series]]]:
    """Yield each target with the equally good references of one contrast: none, one, or an ambiguity."""
    for study in studies:
        candidates = [one for one in study if one.contrast == contrast]
        for target in study:
            if target.contrast == names.TARGET_CONTRAST:
                ranks = [_rank(target, one) for one in candidates]
                yield target, [one for one, rank in zip(candidates, ranks, strict=True) if rank == min(ranks)]


def _rank(target: Series, reference: Series) -> tuple[bool, bool, bool, float]:
    directions = (one.numbers(Tag.DIRECTIONS, 6) or [0.0] * 6 for one in (target, reference))
    normals = [np.cross(values[:3], values[3:]) for values in directions]
    turned = abs(float(normals[0] @ normals[1])) < _SAME_ORIENTATION
    elsewhere = target.tags[Tag.FRAME_OF_REFERENCE] != reference.tags[Tag.FRAME_OF_REFERENCE]
    pixel = math.prod(reference.numbers(Tag.PIXEL_SPACING, 2) or [math.inf])  # area in mm^2
    return bool(reference.tags[Tag.AGENT]), elsewhere, turned, round(pixel, 4)


def _pair(target: Series, reference: Series, top: Path, contrast: str) -> Pair:
    """Return a pair that names neither patient nor study, unless folders do."""
    patient = target.tags[Tag.PATIENT] or target.tags[Tag.STUDY]
    folders = target.folder.relative_to(top).parts or (target.folder.name,)
    subject = hashlib.sha256(patient.encode()).hexdigest()[:12]
    series = {IMAGE: str(target.folder), REFERENCE: str(reference.folder), REFERENCE_CONTRAST: contrast}
    return series | {SUBJECT: subject, CASE: names.safe_name("_".join(folders))}
