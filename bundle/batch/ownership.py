# SPDX-License-Identifier: Apache-2.0
"""Which files a batch may write: no input of its list, and of what is there already only what a batch has written."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from bundle.batch.results import Results, read_json
from bundle.errors import InputError
from bundle.keys import IMAGE, REFERENCE, Pair
from bundle.pages.batch_page import PAGE_OF_ALL, is_batch_page

_REMEDY: Final = "move it away, or choose another name or output folder"


def check_outputs(results: Results, pairs: Sequence[Pair], report: Path) -> None:
    """Refuse by ``InputError`` a batch that would write over an input, over two things at once, or a foreign file."""
    inputs = {os.path.realpath(pair[key]): pair[key] for pair in pairs for key in (IMAGE, REFERENCE) if pair.get(key)}
    owners: dict[Path, str] = {}
    for path, owner, is_foreign in _outputs(results, pairs, report):
        if (other := owners.setdefault(path, owner)) != owner:
            raise InputError(f"{other} and {owner} would both become {path}; give each its own case or output.")
        real = Path(os.path.realpath(path))
        if given := next((inputs[str(place)] for place in (real, *real.parents) if str(place) in inputs), None):
            raise InputError(f"{path}: this would be written over or into {given}, an input; choose another name.")
        if is_foreign:
            raise InputError(f"{path}: this is there already, and no record shows that it is a result: {_REMEDY}.")


def _outputs(results: Results, pairs: Sequence[Pair], report: Path) -> Iterator[tuple[Path, str, bool]]:
    """Yield each file that will be written, whose it is, and whether what is there in its place is foreign.

    Whether something is there is asked first: another process on the same folder may write it in between, and then
    its record is there too.
    """
    was_there = os.path.lexists(report)
    yield report, "the report", was_there and not _is_report(read_json(report))
    if results.pages:
        page = results.output_dir / PAGE_OF_ALL
        was_there = os.path.lexists(page)
        yield page, "the page of all cases", was_there and not is_batch_page(page)
    for pair in pairs:
        there = [(path, os.path.lexists(path)) for path in results.files(pair)]
        is_own = any(found for _, found in there) and results.is_own(pair)
        yield from ((path, pair[IMAGE], found and not is_own) for path, found in there)


def _is_report(content: Mapping[str, Any] | None) -> bool:
    return content is not None and {"totals", "settings", "cases", "interrupted"} <= content.keys()
