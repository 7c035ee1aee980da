# SPDX-License-Identifier: Apache-2.0
"""The report of a batch: what became of every case of the list, over all runs and processes."""

import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from bundle.batch.locks import Lock
from bundle.batch.results import read_json
from bundle.doubts import Verdict
from bundle.errors import InputError
from bundle.files import write_json
from bundle.pages.batch_page import PAGE_OF_ALL, page_of, save_batch_page
from bundle.version import package_version

DONE: Final = "done"
SKIPPED: Final = "skipped"  # done before, by an earlier run or another process
FAILED: Final = "failed"
WAITING: Final = "waiting"  # not yet done: the batch was interrupted, or another process has it
STATUSES: Final = (DONE, SKIPPED, FAILED, WAITING)
_TYPES: Final = {
    "case": str,
    "reason": str,
    "output": str,
    "finished": str,
    "verdict": str,
    "headline": str,
    "warnings": list,
    "facts": dict,
}

logger = logging.getLogger(__name__)


class Report:
    """Collect what became of the cases, and add it to a report, as JSON and as a page, that processes may share."""

    def __init__(
        self,
        output_dir: Path,
        path: str | os.PathLike[str] | None,
        settings: Mapping[str, Any],
        passed_over: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.output_dir = output_dir
        self.path = output_dir / "report.json" if path is None else Path(path).expanduser()
        self.settings = settings
        self.passed_over = passed_over or {}  # files and series by the reason why they are no part of a case
        self.shares: dict[str, str] = {}  # where there are several: which this process takes, and who says so
        self.entries: dict[str, dict[str, Any]] = {}
        self.started = datetime.now().astimezone()

    def add(self, case: str, status: str, **values: Any) -> None:
        """Say what became of a case: its ``reason`` where it failed, else ``output``, ``warnings`` and ``facts``."""
        self.entries[case] = _sound({"case": case, "status": status, **values})

    def failures(self) -> dict[str, str]:
        """Return the reason by case of those that failed in this process."""
        return {case: entry["reason"] for case, entry in self.entries.items() if entry["status"] == FAILED}

    def write(self, cases: Sequence[str], interrupted: bool = False) -> None:
        """Write the report of all cases of the list, in its order; of those not known here the one there is tells."""
        with Lock(self.output_dir, "report"):
            earlier = read_json(self.path)
            known = _entries_of(earlier) | self.entries
            entries = [known.get(case, {"case": case, "status": WAITING}) for case in cases]
            counts = Counter(entry["status"] for entry in entries)
            verdicts = Counter(entry["verdict"] for entry in entries if "verdict" in entry)
            content = {
                "started": self.started.isoformat(timespec="seconds"),
                "finished": datetime.now().astimezone().isoformat(timespec="seconds"),
                "interrupted": interrupted,
                "totals": {"cases": len(entries)} | {status: counts[status] for status in STATUSES},
                "verdicts": {str(verdict): verdicts[verdict] for verdict in Verdict},
                "version": package_version(),
                "shares": self._all_shares(earlier),
                "settings": self.settings,
                "cases": entries,
                "passed_over": [{"reason": reason, "files": files} for reason, files in self.passed_over.items()],
            }
            write_json(self.path, content)
            if any(page_of(entry, self.output_dir) for entry in entries if "output" in entry):
                self._write_page([entry for entry in entries if entry["status"] != WAITING])

    def _all_shares(self, earlier: Mapping[str, Any] | None) -> dict[str, str]:
        """Return this process's share, and those of the others that an earlier report tells of."""
        before = (earlier or {}).get("shares")
        counts = {share.partition("/")[2] for share in self.shares}
        others = before.items() if isinstance(before, dict) else ()
        return {share: said for share, said in others if share.partition("/")[2] in counts} | self.shares

    def _write_page(self, told: Sequence[Mapping[str, Any]]) -> None:
        path = self.output_dir / PAGE_OF_ALL
        try:
            save_batch_page(path, told, self.passed_over)
        except (OSError, InputError):
            raise
        except Exception as error:  # whatever somebody has written into a record, the results are sound
            logger.error("%s: the page could not be made (%s); look at %s instead.", path, error, self.path)


def _sound(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what is not of its type, in an entry that somebody has spoilt or of a record of that kind."""
    known = {key: v for key, v in entry.items() if v is None or isinstance(v, _TYPES.get(key, object))}
    facts: Any = known.get("facts") or {}
    return known | ({"facts": {topic: v for topic, v in facts.items() if isinstance(v, dict)}} if facts else {})


def _entries_of(report: Mapping[str, Any] | None) -> dict[str, dict[str, Any]]:
    """Return the entries of an earlier report by case; those that somebody has spoilt are left out."""
    entries = (report or {}).get("cases")
    return {
        entry["case"]: _sound(entry)
        for entry in (entries if isinstance(entries, list) else ())
        if isinstance(entry, dict) and isinstance(entry.get("case"), str) and entry.get("status") in STATUSES
    }
