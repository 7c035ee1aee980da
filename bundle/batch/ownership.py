# SPDX-License-Identifier: Apache-2.0
"""Which files a case may write: no input of the list, and of what is there already only what a batch has written."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from bundle.batch.results import Results, read_json
from bundle.errors import InputError, reason_of
from bundle.files import check_name
from bundle.keys import CASE, IMAGE, REFERENCE, Pair
from bundle.pages.batch_page import PAGE_OF_ALL, is_batch_page

_REMEDY: Final = "move it away, or choose another name or output folder"
_OWN_NAME: Final = "give each its own case or output"


def check_outputs(results: Results, pairs: Sequence[Pair], report: Path) -> dict[str, str]:
    """Return by case why what it would write cannot be written.

    A case may not write over an input, where another one writes, in the place of a foreign file, or under a name that
    is too long. An ``InputError`` refuses the batch where that is so of its report or page.
    """
    inputs = {os.path.realpath(pair[key]): pair[key] for pair in pairs for key in (IMAGE, REFERENCE) if pair.get(key)}
    owners: dict[Path, list[str]] = {}
    faults, outputs = {}, {}
    for pair in pairs:
        try:
            outputs[pair[CASE]] = results.files(pair)
        except InputError as error:
            faults[pair[CASE]] = reason_of(error)
        for path in outputs.get(pair[CASE], ()):
            owners.setdefault(path, []).append(pair[IMAGE])
    for path, is_foreign in _common_outputs(results, report):
        _check_place(path, inputs, is_foreign)
        if path in owners:
            raise InputError(f"{path}: the report of all and the result of {owners[path][0]} would both become this.")
    for pair in pairs:
        try:
            _check_case(results, pair, outputs.get(pair[CASE], ()), owners, inputs)
        except (InputError, OSError) as error:
            faults.setdefault(pair[CASE], reason_of(error))
    return faults


def _check_case(
    results: Results,
    pair: Pair,
    outputs: Sequence[Path],
    owners: Mapping[Path, Sequence[str]],
    inputs: Mapping[str, str],
) -> None:
    """Raise ``InputError`` if one of a case's outputs cannot be written.

    Another process on the same folder may write an output, with its record, in between, or take both back: whether
    something is there is asked before the record is read, and again after.
    """
    for path in outputs:
        check_name(path)
    there = [os.path.lexists(path) for path in outputs]
    is_foreign = any(there) and not results.is_own(pair)
    for path, found in zip(outputs, there, strict=True):
        if len(owners[path]) > 1:
            raise InputError(f"{owners[path][0]} and {owners[path][1]} would both become {path}; {_OWN_NAME}.")
        _check_place(path, inputs, found and is_foreign and os.path.lexists(path))


def _check_place(path: Path, inputs: Mapping[str, str], is_foreign: bool) -> None:
    """Raise ``InputError`` if a file would be written over or into an input, or over a foreign file."""
    real = Path(os.path.realpath(path))
    if given := next((inputs[str(place)] for place in (real, *real.parents) if str(place) in inputs), None):
        raise InputError(f"{path}: this would be written over or into {given}, an input; choose another name.")
    if is_foreign:
        raise InputError(f"{path}: this is there already, and no record shows that it is a result: {_REMEDY}.")


def _common_outputs(results: Results, report: Path) -> Iterator[tuple[Path, bool]]:
    """Yield each file that is written for all cases, and whether what is there in its place is foreign."""
    was_there = os.path.lexists(report)
    yield report, was_there and not _is_report(read_json(report))
    if results.pages:
        page = results.output_dir / PAGE_OF_ALL
        was_there = os.path.lexists(page)
        yield page, was_there and not is_batch_page(page)


def _is_report(content: Mapping[str, Any] | None) -> bool:
    return content is not None and {"totals", "settings", "cases", "interrupted"} <= content.keys()
