# SPDX-License-Identifier: Apache-2.0
"""Evaluations as a study reads them, made of a few numbers."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from bundle.drawing.png import save_plot
from bundle.studies import plots

Scores = Mapping[tuple[str, int], Mapping[str, Sequence[object]]]
"""By subject and slice the cells of each image."""


@pytest.fixture
def evaluation(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes the ``slices.csv`` of a row and returns its folder."""

    def write(name: str, scores: Scores, metrics: Sequence[str] = ("psnr",)) -> Path:
        lines = [",".join(["subject", "case", "slice", "image", *metrics])]
        for (subject, index), images in scores.items():
            for image, cells in images.items():
                lines.append(",".join(map(str, [subject, f"sub-{subject}", index, image, *cells])))
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        (folder / "slices.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        return folder

    return write


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Every plot that is saved."""
    figures: list[Figure] = []

    def save(figure: Figure, path: Path) -> Path:
        figures.append(figure)
        return save_plot(figure, path)

    monkeypatch.setattr(plots, "save_plot", save)
    return figures
