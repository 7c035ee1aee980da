# SPDX-License-Identifier: Apache-2.0
"""Scores against the weights of losses."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from bundle.studies.plots import save_sweeps
from bundle.studies.scores import StudyScores
from bundle.studies.statistics import summarise

Evaluation = Callable[..., Path]
WEIGHTS = (0.01, 0.1, 1.0)


@pytest.fixture
def study(evaluation: Evaluation) -> StudyScores:
    """Three rows of six subjects with one slice each; the larger the weight, the better."""
    folders = {}
    for weight in WEIGHTS:
        scores = {
            (f"S{number}", 0): {"super_res": [30 + number + np.log10(weight), 0.9 + weight / 100, 27]}
            for number in range(6)
        }  # fmt: skip
        folders[f"row {weight:g}"] = evaluation(f"row {weight:g}", scores, ["psnr", "ssim", "psnr_head"])
    return StudyScores(folders)


def points(*weights: float) -> dict[float, str]:
    return {weight: f"row {weight:g}" for weight in weights}


def test_sweep_shows_means_with_intervals_on_a_logarithmic_axis(
    tmp_path: Path, study: StudyScores, drawn: list[Figure]
) -> None:
    path = save_sweeps(tmp_path / "new" / "sweep.png", study, {"weight": points(1.0, 0.01, 0.1)}, {})
    with Image.open(path) as image:
        assert image.format == "PNG"
    psnr, ssim = drawn[0].axes
    assert psnr.get_xscale() == "log"
    curve, *intervals = psnr.lines
    summaries = [summarise(study.sample(f"row {weight:g}", "super_res", "psnr")) for weight in WEIGHTS]
    assert curve.get_xdata().tolist() == list(WEIGHTS)  # in order, whatever the order of the rows
    assert curve.get_ydata().tolist() == [summary.subjects.mean for summary in summaries]
    for line, weight, summary in zip(intervals, WEIGHTS, summaries, strict=True):
        assert summary.interval is not None
        assert list(line.get_xdata()) == [weight, weight]
        assert list(line.get_ydata()) == [summary.interval.low, summary.interval.high]
    assert [axes.get_ylabel() for axes in (psnr, ssim)] == ["PSNR (dB)", "SSIM"]
    assert ssim.get_xlabel() == "weight"


def test_sweeps_stand_side_by_side_on_one_scale(tmp_path: Path, study: StudyScores, drawn: list[Figure]) -> None:
    save_sweeps(tmp_path / "sweep.png", study, {"first": points(0.01, 0.1), "second": points(0.1, 1.0)}, {})
    panels = drawn[0].axes
    assert len(panels) == 4
    assert panels[0].get_ylim() == panels[1].get_ylim() != panels[2].get_ylim()
    assert [axes.get_xlabel() for axes in panels] == ["", "", "first", "second"]


def test_sweep_marks_the_choice_of_the_paper(tmp_path: Path, study: StudyScores, drawn: list[Figure]) -> None:
    save_sweeps(tmp_path / "a.png", study, {"weight": points(*WEIGHTS)}, {"weight": 0.1})
    save_sweeps(tmp_path / "b.png", study, {"weight": points(*WEIGHTS)}, {})
    marked, plain = (figure.axes for figure in drawn)
    assert [len(first.lines) - len(second.lines) for first, second in zip(marked, plain, strict=True)] == [1, 1]
    assert list(marked[0].lines[0].get_xdata()) == [0.1, 0.1]
    assert [[text.get_text() for text in axes.texts] for axes in marked] == [["paper"], []]


def test_sweep_of_too_few_scores_has_no_interval(tmp_path: Path, evaluation: Evaluation, drawn: list[Figure]) -> None:
    study = StudyScores({"row 1": evaluation("a", {("A", 0): {"super_res": [30]}})})
    save_sweeps(tmp_path / "a.png", study, {"weight": points(1.0)}, {})
    assert len(drawn[0].axes[0].lines) == 1


def test_sweep_is_the_same_file_each_time(tmp_path: Path, study: StudyScores) -> None:
    first, second = (
        save_sweeps(tmp_path / name, study, {"weight": points(*WEIGHTS)}, {}) for name in ("a.png", "b.png")
    )
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("weights", [(), (0.0, 1.0), (-1.0,)])
def test_weights_that_have_no_logarithm_are_refused(
    tmp_path: Path, study: StudyScores, weights: tuple[float, ...]
) -> None:
    with pytest.raises(ValueError, match=r"the sweep of the MSE is over \[.*\]; pass weights above 0"):
        save_sweeps(tmp_path / "a.png", study, {"the MSE": points(*weights)}, {})


def test_no_sweeps_are_refused(tmp_path: Path, study: StudyScores) -> None:
    with pytest.raises(ValueError, match="pass at least one"):
        save_sweeps(tmp_path / "a.png", study, {}, {})
