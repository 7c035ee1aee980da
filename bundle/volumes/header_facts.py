# SPDX-License-Identifier: Apache-2.0
"""How an image was taken, by what a DICOM header or a BIDS side-car says, and whether its name contradicts that."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from bundle.errors import InputError
from bundle.files import json_content
from bundle.volumes.names import CONTRASTS, NIFTI_ENDING, TARGET_CONTRAST

FIELDS: Final = {  # of how an image was acquired, and what they can be: samples, per cent, a share, mm
    "AcquisitionMatrix": (16, 4096),
    "AcquisitionMatrixPE": (16, 4096),
    "PercentSampling": (10, 100),
    "PercentPhaseFieldOfView": (10, 100),
    "PartialFourier": (0.5, 0.99),
    "SliceThickness": (0.05, 100),
    "SpacingBetweenSlices": (0.05, 100),
}
_OTHER_NAMES: Final = {"PercentPhaseFieldOfView": "PercentPhaseFOV"}  # as converters from DICOM write it
# Whatever is not the head: the weights know heads alone.
_HEAD: Final = r"head|brain|skull|cran|ence"
_ELSEWHERE: Final = (
    r"spine|(?<![a-z])([ctl]s?[ -]?spine|[chbl]ws|cerv|thora|lumb|sacr|neck|chest|abdom|pelvi|breast|mamma|heart|"
    r"cardi|liver|kidney|prost|uter|hip|knee|ankle|foot|shoulder|elbow|wrist|hand(?![a-z])|extrem|whole.?body)"
)


@dataclass(frozen=True)
class HeaderFacts:
    """What is known of an image; times are in ms, ``None`` or empty where nothing is."""

    times: Sequence[float | None] = (None, None, None)  # of repetition, echo and inversion
    scanning: str = ""  # DICOM's ScanningSequence: SE, GR, IR and EP, separated by anything
    body_part: str = ""
    words: str = ""  # what the sequence is called

    @classmethod
    def of_sidecar(cls, image: Path) -> Self:
        """Return what the side-car of a NIfTI file says."""
        said = read_sidecar(image)
        times = [_number(said.get(f"{name}Time"), 1000) for name in ("Repetition", "Echo", "Inversion")]
        return cls(times, str(said.get("ScanningSequence") or ""), str(said.get("BodyPartExamined") or ""))

    def contradiction(self, contrast: str) -> str:
        """Return what speaks against a contrast, as a part of a sentence; empty where nothing does."""
        known = next(one for one in CONTRASTS if one.name == contrast)
        repetition, echo, inversion = self.times
        shortest, longest = known.echoes
        parts = set(re.findall(r"[A-Z]{2}", self.scanning))
        for text in (self.body_part, self.words):
            if (found := re.search(_ELSEWHERE, text.lower())) and not re.search(_HEAD, text.lower()):
                return f"it is of another part of the body ({found[0].strip()})"
        if contrast == TARGET_CONTRAST and "GR" in parts and "SE" not in parts:
            return "it is a gradient echo (T2*)"
        if echo and not shortest <= echo <= longest:
            return f"its echo time is {echo:g} ms"
        if repetition and repetition < known.shortest_repetition:
            return f"its repetition time is {repetition:g} ms"
        if inversion and inversion >= known.longest_inversion:
            return f"its inversion time is {inversion:g} ms (FLAIR)"
        return ""


def read_sidecar(image: Path) -> dict[str, Any]:
    """Return what the JSON side-car beside a NIfTI file holds; nothing where there is none that can be read."""
    try:
        content = json_content(image.with_name(NIFTI_ENDING.sub("", image.name) + ".json"), "utf-8-sig")
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def acquisition_fields(said: Mapping[str, Any]) -> dict[str, list[float]]:
    """Return the numbers of ``FIELDS`` that can be true, from a side-car or from DICOM's tags as text."""
    found: dict[str, list[float]] = {}
    for name, (lowest, highest) in FIELDS.items():
        value = said.get(name, said.get(_OTHER_NAMES.get(name, name)))
        parts = value.split("\\") if isinstance(value, str) else value if isinstance(value, list) else [value]
        numbers = [number for part in parts if (number := _as_number(part)) is not None and lowest <= number <= highest]
        if numbers:
            found[name] = numbers
    return found


def _as_number(part: Any) -> float | None:
    try:
        return None if isinstance(part, bool) else float(part)
    except (TypeError, ValueError):
        return None


def check_spacing(path: Path, spacing: float, thickness: float | None, between: float | None) -> None:
    """Refuse, by ``InputError``, slices that lie whole multiples further apart in mm than said: others are missing."""
    if between and between >= 0.9 * (thickness or between):  # some write the gap alone, which is less
        said, expected = f"{between:.4g} mm", between
    else:
        said, expected = f"slices of {thickness or 0:.4g} mm", thickness or 0.0
    n_steps = spacing / expected if expected > 0 else 1.0
    if n_steps >= 1.9 and abs(n_steps - round(n_steps)) <= 0.1:
        raise InputError(
            f"{path}: the slices are {spacing:.4g} mm apart where the header says {said}: every other one seems to be "
            "missing; export the whole series again."
        )


def _number(value: Any, scale: float = 1.0) -> float | None:
    return scale * value if isinstance(value, (int, float)) and not isinstance(value, bool) else None
