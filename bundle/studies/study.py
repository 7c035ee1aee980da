# SPDX-License-Identifier: Apache-2.0
"""A study from its file to its report: run the rows, then write the table, the figures and what it took."""

import csv
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bundle.engines import recorded_settings
from bundle.errors import InputError
from bundle.files import atomic_path, writable_folder, write_csv
from bundle.keys import CASE, LOW_RES, SUPER_RES
from bundle.reports.text_table import markdown_table
from bundle.studies.curves import Training, save_curves
from bundle.studies.panels import save_level_panels, save_panels
from bundle.studies.plan import Row, StudyPlan, known_labels
from bundle.studies.runner import Stage, StudyRunner, read_finished
from bundle.studies.scores import StudyScores
from bundle.studies.style import line_styles
from bundle.studies.sweep import Sweep, save_sweeps
from bundle.studies.table import StudyTable

logger = logging.getLogger(__name__)


@dataclass
class Study:
    """Run a study and report it.

    Args:
        plan: what is compared.
        runner: brings each row to its scores.
        cases: pairs that are tested, whose slices the figures show.
        output_dir: folder of the report.
        protocol: how the low-res was made and what was scored.
    """

    plan: StudyPlan
    runner: StudyRunner
    cases: Sequence[Mapping[str, str]]
    output_dir: Path
    protocol: str

    def run(self) -> None:
        """Run all rows, then report those that succeeded.

        Raises:
            InputError: if a row failed, after the others are reported.
        """
        failed = self.runner.run(self.plan.rows)
        rows = [row for row in self.plan.rows if row.run not in failed]
        if rows:
            self.report(rows)
        if failed:
            n_failed = len(self.plan.rows) - len(rows)
            raise InputError(f"{n_failed} of {len(self.plan.rows)} rows failed: " + "; ".join(failed.values()))

    def report(self, rows: Sequence[Row]) -> None:
        """Write ``table.md``, ``table.csv``, ``differences.csv`` and the figures; log the table."""
        folders = {row.label: self._scores(row) for row in rows}
        published = {row.label: {SUPER_RES: row.paper, LOW_RES: self.plan.low_res} for row in rows}
        labels = known_labels(folders)
        comparisons = [one for one in self.plan.orderings if {one.first, one.second} <= labels]
        table = StudyTable(folders, comparisons, published, self.protocol)
        table.write(self.output_dir)
        text = "\n\n".join([f"# {self.plan.title}", table.markdown(), self._effort(rows)])
        with atomic_path(self.output_dir / "table.md") as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")
        self._figures(rows, folders, table.scores)
        logger.info("%s\n\n%s\n", self.output_dir, text)

    def _scores(self, row: Row) -> Path:
        """Return the folder of a row's scores; those of several folds are put together first."""
        folders = [folder / "evaluation" for folder in self.runner.folders(row)]
        if len(folders) == 1:
            return folders[0]
        merged = writable_folder(self.output_dir / "folds" / row.run)
        header, *lines = _read_csv(folders[0] / "slices.csv")
        lines += [line for folder in folders[1:] for line in _read_csv(folder / "slices.csv")[1:]]
        write_csv(merged / "slices.csv", [header, *lines])
        for folder in folders:
            for panels in (folder / "panels").glob("*.npz"):
                with atomic_path(merged / "panels" / panels.name) as temporary:
                    temporary.write_bytes(panels.read_bytes())
        return merged

    def _effort(self, rows: Sequence[Row]) -> str:
        """Return the table of what each row took, at which scale and on what."""
        header = ["method", "run", "updates", "of these MSE alone", "patches an update"]
        header += ["training, min", "evaluation, min", "hardware"]
        lines = [self._effort_of(row) for row in rows]
        scale = self.runner.settings.scale
        return f"Scale: `configs/scales/{scale}.yaml`.\n\n" + markdown_table(header, lines)

    def _effort_of(self, row: Row) -> list[str]:
        minutes: dict[Stage, float] = {"training": 0.0, "evaluating": 0.0}
        record: Mapping[str, Any] = {}
        hardware = ""
        for folder in self.runner.folders(row):
            for stage in minutes:
                done = read_finished(folder, stage)
                minutes[stage] += float(done.get("seconds", 0)) / 60
                hardware = str(done.get("hardware", hardware))
            record = recorded_settings(folder / "model.pt") if row.train else {}
        counts = [str(record.get(key, "-")) for key in ("iterations", "fidelity_iterations", "batch_size")]
        times = [f"{minutes['training']:.1f}" if row.train else "-", f"{minutes['evaluating']:.1f}"]
        return [row.label, f"`{row.run}`", *counts, *times, hardware]

    def _figures(self, rows: Sequence[Row], folders: Mapping[str, Path], scores: StudyScores) -> None:
        """Draw what the study's file asks for."""
        if "curves" in self.plan.figures:
            trainings = [self._training(row) for row in rows if row.train]
            styles = line_styles([row.label for row in self.plan.rows])  # a row that failed leaves the others' alone
            save_curves(self.output_dir / "curves.png", trainings, styles)
        if "sweep" in self.plan.figures:
            save_sweeps(self.output_dir / "sweep.png", scores, _sweeps(rows, self.plan.chosen))
        for case in dict.fromkeys(pair[CASE] for pair in self.cases):
            if "panels" in self.plan.figures:
                save_panels(self.output_dir / f"{case}.png", folders, case, title=self.plan.title)
            if "levels" in self.plan.figures:
                for row in rows:
                    self._level_figure(row, folders[row.label], case)

    def _level_figure(self, row: Row, folder: Path, case: str) -> None:
        """Draw a progressive row's levels; rows of one level have none."""
        record = recorded_settings(self.runner.folders(row)[0] / "model.pt")
        if int(record.get("levels", 1)) > 1:
            save_level_panels(self.output_dir / f"{case}_levels_{row.run}.png", folder, case, title=row.label)

    def _training(self, row: Row) -> Training:
        """Return where a row's first run logged its course."""
        folder = self.runner.folders(row)[0]
        record = recorded_settings(folder / "model.pt")
        epoch_length = max(int(record.get("iterations", 1)) // max(int(record.get("epochs", 1)), 1), 1)
        return Training(row.label, folder / "tensorboard", epoch_length)


def _sweeps(rows: Sequence[Row], chosen: Mapping[str, float]) -> list[Sweep]:
    """Return the rows of each weight that is varied, with the paper's choice."""
    points: dict[str, dict[float, str]] = {}
    for row in rows:
        if row.sweep:
            points.setdefault(row.sweep[0], {})[float(row.sweep[1])] = row.label
    return [Sweep(name.replace("_", " "), of_weight, chosen.get(name)) for name, of_weight in points.items()]


def _read_csv(path: Path) -> list[list[str]]:
    """Return the lines of a CSV file, the header first."""
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.reader(stream))
