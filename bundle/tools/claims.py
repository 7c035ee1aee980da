# SPDX-License-Identifier: Apache-2.0
"""``python -m bundle.tools.claims``: tell on a page which of the paper's claims held, from the scores of its studies.

The scores lie in a folder as studies write them, ``scores.csv`` renamed to the study, such as ``table1_PDw.csv``: one
line for each row, subject, seed, image and metric. The page gets a line for each claim, between two comments, and a
figure for each table.
"""

import argparse
import math
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from bundle.console import run_tool
from bundle.drawing.png import save_plot
from bundle.errors import InputError
from bundle.files import atomic_path
from bundle.keys import LOW_RES, SUBJECT, SUPER_RES
from bundle.metrics.score_text import format_score, image_title, metric_title
from bundle.reports.text_table import markdown_table
from bundle.studies.comparisons import Difference, comparable, compare
from bundle.studies.plan import StudyPlan, read_study
from bundle.studies.plots import INK, QUIET, axis_title, line_styles, quieten
from bundle.studies.statistics import bootstrap_interval, interval_text, subject_means

METRICS: Final = ("psnr", "ssim", "ifc")
TABLES: Final = {"table1": "I", "table2": "II", "table3": "III", "table4": "IV", "table5": "V"}
_LINEAR: Final = {"psnr": 1.0, "ssim": 0.01, "ifc": 0.5}  # gains up to which the axis of a figure is linear
_WIDTH: Final = 40  # characters of all names that fit beside each other
_BLOCK: Final = re.compile(r"(<!-- claims -->\n).*?(<!-- end of claims -->)", re.DOTALL)
_VERDICTS: Final = {"held": "holds", "not held": "reversed"}
_UNDECIDED: Final = "undecided"  # not significant, or of too few subjects for a test


class CollectedScores:
    """The scores of a study's rows by subject, over all seeds, read from ``path``; or ``InputError``."""

    def __init__(self, path: Path) -> None:
        try:
            table = pd.read_csv(path, dtype={"row": str, SUBJECT: str}, keep_default_na=False)
            self._scores = table.groupby(["row", "image", "metric", SUBJECT], sort=False)["value"].mean()
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"{path}: these are no scores of a study ({error}); run the study again.") from error
        self.labels = list(dict.fromkeys(table["row"]))
        self.metrics = [metric for metric in METRICS if metric in set(table["metric"])]

    def sample(self, label: str, image: str, metric: str) -> pd.Series:
        """Return the scores of an image of a row by subject; none where there are none."""
        key = label, image_title(image), metric
        wanted = self._scores[[index[:3] == key for index in self._scores.index]]
        return wanted.droplevel(["row", "image", "metric"])


def studies(scores: Path, configs: Path) -> dict[str, dict[str, tuple[StudyPlan, CollectedScores]]]:
    """Return what there is of each table, by the contrast of the reference."""
    found: dict[str, dict[str, tuple[StudyPlan, CollectedScores]]] = defaultdict(dict)
    for table in TABLES:
        for file in sorted(scores.glob(f"{table}_*.csv")):
            contrast = file.stem.removeprefix(f"{table}_")
            plan = read_study(configs / "studies" / f"{table}.yaml", contrast=contrast)
            found[table][contrast] = plan, CollectedScores(file)
    return found


def claims_table(found: Mapping[str, Mapping[str, tuple[StudyPlan, CollectedScores]]]) -> str:
    """Return a line for each claim and contrast: its differences with interval and p, the paper's, and what held."""
    lines = []
    for table, by_contrast in found.items():
        for contrast, (plan, scores) in by_contrast.items():
            there = [
                one
                for one in plan.orderings
                if one.claimed and {one.first, one.second} <= comparable(scores.labels).keys()
            ]
            published = {row.label: {SUPER_RES: row.paper, LOW_RES: plan.low_res} for row in plan.rows}
            differences = compare(scores, there, published)
            for claim in there:
                of_claim = {one.metric: one for one in differences if one.comparison == claim}
                shown = of_claim.keys() & set(claim.claimed)
                cells = [_cell(of_claim[metric]) if metric in shown else "" for metric in METRICS]
                name = f"{TABLES[table]}: {claim.first} > {claim.second}"
                lines.append([name, contrast, *cells, verdict(of_claim.values())])
    header = ["claim", "reference", *(metric_title(metric) for metric in METRICS), "verdict"]
    return markdown_table(header, lines)


def verdict(differences: Iterable[Difference]) -> str:
    """Return in which of the claimed metrics an order holds, is reversed or undecided."""
    metrics: dict[str, list[str]] = defaultdict(list)
    for one in differences:
        if one.verdict:
            metrics[_VERDICTS.get(one.verdict, _UNDECIDED)].append(metric_title(one.metric))
    if len(metrics) == 1:
        return f"**{next(iter(metrics))}**"
    told = [(word, metrics[word]) for word in (*_VERDICTS.values(), _UNDECIDED) if word in metrics]
    return "; ".join(f"**{word}** in {' and '.join(names)}" for word, names in told) or "no claim"


def _cell(one: Difference) -> str:
    """Return a difference with its interval, in how many subjects it has its sign, p and the paper's difference."""
    text = format_score(one.metric, one.mean, "+") + interval_text(one.interval, one.metric, "+")
    text += f", {one.n_alike} of {one.test.n}, p {one.p_text}"
    return text if math.isnan(one.published) else f"{text} (paper {format_score(one.metric, one.published, '+')})"


def save_figure(path: Path, by_contrast: Mapping[str, tuple[StudyPlan, CollectedScores]]) -> Path:
    """Draw what the rows of a table gain on their low-res, for each contrast, group of claims (a factor) and metric.

    A thin line for each subject, mean and interval; below each row its mean score. The axis is linear about 0 and
    logarithmic beyond.
    """
    drawn = []
    for contrast, (plan, scores) in by_contrast.items():
        there = [one.label for one in plan.rows if one.label in scores.labels]
        for group in dict.fromkeys(one.group for one in plan.orderings):
            if labels := [label for label in there if label.endswith(group)]:
                drawn.append((f"{contrast} reference {group}".strip(), scores, labels, group))
    figure = Figure(figsize=(10, 2.9 * len(drawn)), layout="constrained")
    panels = figure.subplots(len(drawn), len(METRICS), squeeze=False)
    for (title, scores, labels, group), row in zip(drawn, panels, strict=True):
        for metric, axes in zip(METRICS, row, strict=True):
            if metric in scores.metrics:
                _draw(axes, scores, labels, metric, group)
            else:
                axes.set_axis_off()
        row[0].set_ylabel(title, fontsize=9, color=INK)
    return save_plot(figure, path)


def _draw(axes: Axes, scores: CollectedScores, labels: Sequence[str], metric: str, group: str) -> None:
    quieten(axes)
    axes.grid(False, axis="x")
    axes.axhline(0, color=QUIET, linewidth=1)
    style = line_styles(["mean"])["mean"] | {"linestyle": ""}
    outputs = {label: scores.sample(label, SUPER_RES, metric) for label in labels}
    gains = pd.DataFrame({label: outputs[label] - scores.sample(label, LOW_RES, metric) for label in labels})
    for _, of_subject in gains.iterrows():
        axes.plot(range(len(labels)), of_subject, color="#cccccc", linewidth=0.7, zorder=1)
    for place, label in enumerate(labels):
        axes.plot(place, gains[label].mean(), **style, markersize=5)
        if interval := bootstrap_interval(gains[label].dropna()):
            axes.plot([place] * 2, interval[:2], "-", color=style["color"], linewidth=2)
    means = [format_score(metric, subject_means(outputs[label]).mean()) for label in labels]
    names = [f"{label.removesuffix(group).strip()}\n{mean}" for label, mean in zip(labels, means, strict=True)]
    axes.set_xticks(range(len(labels)), names, rotation=0 if len("".join(labels)) < _WIDTH else 90)
    axes.set_xlim(-0.5, len(labels) - 0.5)
    axes.set_yscale("symlog", linthresh=_LINEAR[metric], linscale=0.6)
    decades = [_LINEAR[metric] * factor for factor in (0.5, 1, 2, 5, 10, 20)]
    low, high = axes.get_ylim()
    axes.set_yticks([tick for tick in sorted([*decades, 0, *(-one for one in decades)]) if low <= tick <= high])
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_title(f"gain in {axis_title(metric)}", fontsize=10, color=INK)


def write_claims(page: Path, table: str) -> None:
    """Put a table between the two comments of a page, or raise ``InputError`` where it has none."""
    text = page.read_text(encoding="utf-8")
    if not _BLOCK.search(text):
        raise InputError(f"{page}: no place for claims; mark it with <!-- claims --> and <!-- end of claims -->.")
    with atomic_path(page) as temporary:
        temporary.write_text(_BLOCK.sub(lambda found: f"{found[1]}{table}\n{found[2]}", text), encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the claims into the page and the figures beside it, and say so."""
    root = Path(__file__).resolve().parents[2]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scores", type=Path, default=root / "docs" / "results", help="folder of the studies' scores")
    parser.add_argument("--page", type=Path, default=root / "docs" / "results.md")
    parser.add_argument("--figures", type=Path, default=root / "docs" / "images")
    given = parser.parse_args(arguments)

    def tool() -> str:
        found = studies(given.scores, root / "configs")
        if not found:
            raise InputError(f"{given.scores}: there are no scores here, such as table1_PDw.csv; run a study first.")
        write_claims(given.page, claims_table(found))
        figures = [save_figure(given.figures / f"results_{table}.png", one) for table, one in found.items()]
        return f"{given.page}: written, with {', '.join(path.name for path in figures)}."

    return run_tool(tool)


if __name__ == "__main__":
    sys.exit(main())
