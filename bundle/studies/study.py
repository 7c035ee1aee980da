# SPDX-License-Identifier: Apache-2.0
"""A study from its file to its report: run the rows, then write the table, the figures and what it took."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from bundle.errors import InputError
from bundle.files import atomic_path
from bundle.keys import CASE, LOW_RES, SUPER_RES
from bundle.reports.spreadsheet import write_csv
from bundle.reports.text_table import markdown_table
from bundle.settings import read_record
from bundle.studies.comparisons import comparable
from bundle.studies.panels import save_level_panels, save_panels
from bundle.studies.plan import Row, StudyPlan
from bundle.studies.plots import Training, line_styles, save_curves, save_sweeps
from bundle.studies.runner import RESULTS, StudyRunner, read_finished
from bundle.studies.scores import StudyScores
from bundle.studies.table import StudyTable

logger = logging.getLogger(__name__)


@dataclass
class Study:
    """Run a study and report it into a folder."""

    plan: StudyPlan
    runner: StudyRunner
    cases: Sequence[Mapping[str, str]]  # the pairs that are tested, whose slices the figures show
    output_dir: Path
    protocol: str  # how the low-res was made and what was scored

    def run(self) -> None:
        """Run all rows, then report those that succeeded; ``InputError`` thereafter if one failed."""
        failed = self.runner.run(self.plan.rows)
        rows = [row for row in self.plan.rows if row.run not in failed]
        if rows:
            self.report(rows)
        if failed:
            n_failed = len(self.plan.rows) - len(rows)
            raise InputError(f"{n_failed} of {len(self.plan.rows)} rows failed: " + "; ".join(failed.values()))

    def report(self, rows: Sequence[Row]) -> None:
        """Write ``table.md``, ``table.csv``, ``differences.csv``, ``scores.csv`` and the figures; log the table."""
        folders = {row.label: self._scores(row) for row in rows}
        published = {row.label: {SUPER_RES: row.paper, LOW_RES: self.plan.low_res} for row in rows}
        there = comparable(folders)
        comparisons = [one for one in self.plan.orderings if {one.first, one.second} <= there.keys()]
        table = StudyTable(folders, comparisons, published, self.protocol)
        table.write(self.output_dir)
        self._write_scores(rows, table.scores)
        text = "\n\n".join([f"# {self.plan.title}", table.markdown(), self._effort(rows)])
        with atomic_path(self.output_dir / "table.md") as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")
        self._draw_plots(rows, table.scores)
        self._draw_cases(rows, folders)
        logger.info("%s\n\n%s\n", self.output_dir, text)

    def _scores(self, row: Row) -> Path:
        """Return the folder of a row's scores; those of several folds are put together first."""
        folders = [folder / "evaluation" for folder in self.runner.folders(row).values()]
        if len(folders) == 1:
            return folders[0]
        merged = self.output_dir / "folds" / row.run
        tables = [pd.read_csv(folder / "slices.csv", dtype=object, keep_default_na=False) for folder in folders]
        write_csv(merged / "slices.csv", pd.concat(tables))
        for panels in (file for folder in folders for file in (folder / "panels").glob("*.npz")):
            with atomic_path(merged / "panels" / panels.name) as temporary:
                temporary.write_bytes(panels.read_bytes())
        return merged

    def _write_scores(self, rows: Sequence[Row], scores: StudyScores) -> None:
        """Write the scores of each subject in tidy form, as ``docs/results`` collects them."""
        seeds = {row.label: row.settings.get("seed", self.runner.training.get("seed", 0)) for row in rows}
        subjects = scores.by_subject()
        subjects.insert(0, "study", self.plan.name)
        subjects.insert(3, "seed", subjects["row"].map(seeds))
        write_csv(self.output_dir / "scores.csv", subjects, "%.5f")

    def _effort(self, rows: Sequence[Row]) -> str:
        header = ["method", "run", "updates", "of these MSE alone", "patches an update"]
        header += ["training, min", "evaluation, min", "hardware"]
        lines = []
        for row in rows:
            folders = list(self.runner.folders(row).values())
            training, evaluating = ([read_finished(folder, stage) for folder in folders] for stage in RESULTS)
            minutes = [sum(float(done.get("seconds", 0)) / 60 for done in stage) for stage in (training, evaluating)]
            times = [f"{minutes[0]:.1f}" if row.train else "-", f"{minutes[1]:.1f}"]
            hardware = [str(done["hardware"]) for done in (*training, *evaluating) if "hardware" in done]
            counts = ["-"] * 3
            if record := read_record(folders[-1] / "model.pt"):
                numbers = record.about.get("iterations", 1), record.recipe.fidelity_iterations, record.recipe.batch_size
                counts = [str(int(number)) for number in numbers]
            lines.append([row.label, f"`{row.run}`", *counts, *times, *(hardware or [""])[-1:]])
        return f"Scale: `configs/scales/{self.runner.scale}.yaml`.\n\n" + markdown_table(header, lines)

    def _draw_plots(self, rows: Sequence[Row], scores: StudyScores) -> None:
        if "curves" in self.plan.figures:
            runs = {row.label: self._first_fold(row) for row in rows if row.train}
            trainings = [Training(label, run / "tensorboard", _epoch_length(run)) for label, run in runs.items()]
            styles = line_styles([row.label for row in self.plan.rows])  # a row that failed leaves the others' alone
            save_curves(self.output_dir / "curves.png", trainings, styles)
        if "sweep" in self.plan.figures:
            points: dict[str, dict[float, str]] = {}
            for name, value, label in ((*row.sweep, row.label) for row in rows if row.sweep):
                points.setdefault(name.replace("_", " "), {})[float(value)] = label
            chosen = {name.replace("_", " "): value for name, value in self.plan.chosen.items()}
            save_sweeps(self.output_dir / "sweep.png", scores, points, chosen)

    def _draw_cases(self, rows: Sequence[Row], folders: Mapping[str, Path]) -> None:
        records = {row.label: read_record(self._first_fold(row) / "model.pt") for row in rows}
        for case in dict.fromkeys(pair[CASE] for pair in self.cases):
            if "panels" in self.plan.figures:
                save_panels(self.output_dir / f"{case}.png", folders, case, title=self.plan.title)
            for row in rows if "levels" in self.plan.figures else []:
                if (record := records[row.label]) and record.model.levels > 1:
                    path = self.output_dir / f"{case}_levels_{row.run}.png"
                    save_level_panels(path, folders[row.label], case, title=row.label)

    def _first_fold(self, row: Row) -> Path:
        return next(iter(self.runner.folders(row).values()))


def _epoch_length(folder: Path) -> int:
    record = read_record(folder / "model.pt")
    about = record.about if record else {}
    return max(int(about.get("iterations", 1)) // max(int(about.get("epochs", 1)), 1), 1)
