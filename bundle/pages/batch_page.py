# SPDX-License-Identifier: Apache-2.0
"""The page of a batch: one table of all its cases, the gravest verdicts first."""

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from bundle.doubts import Verdict
from bundle.pages.fact_text import fact_text, sentence_text
from bundle.pages.template import TONES, render, save_page

PAGE_OF_ALL: Final = "index.html"  # in the folder of the outputs
_MAXIMUM_THUMBNAILS: Final = 500  # a page of more cases has none: it stays below 5 MB and opens at once
# What a case is called that has no result, and the order of all in the table.
_FAILED, _WAITING = "failed", "waiting"
_ORDER: Final = (Verdict.DO_NOT_USE, _FAILED, _WAITING, Verdict.LOOK, Verdict.FINE)
# Heading, topic and name of the facts that have a column, where any case has them.
_NUMBERS: Final = (
    ("Factor", "low_res", "factor"),
    ("Shift of the reference", "registration", "shift_mm"),
    ("Error bars", "interval", "typical"),
    ("Time", "time", "seconds"),
)
_THUMBNAIL: Final = re.compile(rb'<meta name="thumbnail" content="(data:image/webp;base64,[A-Za-z0-9+/=]+)">')
_EYEBROW: Final = "Super-resolution: quality of a batch"  # stands above the heading, and tells the page from others
_HEAD_BYTES: Final = 100_000  # of a page, within which its thumbnail stands
_NIFTI_ENDING: Final = re.compile(r"\.nii(\.gz)?$", re.IGNORECASE)


def batch_page(
    cases: Sequence[Mapping[str, Any]],
    made: datetime,
    links: Mapping[str, str] | None = None,
    thumbnails: Mapping[str, str] | None = None,
    passed_over: Mapping[str, Sequence[str]] | None = None,
) -> str:
    """Return the page of a batch as HTML that needs no network, of entries of :class:`bundle.batch.report.Report`.

    By case, links are addresses of their own pages, relative to this one, thumbnails ``data:`` addresses. Files and
    series that are passed over stand by their reason.
    """
    columns = [column for column in _NUMBERS if any(_fact(case, *column[1:]) is not None for case in cases)]
    rows = [_row(case, columns) for case in cases]
    rows.sort(key=lambda row: (row["rank"], row["case"]))
    return render(
        "batch.html",
        rows=rows,
        headings=[heading for heading, _, _ in columns],
        counts=Counter((row["verdict"], row["tone"]) for row in rows),  # in the order of the table
        links=links or {},
        thumbnails=thumbnails or {},
        passed_over={reason: [Path(file).name for file in files] for reason, files in (passed_over or {}).items()},
        eyebrow=_EYEBROW,
        made=made,
    )


def save_batch_page(
    path: str | os.PathLike[str],
    cases: Sequence[Mapping[str, Any]],
    passed_over: Mapping[str, Sequence[str]] | None = None,
) -> Path:
    """Write the page of a batch, with links to the pages of its cases and their small pictures."""
    folder = Path(path).parent
    pages = {str(case["case"]): page for case in cases if (page := page_of(case, folder)) is not None}
    with_pictures = pages if len(cases) <= _MAXIMUM_THUMBNAILS else {}
    thumbnails = {name: _thumbnail(folder / page) for name, page in with_pictures.items()}
    links = {name: quote(page.as_posix()) for name, page in pages.items()}
    return save_page(path, batch_page(cases, datetime.now().astimezone(), links, thumbnails, passed_over))


def is_batch_page(path: Path) -> bool:
    """Tell whether a file is the page of a batch."""
    return path.is_file() and _EYEBROW.encode() in path.read_bytes()


def page_of(case: Mapping[str, Any], folder: Path) -> Path | None:
    """Return where the page of a case is, relative to the batch's folder; ``None`` where there is none."""
    output = Path(str(case.get("output") or f"{case['case']}_sr"))
    if output.is_absolute():
        output = Path(os.path.relpath(output, folder.absolute()))
    page = output.with_name(_NIFTI_ENDING.sub("", output.name) + ".html")
    return page if (folder / page).is_file() else None


def _thumbnail(page: Path) -> str:
    with page.open("rb") as stream:
        found = _THUMBNAIL.search(stream.read(_HEAD_BYTES))
    return found[1].decode("ascii") if found else ""


def _row(case: Mapping[str, Any], columns: Sequence[tuple[str, str, str]]) -> dict[str, Any]:
    """Return what the template shows of a case; rows with the lowest rank stand first."""
    warnings = [sentence_text(str(warning)) for warning in case.get("warnings") or ()]
    verdict = _verdict(case)
    return {
        "case": str(case["case"]),
        "verdict": str(verdict),
        "tone": TONES.get(verdict, "bad" if verdict == _FAILED else "warn"),  # type: ignore[call-overload]
        "rank": _ORDER.index(verdict),
        "before": case["status"] == "skipped",
        "headline": str(case.get("headline") or "") or (warnings[0] if warnings and verdict == Verdict.LOOK else ""),
        "reason": sentence_text(str(case.get("reason") or "")),
        "warnings": warnings,
        "numbers": [_number(topic, name, _fact(case, topic, name)) for _, topic, name in columns],
    }


def _verdict(case: Mapping[str, Any]) -> str:
    """Return the verdict of a case, or why it has none; of a record that somebody has spoilt, by its warnings."""
    told = case.get("verdict")
    if case["status"] in ("done", "skipped"):
        return told if told in list(Verdict) else Verdict.LOOK if case.get("warnings") else Verdict.FINE
    return Verdict.DO_NOT_USE if told == Verdict.DO_NOT_USE else _FAILED if case["status"] == _FAILED else _WAITING


def _number(topic: str, name: str, value: Any) -> tuple[str, str]:
    first = value[0] if isinstance(value, list) and value else value
    return ("", "") if value is None else (fact_text(topic, name, value), str(first))


def _fact(case: Mapping[str, Any], topic: str, name: str) -> Any:
    return ((case.get("facts") or {}).get(topic) or {}).get(name)
