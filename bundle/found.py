# SPDX-License-Identifier: Apache-2.0
"""What was found in a data set: its cases, those among them that cannot be done, and what else lies there."""

import logging
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from bundle.errors import InputError
from bundle.files import json_content
from bundle.keys import CASE, FAULT, IMAGE, REFERENCE, Pair
from bundle.volumes.names import first_few

logger = logging.getLogger(__name__)

UNPAIRED: Final = "no target takes it as reference"
_RESULT_ENDING: Final = re.compile(r"(_interval)?\.nii(\.gz)?$|_dicom$")


class Located(Protocol):
    """A volume that may become target or reference."""

    @property
    def path(self) -> Path:
        """Where it is."""


_Volume = TypeVar("_Volume", bound=Located)


@dataclass
class Found:
    """Collect the cases of a data set, and the files and series that are none, by the reason why.

    A case that cannot be done, since files are missing or leave a guess, has ``fault`` in its pair, a sentence:
    whoever reads it refuses it, see :func:`refuse_fault`, and the others go on.
    """

    pairs: list[Pair] = field(default_factory=list)
    passed_over: dict[str, list[str]] = field(default_factory=dict)  # files, and folders of series, by reason
    told: set[str] = field(default_factory=set)  # all paths of which something is said
    _warned: set[str] = field(default_factory=set)  # reasons that may be a surprise

    def add(self, pair: Pair, fault: str = "", others: Iterable[Path] = ()) -> None:
        """Add a case; with a ``fault``, of which ``others`` take part, as one that cannot be done."""
        self.pairs.append(pair | ({FAULT: fault} if fault else {}))
        self.told |= {pair[key] for key in (IMAGE, REFERENCE) if key in pair} | set(map(str, others))

    def add_matched(
        self,
        matches: Iterable[tuple[_Volume, Sequence[_Volume]]],
        pair: Callable[[_Volume, _Volume | None], Pair],
        contrast: str,
        alone: bool,
    ) -> None:
        """Add targets with their references: one, none, which will do where it may stand ``alone``, or a guess."""
        for target, references in matches:
            if len(references) > 1:
                fault = (
                    f"{target.path} has two references that fit equally well, {references[0].path} and "
                    f"{references[1].path}; take one away, or list the pairs in a datalist.json or a CSV table."
                )
                self.add(pair(target, None), fault, (one.path for one in references))
            elif references or alone:
                self.add(pair(target, next(iter(references), None)))
            else:
                self.pass_over(target.path, f"there is no {contrast} of its session or study", warn=True)

    def pass_over(self, path: Path, reason: str, warn: bool = False) -> None:
        """Say why a file, or a folder that holds a series, is no part of any case; ``warn`` where that may surprise."""
        self.passed_over.setdefault(reason, []).append(str(path))
        self.told.add(str(path))
        if warn:
            self._warned.add(reason)

    def merge_namesakes(self) -> None:
        """Make one case that cannot be done of those that share a name."""
        by_name: dict[str, list[Pair]] = {}
        for pair in self.pairs:
            by_name.setdefault(pair[CASE], []).append(pair)
        self.pairs = [_one_of(pairs) for pairs in by_name.values()]

    def log(self, top: Path) -> None:
        """Log what is passed over below a folder, a line for each reason; of what may surprise, all of it."""
        for reason, paths in self.passed_over.items():
            names = [path.removeprefix(f"{top}{os.sep}") for path in paths]
            if reason in self._warned:
                logger.warning("%d passed over (%s): %s", len(names), reason, ", ".join(names))
            else:
                logger.info("%d passed over (%s): %s", len(names), reason, first_few(names))


def refuse_fault(pair: Mapping[Any, Any]) -> None:
    """Raise ``InputError`` for a case that could not be done when it was found."""
    if fault := pair.get(FAULT):
        raise InputError(fault)


def is_record(content: object) -> bool:
    """Tell whether the content of a JSON file is a record, damaged or not, that stands beside a result."""
    return isinstance(content, dict) and {CASE, "inputs", "settings"} <= set(content)


def is_result(path: Path) -> bool:
    """Tell whether a file, or a folder of a series, is a result of an earlier run, by the record beside it."""
    stem, n_endings = _RESULT_ENDING.subn("", path.name)
    try:
        return n_endings > 0 and is_record(json_content(path.with_name(f"{stem}.json")))
    except (OSError, ValueError):
        return False


def _one_of(pairs: Sequence[Pair]) -> Pair:
    if len(pairs) == 1:
        return pairs[0]
    both = " and ".join(pair[IMAGE] for pair in pairs[:2])
    fault = (
        f"{both} would both be called {pairs[0][CASE]}; keep one of them, or list the pairs in a datalist.json and "
        "give each its own case."
    )
    return {key: value for key, value in pairs[0].items() if key != REFERENCE} | {FAULT: fault}
