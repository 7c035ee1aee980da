# SPDX-License-Identifier: Apache-2.0
"""One case on its way from its files to its output, and what each stage has found out about it."""

import contextlib
import dataclasses
import logging
from collections.abc import Hashable, Mapping
from typing import Any, Final, Self

from bundle.acquisition import AxisEstimate, SliceAxis, zero_filled_by
from bundle.doubts import Doubt, Verdict, by_gravity
from bundle.errors import InputError
from bundle.files import fingerprint
from bundle.keys import CASE
from bundle.volumes.geometry import Volume

logger = logging.getLogger(__name__)

_CHANGED: Final = "{path}: this was changed or replaced while its case was computed; run the command again for the new."


@dataclasses.dataclass(frozen=True)
class LowResFinding:
    """What is known of the low-res image's resolution; lists of three are of native axes."""

    said: str  # in one sentence
    slice_axis: int
    matrix_before: list[int]  # voxels in the file ...
    matrix_after: list[int]  # ... and on the grid of its output
    spacing_before: list[float]  # mm, likewise
    spacing_after: list[float]
    axes: tuple[AxisEstimate, AxisEstimate]  # how rows and columns of the output's grid were acquired
    slices: SliceAxis | None = None  # likewise the slices, where finer ones are made of them

    @property
    def is_coarse_in_plane(self) -> bool:
        """Whether there is anything to sharpen within slices, as far as is known."""
        return any(axis.factor > 1 or not axis.is_sure for axis in self.axes)

    @property
    def zero_filled_by(self) -> float:
        """The factor of plain zero-filling, where it is known to be all that happened; else 0."""
        return zero_filled_by(*self.axes) if self.slices is None else 0.0

    def facts(self) -> dict[str, Any]:
        """Return JSON values; the axes' as lists of rows and columns."""
        kept = ("said", "matrix_before", "matrix_after", "spacing_before", "spacing_after")
        each = ("factor", "measured", "deviation", "window", "source")
        own = {name: getattr(self, name) for name in kept}
        own |= {name: [getattr(axis, name) for axis in self.axes] for name in each}
        own["zero_filled_by"] = self.zero_filled_by
        if self.slices is None:
            return own
        step = self.spacing_after[self.slice_axis]
        return own | {"slice_thickness": self.slices.thickness * step, "slice_profile": self.slices.profile}


@dataclasses.dataclass
class RegistrationFinding:
    """What became of the reference on its way to the target's grid."""

    usable: bool = True  # or the case goes on without it, for a reason
    reason: str | None = None
    resampled: bool = False
    doubted: bool = False  # whether its agreement with the target was, and that was said
    details: dict[str, Any] = dataclasses.field(default_factory=dict)  # what was measured, as JSON values

    def facts(self) -> dict[str, Any]:
        """Return JSON values."""
        known = {"usable": self.usable, "resampled": self.resampled, "doubted": self.doubted}
        return self.details | known | ({"reason": self.reason} if self.reason else {})


class Case(str):
    """The name of a case, and what is known of it; stages add to it as it passes.

    It stands in an item under ``case``. As a string it passes MONAI's collation with its type.
    """

    sources: dict[str, Mapping[str, Any]]  # fingerprints of what was read, by key; empty before
    header: Volume | None  # the target's volume without its voxels, for its output; None before it was read
    low_res: LowResFinding | None  # None before anybody looked
    registration: RegistrationFinding | None  # None where nobody looked, and where there is no reference
    measured: dict[str, dict[str, Any]]  # JSON values: input, data_consistency, interval
    # kinds, each with a sentence for who uses the output that names what looks wrong and what to do
    doubts: list[tuple[Doubt, str]]
    seconds: dict[str, float]  # what each part took

    def __new__(cls, name: str, **known: Any) -> Self:
        """Start a case of which nothing is known but the attributes that are given."""
        case = super().__new__(cls, name)
        case.header = case.low_res = case.registration = None
        case.sources, case.measured, case.doubts, case.seconds = {}, {}, [], {}
        vars(case).update(known)
        return case

    @classmethod
    def of(cls, item: Mapping[Hashable, Any]) -> "Case":
        """Return the case of an item; a new one where its ``case`` is a plain name."""
        name = item.get(CASE, "case")
        return name if isinstance(name, Case) else cls(str(name))

    def read_from(self, key: str, source: Mapping[str, Any] | None) -> None:
        """Keep the fingerprint of what was read; ``InputError`` where the case has read something else before."""
        if self.sources.setdefault(key, source or {}) != source:
            raise InputError(_CHANGED.format(path=(source or {}).get("path")))

    def require_unchanged(self) -> None:
        """Raise ``InputError`` unless all that was read is still there as it was."""
        for source in self.sources.values():
            with contextlib.suppress(OSError):  # of what is gone, or cannot be read any more
                if fingerprint(source["path"]) == source:
                    continue
            raise InputError(_CHANGED.format(path=source["path"]))

    def warn(self, doubt: Doubt, sentence: str) -> None:
        """Keep a doubt, once, and log it."""
        if (doubt, sentence) not in self.doubts:
            self.doubts.append((doubt, sentence))
            logger.warning("%s: %s", self, sentence)

    @property
    def warnings(self) -> list[str]:
        """The sentences of all doubts, the gravest first."""
        return [sentence for _, sentence in by_gravity(self.doubts)]

    def told(self) -> dict[str, Any]:
        """Return verdict, its reason in a few words (empty without doubts) and warnings as JSON values."""
        first = by_gravity(self.doubts)[0][0] if self.doubts else None
        verdict, headline = (first.verdict, first.headline) if first else (Verdict.FINE, "")
        return {"verdict": str(verdict), "headline": headline, "warnings": self.warnings}

    def facts(self) -> dict[str, dict[str, Any]]:
        """Return all findings as JSON values by topic, as records, reports and pages hold them."""
        found = dict(self.measured)
        if self.low_res:
            found = {"low_res": self.low_res.facts()} | found
        if self.registration:
            found["registration"] = self.registration.facts()
        if self.seconds:
            parts = {f"{name}_seconds": round(seconds, 2) for name, seconds in self.seconds.items()}
            found["time"] = {"seconds": round(sum(self.seconds.values()), 2)} | parts
        return found
