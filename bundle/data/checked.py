# SPDX-License-Identifier: Apache-2.0
"""Inputs checked before the first is computed, so that one bad case never stops a batch."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tqdm import tqdm

from bundle.data.datalist import Pair
from bundle.errors import InputError
from bundle.keys import CASE

logger = logging.getLogger(__name__)


class CheckedPairs:
    """Load every pair once, and tell the usable ones from those that are refused.

    Args:
        data: pairs, as :func:`bundle.data.find_pairs` returns.
        load: reads one pair and raises ``InputError`` where it cannot be used, such as ``LoadPaird()``.

    Attributes:
        usable: the pairs to work on.
        failures: the reason by case, for the others.

    Raises:
        InputError: if no pair can be used.
    """

    def __init__(self, data: Sequence[Pair], load: Callable[[Mapping[Any, Any]], Any]) -> None:
        self.usable: list[Pair] = []
        self.failures: dict[str, str] = {}
        for pair in tqdm(data, desc="checking inputs", unit="case", leave=False):
            try:
                load(pair)
            except InputError as error:
                logger.error("%s is left out: %s", pair[CASE], error)
                self.failures[pair[CASE]] = str(error)
            else:
                self.usable.append(pair)
        if not self.usable:
            reason = next(iter(self.failures.values()), "there are no pairs; check dataset_dir and the split file.")
            raise InputError(reason if len(data) < 2 else f"none of {len(data)} cases can be used; the first: {reason}")

    def raise_failures(self) -> None:
        """Name the cases that were left out, once all others are done.

        Raises:
            InputError: if there were any, so that the run ends with a non-zero exit status.
        """
        if self.failures:
            n_cases = len(self.usable) + len(self.failures)
            reasons = "; ".join(f"{case}: {reason}" for case, reason in self.failures.items())
            raise InputError(f"{len(self.failures)} of {n_cases} cases were left out, the others are done. {reasons}")
