# SPDX-License-Identifier: Apache-2.0
"""Find the pairs among DICOM series as a PACS exports them: a folder a series, in folders by study or patient.

Which series is what is read from one file's header of each: its words first, where those are silent its times of echo,
repetition and inversion. Pairs are made within a study alone. Nothing is paired where two references fit equally well.
"""

import hashlib
import logging
import re
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from bundle.dicom.series import is_dicom, read_tags
from bundle.errors import InputError
from bundle.keys import CASE, IMAGE, REFERENCE, REFERENCE_CONTRAST, SUBJECT, Pair
from bundle.volumes.names import REFERENCE_CONTRASTS, TARGET_CONTRAST, first_few, safe_name

logger = logging.getLogger(__name__)

_MODALITY, _IMAGE_TYPE = "0008|0060", "0008|0008"
_STUDY, _SERIES, _FRAME, _PATIENT = "0020|000d", "0020|000e", "0020|0052", "0010|0020"
_DESCRIPTION, _PROTOCOL, _AGENT = "0008|103e", "0018|1030", "0018|0010"
_REPETITION, _ECHO, _INVERSION = "0018|0080", "0018|0081", "0018|0082"
_SPACING, _DIRECTIONS = "0028|0030", "0020|0037"

_OTHER: Final = re.compile(
    r"flair|tirm|stir|dark.?fl|diff|trace|angio|perf|locali[sz]er|scout|survey|spectro|t2[\W_]*(star|\*)|t2s(?![a-z])"
    r"|(?<![a-z])(dwi|adc|swi|swan|tof|mra|mip|map|asl|bold|fmri|hemo)"
)
"""What descriptions say of images that are neither target nor reference, whatever else they say. ``mpr`` is not one: it
is MPRAGE as often as a reformatted image, which its type tells."""
_WORDS: Final = {
    "T2w": re.compile(r"(?<![a-z])t2"),
    "PDw": re.compile(r"(?<![a-z])(pd|proton|dens)"),
    "T1w": re.compile(r"(?<![a-z])(t1|mp.?rage|bravo|(ir.?)?f?spgr|tfe)"),
}
"""What they say of the contrasts."""
_SAME_ORIENTATION: Final = np.cos(np.radians(20))
"""Between the normals of two series that a technician would call axial both."""


@dataclass(frozen=True)
class Series:
    """One series of a study, by the header of one of its files.

    Attributes:
        folder: that holds its files.
        tags: values by tag, as text, empty where there is none.
    """

    folder: Path
    tags: Mapping[str, str]

    @property
    def contrast(self) -> str:
        """``T2w``, ``PDw`` or ``T1w``; empty where it is none of them or nobody can tell."""
        if self.tags[_MODALITY] not in ("MR", "") or "DERIVED" in self.tags[_IMAGE_TYPE]:
            return ""
        words = self.tags[_DESCRIPTION].lower() or self.tags[_PROTOCOL].lower()
        if _OTHER.search(words):
            return ""
        said = [name for name, pattern in _WORDS.items() if pattern.search(words)]
        if len(said) == 1:
            return said[0]
        return _contrast_of_times(*(_number(self.tags[tag]) for tag in (_REPETITION, _ECHO, _INVERSION)))

    @property
    def name(self) -> str:
        """What a person calls it."""
        return f"{self.folder} ({self.tags[_DESCRIPTION] or 'without description'})"

    @property
    def normal(self) -> np.ndarray:
        """Direction across its slices, (3,); zeros where the header does not say."""
        values = [_number(part) for part in self.tags[_DIRECTIONS].split("\\")]
        if len(values) != 6 or None in values:
            return np.zeros(3)
        return np.cross(*np.array(values, dtype=float).reshape(2, 3))

    @property
    def pixel(self) -> float:
        """Area of a pixel in mm^2; infinite where the header does not say."""
        rows, _, columns = self.tags[_SPACING].partition("\\")
        height, width = _number(rows), _number(columns)
        return float("inf") if height is None or width is None else height * width


def study_pairs(
    folders: Iterable[Path], top: Path, reference_contrast: str = "auto"
) -> tuple[list[Pair], str, list[Series]]:
    """Pair the T2w series of each study with a reference of the same study.

    A reference is taken, in this order of preference, that was scanned without contrast agent, in the target's frame
    of reference, at its orientation, with the smallest pixels.

    Args:
        folders: each holding the files of one series.
        top: the folder that they are below; cases are named by the way from there.
        reference_contrast: ``PDw``, ``T1w``, or ``auto`` for the one with more pairs (PDw on a tie).

    Returns:
        Pairs, the contrast of their references, and all series that were found.
    """
    series = [one for folder in folders if (one := _first_of(folder))]
    studies: dict[str, list[Series]] = defaultdict(list)
    for one in series:
        studies[one.tags[_STUDY]].append(one)
    found = {name: list(_pairs_of(studies.values(), name)) for name in REFERENCE_CONTRASTS}
    # max() keeps the first of equals, which makes PDw win a tie.
    best = max(REFERENCE_CONTRASTS, key=lambda name: sum(bool(references) for _, references in found[name]))
    contrast = best if reference_contrast == "auto" else reference_contrast
    pairs = []
    for target, references in found[contrast]:
        if len(references) == 1:
            pairs.append(_pair(target, references[0], top, contrast))
            logger.info("%s with %s", target.name, references[0].name)
        elif references:
            both = f"{references[0].folder} and {references[1].folder}"
            _warn_left_out(target, f"two {contrast} references fit equally well, {both}")
        elif any(others for _, others in found[contrast]):
            _warn_left_out(target, f"there is no {contrast} series in its study")
    return pairs, contrast, series


def _warn_left_out(target: Series, reason: str) -> None:
    logger.warning("%s is left out: %s; list it in a CSV table to have it done.", target.name, reason)


def nothing_paired(folder: Path, series: Sequence[Series], wanted: str) -> InputError:
    """Return the error that says what series there are where none could be paired."""
    known = [f"{one.contrast or 'no T2w, PDw or T1w'}: {one.name}" for one in series]
    contrasts = "PDw or T1w" if wanted == "auto" else wanted
    return InputError(
        f"{folder} holds {len(series)} DICOM series and no T2w with a {contrasts} of the same study "
        f"({first_few(known)}); list the folders in a CSV table with columns image and reference."
    )


def _first_of(folder: Path) -> Series | None:
    """Return the series of a folder by its first file, and warn of a folder that holds several."""
    files = [path for path in sorted(folder.iterdir()) if is_dicom(path)]
    if not files:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python deprecates how ITK is wrapped; as an error, that would end the process
        ends = [read_tags(path, TAGS) for path in {files[0]: None, files[-1]: None}]
    tags = next((tags for tags in ends if tags is not None), None)
    if tags is None:
        logger.warning("%s is left out: its DICOM files cannot be read.", folder)
        return None
    other = ends[-1]
    if other is not None and other[_SERIES] != tags[_SERIES]:
        names = [one[_DESCRIPTION] or "one without description" for one in (tags, other)]
        logger.warning(
            "%s is left out: it holds several DICOM series, %s and %s among them; sort it into one folder a series, or "
            "convert it with dcm2niix.",
            folder,
            *names,
        )
        return None
    return Series(folder, tags)


def _pairs_of(studies: Iterable[Sequence[Series]], contrast: str) -> Iterator[tuple[Series, list[Series]]]:
    """Yield each target with the equally good references of one contrast: none, one, or an ambiguity."""
    for study in studies:
        candidates = [one for one in study if one.contrast == contrast]
        for target in study:
            if target.contrast == TARGET_CONTRAST:
                rank = _preference(target)
                least = min(map(rank, candidates), default=None)
                yield target, [one for one in candidates if rank(one) == least]


def _preference(target: Series) -> Callable[[Series], tuple[bool, bool, bool, float]]:
    """Return what ranks references for a target, smaller is better."""

    def rank(reference: Series) -> tuple[bool, bool, bool, float]:
        turned = abs(float(target.normal @ reference.normal)) < _SAME_ORIENTATION
        elsewhere = target.tags[_FRAME] != reference.tags[_FRAME]
        return bool(reference.tags[_AGENT]), elsewhere, turned, round(reference.pixel, 4)

    return rank


def _pair(target: Series, reference: Series, top: Path, contrast: str) -> Pair:
    """Return a pair that names neither patient nor study; the folders may."""
    patient = target.tags[_PATIENT] or target.tags[_STUDY]
    way = target.folder.relative_to(top).parts or (target.folder.name,)
    return {
        IMAGE: str(target.folder),
        REFERENCE: str(reference.folder),
        SUBJECT: hashlib.sha256(patient.encode()).hexdigest()[:12],
        CASE: safe_name("_".join(way)),
        REFERENCE_CONTRAST: contrast,
    }


def _contrast_of_times(repetition: float | None, echo: float | None, inversion: float | None) -> str:
    """Return the contrast that times in ms make; an inversion makes T1w where it is short, and none of them else."""
    if repetition is None or echo is None:
        return ""
    if inversion:
        return "T1w" if inversion < 1300 and echo < 30 else ""
    if repetition >= 1500:
        return "T2w" if echo >= 70 else "PDw" if echo <= 40 else ""
    return "T1w" if repetition <= 900 and echo <= 30 else ""


def _number(text: str) -> float | None:
    """Read a number of a header."""
    try:
        return float(text)
    except ValueError:
        return None


TAGS: Final = (
    *(_MODALITY, _IMAGE_TYPE, _STUDY, _SERIES, _FRAME, _PATIENT, _DESCRIPTION, _PROTOCOL, _AGENT),
    *(_REPETITION, _ECHO, _INVERSION, _SPACING, _DIRECTIONS),
)
"""What of a header is read."""
