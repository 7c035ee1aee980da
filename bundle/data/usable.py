# SPDX-License-Identifier: Apache-2.0
"""Inputs checked before the first is computed, so that one bad case never stops a batch."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tqdm import tqdm

from bundle.errors import InputError, SomeFailedError, reason_of
from bundle.keys import CASE, Pair

logger = logging.getLogger(__name__)

Check = Callable[[Mapping[Any, Any]], Any]
"""Reads one pair and raises ``InputError`` where it cannot be used, such as ``LoadPaird()``."""


def check_pairs(data: Sequence[Pair], check: Check) -> tuple[list[Pair], dict[str, str]]:
    """Load every pair once, and tell the usable ones from those that are refused.

    Args:
        data: pairs, as :func:`bundle.data.find_pairs` returns.
        check: whatever it raises makes a pair unusable.

    Returns:
        The pairs to work on, and the reason by case for the others.
    """
    usable: list[Pair] = []
    failures: dict[str, str] = {}
    for pair in tqdm(data, desc="checking inputs", unit="case", leave=False, disable=not data):
        try:
            check(pair)
        except Exception as error:
            failures[pair[CASE]] = reason_of(error)
            logger.error("%s is left out: %s", pair[CASE], failures[pair[CASE]])
            logger.debug("", exc_info=True)
        else:
            usable.append(pair)
    return usable, failures


def raise_failures(failures: Mapping[str, str], n_cases: int, others: str = "are done") -> None:
    """Name the cases that were left out, once all others are done.

    Args:
        failures: the reason by case.
        n_cases: how many cases there were.
        others: what to tell of the others.

    Raises:
        SomeFailedError: if some were left out, so that the run ends with a non-zero exit status.
        InputError: if all were.
    """
    if failures and len(failures) == n_cases:
        reason = next(iter(failures.values()))
        raise InputError(reason if n_cases == 1 else f"none of {n_cases} cases can be used; the first: {reason}")
    if failures:
        reasons = "; ".join(f"{case}: {reason}" for case, reason in failures.items())
        raise SomeFailedError(f"{len(failures)} of {n_cases} cases were left out, the others {others}. {reasons}")


class CheckedPairs:
    """Check every pair, for configs.

    Args:
        data: pairs, as :func:`bundle.data.find_pairs` returns.
        load: reads one pair and raises ``InputError`` where it cannot be used, such as ``LoadPaird()``.

    Attributes:
        usable: the pairs to work on.
        failures: the reason by case, for the others.

    Raises:
        InputError: if no pair can be used.
    """

    def __init__(self, data: Sequence[Pair], load: Check) -> None:
        self.usable, self.failures = check_pairs(data, load)
        if not data:
            raise InputError("there are no pairs; check dataset_dir and the split file.")
        if not self.usable:
            raise_failures(self.failures, len(data))

    def raise_failures(self) -> None:
        """Name the cases that were left out, once all others are done.

        Raises:
            SomeFailedError: if there were any, so that the run ends with a non-zero exit status.
        """
        raise_failures(self.failures, len(self.usable) + len(self.failures))
