# SPDX-License-Identifier: Apache-2.0
"""What the steps of a run found out about each case: sentences to warn with, and facts to look up."""

import logging
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bundle.keys import CASE

logger = logging.getLogger(__name__)


@dataclass
class CaseRecord:
    """Hold what is known of one case, beside its images.

    Attributes:
        case: name of the case.
        warnings: sentences for the person who uses the output, each naming what looks wrong and what to do.
        facts: JSON values by topic, such as ``{"registration": {"shift_mm": 3.1, ...}}``.
    """

    case: str
    warnings: list[str] = field(default_factory=list)
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)

    def warn(self, sentence: str) -> None:
        """Keep a warning, once, and log it."""
        if sentence not in self.warnings:
            self.warnings.append(sentence)
            logger.warning("%s: %s", self.case, sentence)

    def note(self, topic: str, **values: Any) -> None:
        """Add facts, JSON values by name, to a topic."""
        self.facts.setdefault(topic, {}).update(values)


class Records:
    """Collect the record of every case; the steps of a run share one collection.

    It stands beside the items rather than in them, since what passes through a data loader's collation loses
    its types.
    """

    def __init__(self) -> None:
        self._records: dict[str, CaseRecord] = {}

    def of(self, item: Mapping[Hashable, Any]) -> CaseRecord:
        """Return the record of an item, by its ``case``; a new one where there is none."""
        case = str(item.get(CASE, "case"))
        return self._records.setdefault(case, CaseRecord(case))

    def forget(self, item: Mapping[Hashable, Any]) -> None:
        """Start the record of an item anew."""
        self._records.pop(str(item.get(CASE, "case")), None)
