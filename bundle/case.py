# SPDX-License-Identifier: Apache-2.0
"""One case on its way from its files to its output, and what each stage has found out about it."""

import dataclasses
import logging
from collections.abc import Hashable, Mapping
from typing import Any, Self

from bundle.keys import CASE
from bundle.volumes.geometry import Volume

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class LowResFinding:
    """How the low-res image came.

    Attributes:
        case: ``zero-filled``, ``small matrix`` or both.
        slice_axis: native axis of the slices.
        matrix_before: voxels of the native axes in the file ...
        matrix_after: ... and after enlarging.
        spacing_before: mm, likewise.
        spacing_after: mm, likewise.
        measured: samples of k-space that were measured, native axes.
        factor: of rows and columns.
        drop_db: confidence that the measured block was seen, rows and columns; ``None`` where nobody looked.
    """

    case: str
    slice_axis: int
    matrix_before: list[int]
    matrix_after: list[int]
    spacing_before: list[float]
    spacing_after: list[float]
    measured: list[int]
    factor: list[float]
    drop_db: list[float] | None = None


@dataclasses.dataclass
class RegistrationFinding:
    """What became of the reference on its way to the target's grid.

    Attributes:
        usable: false where the case goes on without it, for ``reason``.
        resampled: whether it was interpolated.
        doubted: whether its agreement with the target was doubted, and that was said.
        details: what was measured, as JSON values.
    """

    usable: bool = True
    reason: str | None = None
    resampled: bool = False
    doubted: bool = False
    details: dict[str, Any] = dataclasses.field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        """Return JSON values."""
        known = {"usable": self.usable, "resampled": self.resampled, "doubted": self.doubted}
        return self.details | known | ({"reason": self.reason} if self.reason else {})


class Case(str):
    """The name of a case, and what is known of it; stages add to it as it passes.

    It stands in an item under ``case``. As a string it passes MONAI's collation with its type.

    Attributes:
        header: the target's volume without its voxels, for its output; ``None`` before it was read.
        low_res: how the low-res image came; ``None`` before anybody looked.
        registration: what became of the reference; ``None`` where nobody looked, and where there is none.
        measured: further findings, JSON values by topic: ``input``, ``data_consistency``, ``influence``,
            ``uncertainty``.
        warnings: sentences for the person who uses the output, each naming what looks wrong and what to do.
        seconds: what each part took, by its name.
    """

    header: Volume | None
    low_res: LowResFinding | None
    registration: RegistrationFinding | None
    measured: dict[str, dict[str, Any]]
    warnings: list[str]
    seconds: dict[str, float]

    def __new__(cls, name: str, **known: Any) -> Self:
        """Start a case of which nothing is known but the attributes that are given."""
        case = super().__new__(cls, name)
        case.header = case.low_res = case.registration = None
        case.measured, case.warnings, case.seconds = {}, [], {}
        vars(case).update(known)
        return case

    @classmethod
    def of(cls, item: Mapping[Hashable, Any]) -> "Case":
        """Return the case of an item; a new one where its ``case`` is a plain name."""
        name = item.get(CASE, "case")
        return name if isinstance(name, Case) else cls(str(name))

    def warn(self, sentence: str) -> None:
        """Keep a warning, once, and log it."""
        if sentence not in self.warnings:
            self.warnings.append(sentence)
            logger.warning("%s: %s", self, sentence)

    def facts(self) -> dict[str, dict[str, Any]]:
        """Return all findings as JSON values by topic, as records, reports and pages hold them."""
        found = dict(self.measured)
        if self.low_res:
            low_res = dataclasses.asdict(self.low_res)
            del low_res["slice_axis"]
            found = {"low_res": low_res} | found
        if self.registration:
            found["registration"] = self.registration.facts()
        if self.seconds:
            parts = {f"{name}_seconds": round(seconds, 2) for name, seconds in self.seconds.items()}
            found["time"] = {"seconds": round(sum(self.seconds.values()), 2)} | parts
        return found
