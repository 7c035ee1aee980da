# SPDX-License-Identifier: Apache-2.0
"""What a study compares: its rows, the published numbers beside them, and the orderings that the paper claims."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from bundle.errors import InputError
from bundle.metrics import METRICS
from bundle.settings import place_of
from bundle.studies.comparisons import Comparison, PaperFigures, comparable

FIGURES = ("curves", "sweep", "panels", "levels")


@dataclass(frozen=True)
class Row:
    """One method of a study: a variant, or a baseline, with config keys on top; what the paper reports for it."""

    label: str
    variant: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    train: bool = True
    paper: PaperFigures = field(default_factory=dict)
    sweep: tuple[str, float] | None = None  # the weight that the row varies, and its value

    @property
    def file(self) -> str:
        """Path of the variant below ``configs``."""
        return f"{'variants' if self.train else 'baselines'}/{self.variant}.yaml"

    @property
    def run(self) -> str:
        """Name of the run's folder: rows of several studies that are the same share one run."""
        return "_".join([self.variant, *(f"{key}={value}" for key, value in sorted(self.settings.items()))])


@dataclass(frozen=True)
class StudyPlan:
    """A study as its file describes it, with what the paper reports for the low-res, and its choice of weights."""

    name: str
    title: str
    rows: Sequence[Row]
    orderings: Sequence[Comparison] = ()
    figures: Sequence[str] = ()
    low_res: PaperFigures = field(default_factory=dict)
    chosen: Mapping[str, float] = field(default_factory=dict)


def read_study(
    path: str | os.PathLike[str], configs: str | os.PathLike[str] | None = None, contrast: str | None = None
) -> StudyPlan:
    """Read a study's YAML file, or raise ``InputError``; variants lie in ``configs``, by default above its folder.

    Of the numbers that the paper reports, those of the reference's ``contrast`` are taken, or what else there is. The
    contrast is a part of the study's name, ``table1_PDw``.
    """
    file = Path(path)
    folder = Path(configs or file.parent.parent)
    try:
        content = dict(yaml.safe_load(file.read_text(encoding="utf-8")))
        rows = [_row(dict(row), folder, contrast) for row in content.pop("rows")]
        low_res = _published(content.pop("low_res", {}), contrast)
        orderings = content.pop("orderings", [])
        groups = orderings if isinstance(orderings, dict) else {"": orderings}
        comparisons = [
            Comparison(str(first), str(second), tuple(*metrics or [METRICS]), str(group))  # by default all metrics
            for group, members in groups.items()
            for first, second, *metrics in members
        ]
        name = f"{file.stem}_{contrast}" if contrast else file.stem
        plan = StudyPlan(name, rows=rows, low_res=low_res, orderings=comparisons, **content)
    except FileNotFoundError as error:
        known = ", ".join(sorted(other.stem for other in file.parent.glob("*.yaml")))
        raise InputError(f"{file}: there is no such study; choose one of {known}.") from error
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{file}: this study cannot be read ({error}); compare it with configs/studies.") from error
    _check(file, plan, folder)
    return plan


def full_key(key: str) -> str:
    """Return a key as variants write it: ``model::factor`` for ``factor``."""
    return place_of(key, {"model": {}, "recipe": {"loss_weights": {}}}) or key


def _row(content: dict[str, Any], configs: Path, contrast: str | None) -> Row:
    """Return a row of the file, without settings that its variant has anyway: they would make another run of it."""
    paper, sweep = _published(content.pop("paper", {}), contrast), dict(content.pop("sweep", {}))
    settings = {**content.pop("settings", {}), **sweep}
    (varied,) = sweep.items() or [None]
    row = Row(**content, paper=paper, sweep=varied)
    file = configs / row.file
    variant = yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else {}
    known = {full_key(key): value for key, value in variant.items()}
    own = {key: value for key, value in settings.items() if known.get(full_key(key), ...) != value}
    return replace(row, settings=own)


def _published(content: Mapping[str, Mapping[str, Sequence[float]]], contrast: str | None) -> PaperFigures:
    """Return figures by metric, out of those by contrast: of the one that is asked for, or the first."""
    chosen = content.get(contrast or "", next(iter(content.values()), {}))
    return {metric: tuple(map(float, figures)) for metric, figures in chosen.items()}


def _check(file: Path, plan: StudyPlan, configs: Path) -> None:
    labels = [row.label for row in plan.rows]
    if len(set(labels)) != len(labels):
        raise InputError(f"{file}: two rows have the same label; give each its own.")
    unknown = {
        "variants": {row.file for row in plan.rows if not (configs / row.file).is_file()},
        "labels": {label for one in plan.orderings for label in (one.first, one.second)} - comparable(labels).keys(),
        "figures": set(plan.figures) - set(FIGURES),
        "metrics": {metric for one in plan.orderings for metric in one.claimed} - set(METRICS),
    }
    for what, names in unknown.items():
        if names:
            raise InputError(f"{file}: the {what} {', '.join(sorted(names))} do not exist; correct the file.")
