# SPDX-License-Identifier: Apache-2.0
"""A batch: all inputs checked, then case by case, whatever becomes of each."""

import logging
import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np
from torch import Tensor

from bundle.batch.dry_run import Plan
from bundle.batch.locks import Lock, Note, find_notes
from bundle.batch.ownership import check_outputs
from bundle.batch.pipeline import Pipeline
from bundle.batch.report import DONE, FAILED, SKIPPED, WAITING, Report
from bundle.batch.results import Results, json_value
from bundle.batch.share import find_share
from bundle.batch.stopping import exit_on_signals, is_disk_full
from bundle.case import Case
from bundle.data.bids import write_dataset_description
from bundle.data.selection import check_pairs, raise_failures
from bundle.doubts import Verdict
from bundle.errors import InputError, reason_of
from bundle.files import check_writable, free_bytes, remove_leftovers
from bundle.keys import CASE, FAULT, Pair
from bundle.reports.duration import duration

logger = logging.getLogger(__name__)

KEPT_BYTES: Final = 2**29  # of volumes that stay in memory between the check of all inputs and their turn
BYTES_A_VOXEL: Final = 16  # of a prepared case: its volumes and the network's input
POLL_SECONDS: Final = 1.0  # how often a case that another process has is looked at again


class Batch:
    """Do the cases of a list one by one, or of it this process's share, see :func:`bundle.batch.share.find_share`.

    A case that fails is named with its reason and left out. What is done, by an earlier run or another process, is
    not done again: see :class:`Results` and :class:`Lock`. Ctrl-C, SIGTERM, SIGHUP and a full disk end the batch with
    whole outputs alone, and the same command goes on from there.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        pipeline: Pipeline,
        results: Results,
        share: str | None = None,
        passed_over: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.pairs = list(pairs)
        self.pipeline = pipeline
        self.results = results
        self.passed_over = passed_over or {}  # files that are no part of a case, by the reason, for the report
        self.share = find_share(share)
        self.own = self.share.of(self.pairs)
        self._faults: dict[str, str] = {}
        self._old_notes: set[Note] = set()
        self._seconds: list[float] = []
        self._read: dict[str, dict[Any, Any]] = {}
        self._ahead: dict[str, Future[dict[Any, Any]]] = {}  # the one case that is prepared before its turn

    def run(self, dry_run: bool = False, report: str | os.PathLike[str] | None = None) -> None:
        """Do the batch and write its report, by default ``report.json`` beside the outputs; or log what would be done.

        Raises ``InputError`` if a case could not be done, once all others are, or at once if none can be. Ctrl-C,
        SIGTERM and SIGHUP raise ``SystemExit``, as :func:`bundle.batch.stopping.exit_on_signals` says.
        """
        kept = Report(self.results.output_dir, report, self.results.settings, self.passed_over)
        self._faults = check_outputs(self.results, [pair for pair in self.pairs if FAULT not in pair], kept.path)
        write_dataset_description(self.results.output_dir, self.pairs, only_check=dry_run)
        if not self.pairs:
            raise InputError("there are no pairs; check dataset_dir.")
        if self.share.count > 1:
            kept.shares[str(self.share)] = said = self._say_share()
            aloud = self.share.told_by or not self.own
            logger.log(logging.WARNING if aloud else logging.INFO, "share %s: %s", self.share, said)
        if dry_run:
            for folder in (self.results.output_dir, kept.path.parent):
                check_writable(folder)
            self._plan()
            return
        self._clean(kept.path.parent)
        with exit_on_signals():
            interrupted = True
            try:
                self._do_all(kept)
                interrupted = False
            except SystemExit:
                logger.error("interrupted: nothing is half-written; run the same command again to go on.")
                raise
            finally:
                self._write(kept, interrupted)
        raise_failures(kept.failures(), len(self.own), told=kept.path)

    def _say_share(self) -> str:
        """Return how many cases the share has, and who says so where it is not the user."""
        said = f"{len(self.own)} of {len(self.pairs)} cases"
        if not self.share.told_by:
            return said
        remedy = "if they are left from another job, unset them, or give --share 1/1 for all"
        return f"{said}, as told by the variables {self.share.told_by}; {remedy}"

    def _clean(self, folder: Path) -> None:
        """Remove what killed processes have left in the folder of the report and those of the outputs."""
        output_dir = self.results.output_dir
        sound = (pair for pair in self.own if FAULT not in pair and pair[CASE] not in self._faults)
        for each in {folder, output_dir, *(self.results.path(pair).parent for pair in sound)}:
            remove_leftovers(each)
        self._old_notes = find_notes(output_dir)

    def _do_all(self, report: Report) -> None:
        def check(pair: Any) -> None:
            self._check_outputs(pair)
            if not self._is_done(pair, report):
                self._read_ahead(pair)

        checked, failures = check_pairs(self.own, check)
        for case, reason in failures.items():
            report.add(case, FAILED, reason=reason)
        usable = [pair for pair in checked if pair[CASE] not in report.entries]
        self._beside = ThreadPoolExecutor(1, "prepare")
        try:
            elsewhere = [pair for i, pair in enumerate(usable) if not self._try(pair, report, usable[i + 1 :])]
            if elsewhere:
                logger.info("waiting for another process that works on %s", ", ".join(pair[CASE] for pair in elsewhere))
            while elsewhere := [pair for pair in elsewhere if not self._try(pair, report, [])]:
                time.sleep(POLL_SECONDS)
        finally:
            self._beside.shutdown(wait=False, cancel_futures=True)

    def _check_outputs(self, pair: Pair) -> None:
        """Refuse a case whose outputs cannot be written."""
        if fault := self._faults.get(pair[CASE]):
            raise InputError(fault)

    def _read_ahead(self, pair: Pair) -> None:
        """Read a pair, and keep its volumes where they fit, else what was found of them."""
        item = self.pipeline.read(dict(pair))
        values = (value for kept in (item, *self._read.values()) for value in kept.values())
        fits = sum(value.nbytes for value in values if isinstance(value, Tensor)) <= KEPT_BYTES
        self._read[pair[CASE]] = item if fits else {**pair, CASE: item[CASE]}

    def _look_ahead(self, pair: Pair) -> None:
        """Prepare a case while another is computed, if memory allows; what was prepared and not used is let go."""
        item = self._read[pair[CASE]]
        case: Case = item[CASE]
        self._ahead.clear()
        matrix = case.low_res.matrix_after if case.low_res else case.header.voxels.shape if case.header else None
        if matrix and BYTES_A_VOXEL * int(np.prod(matrix)) <= KEPT_BYTES:
            self._read[case] = {**pair, CASE: case}
            self._ahead[case] = self._beside.submit(self.pipeline.prepare, item)

    def _is_done(self, pair: Pair, report: Report) -> bool:
        """Tell whether a pair is done, and report it if so."""
        record = self.results.finished(pair)
        if record is not None:
            report.add(pair[CASE], SKIPPED, **_told(record))
            logger.info("%s is done: %s", pair[CASE], self.results.path(pair))
        return record is not None

    def _try(self, pair: Pair, report: Report, following: Sequence[Pair]) -> bool:
        """Do a pair unless another process has it, and tell whether something became of it."""
        lock = Lock(self.results.output_dir, self.results.name(pair))
        try:
            if not lock.acquire():
                return False
        except InputError as error:
            self._fail(pair, report, error)
            return True
        failed_elsewhere = lock.read_note(self._old_notes)
        try:
            if failed_elsewhere:
                report.add(pair[CASE], FAILED, reason=failed_elsewhere)
            elif not self._is_done(pair, report):
                self._do(pair, report, following)
                if reason := report.failures().get(pair[CASE]):
                    lock.note(reason)
                    failed_elsewhere = reason
        finally:
            lock.release(keep=bool(failed_elsewhere))
        return True

    def _do(self, pair: Pair, report: Report, following: Sequence[Pair]) -> None:
        item, ahead, start = self._read.pop(pair[CASE]), self._ahead.pop(pair[CASE], None), time.monotonic()
        case: Case = item[CASE]
        finished = None
        try:
            self.results.check_free(pair)
            self.results.begin(pair)
            prepared = ahead.result() if ahead else self.pipeline.prepare(item)
            if following:
                self._look_ahead(following[0])
            self.pipeline.run(prepared)
            finished = self.results.mark(pair, case)
        except Exception as error:
            if is_disk_full(error):
                raise InputError(
                    f"{self.results.output_dir}: the disk is full; free some space and run the same command again, "
                    "which goes on from here: nothing is half-written."
                ) from error
            found = case.told() | {"facts": json_value(case.facts())}
            if found["verdict"] != Verdict.DO_NOT_USE:  # then it failed for another reason, and there is no result
                del found["verdict"], found["headline"]
            self._fail(pair, report, error, **found)
            return
        finally:
            if finished is None:
                self.results.withdraw(pair)
        report.add(pair[CASE], DONE, **_told(finished))
        self._seconds.append(time.monotonic() - start)
        rest = len(following) * sum(self._seconds) / len(self._seconds)
        left = f"; {len(following)} left, about {duration(rest)}" if following else ""
        logger.info("%s done in %s%s", pair[CASE], duration(self._seconds[-1]), left)

    def _fail(self, pair: Pair, report: Report, error: Exception, **found: Any) -> None:
        report.add(pair[CASE], FAILED, reason=reason_of(error), **found)
        logger.error("%s is left out: %s", pair[CASE], reason_of(error))
        logger.debug("", exc_info=error)

    def _write(self, report: Report, interrupted: bool) -> None:
        """Write the report; after an interruption, which may be a full disk, a failure of this is only logged."""
        for pair in self.own:
            if pair[CASE] not in report.entries:
                report.add(pair[CASE], WAITING)
        try:
            report.write([pair[CASE] for pair in self.pairs], interrupted)
        except (InputError, OSError) as error:
            if interrupted:
                logger.error("%s: the report could not be written (%s)", report.path, error)
                return
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"{report.path}: the report cannot be written ({error.strerror}); see to that and run the same command "
                "again, which does only what is not done."
            ) from error
        found = Counter(entry["status"] for entry in report.entries.values())
        counts = ", ".join(f"{found[status]} {status}" for status in (DONE, SKIPPED, FAILED))
        made = Counter(entry.get("verdict") for entry in report.entries.values() if entry["status"] in (DONE, SKIPPED))
        verdicts = ", ".join(f"{made[verdict]} {verdict}" for verdict in Verdict if made[verdict])
        others = len(self.pairs) - len(self.own)
        told = [f"of the results {verdicts}"] * bool(verdicts) + [f"{others} are in other shares"] * bool(others)
        logger.info("%s: %s", report.path, "; ".join([counts, *told]) + self._told_of_others())

    def _plan(self) -> None:
        plan = Plan(self.pipeline.seconds_per_pixel(), self.results.settings.get("register"))

        def check(pair: Any) -> None:
            self._check_outputs(pair)
            if self.results.finished(pair) is not None:
                plan.add(pair, self.results.name(pair))
                return
            self.results.check_free(pair)
            plan.add(pair, self.results.name(pair), self.pipeline.read(pair))

        _, failures = check_pairs(self.own, check)
        counts = f"{len(plan.rows)} cases to do or done, {len(failures)} that fail{self._told_of_others()}"
        logger.info("into %s:\n\n%s\n\n%s\n", self.results.output_dir, plan.text(), counts)
        if plan.n_bytes > (free := free_bytes(self.results.output_dir)):
            room = "the results may take %.1f GB where %.1f GB are free; free some space, or choose another folder."
            logger.warning(f"%s: {room}", self.results.output_dir, plan.n_bytes / 1e9, free / 1e9)
        raise_failures(failures, len(self.own), "can be done")

    def _told_of_others(self) -> str:
        """Return how many files are no part of any case; the log and the report say which, and why."""
        n_files = sum(map(len, self.passed_over.values()))
        return f"; {n_files} files or series passed over" if n_files else ""


def _told(record: dict[str, Any]) -> dict[str, Any]:
    return {key: record.get(key) for key in ("output", "finished", "verdict", "headline", "warnings", "facts")}
