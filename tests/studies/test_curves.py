# SPDX-License-Identifier: Apache-2.0
"""Curves of trainings, from the event files that training writes."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from bundle.errors import InputError
from bundle.studies.plots import Training, line_styles, read_curves, save_curves

Logged = Mapping[str, Sequence[tuple[int, float]]]


def log(folder: Path, scalars: Logged, suffix: str = "", begin: float = 1000.0) -> Path:
    """Write an event file as training does; a second one of the folder comes later."""
    with SummaryWriter(folder, filename_suffix=suffix) as writer:
        for tag, values in scalars.items():
            for number, (step, value) in enumerate(values):
                writer.add_scalar(tag, value, step, walltime=begin + number)
    return folder


GAN: Logged = {
    "mse": [(step, 0.01 / step) for step in range(1, 9)],
    "perceptual": [(step, 5.0 / step) for step in range(5, 9)],  # after the first epochs on MSE alone
    "wasserstein_distance": [(step, 1.0) for step in range(5, 9)],
    "loss": [(1, 9.0)],
    "PSNR": [(2, 30.0), (4, 31.5)],
    "SSIM": [(2, 0.9), (4, 0.91)],
}


def test_iterations_are_averaged_over_each_epoch(tmp_path: Path) -> None:
    values = [4.0, 2.0, 3.0, 1.0, 9.0]
    folder = log(tmp_path / "run", {"mse": list(enumerate(values, 1))})
    found = read_curves(Training("a", folder, 2))["mse"]
    assert found.index.tolist() == [1, 2, 3]
    np.testing.assert_allclose(found.values, [3, 2, 9])  # the last epoch has run for one iteration


def test_losses_that_begin_late_begin_at_their_epoch(tmp_path: Path) -> None:
    found = read_curves(Training("a", log(tmp_path, GAN), 2))
    assert list(found) == ["perceptual", "mse", "wasserstein_distance", "PSNR", "SSIM"]
    assert found["perceptual"].index.tolist() == [3, 4]
    np.testing.assert_allclose(found["perceptual"].values, [(1 + 5 / 6) / 2, (5 / 7 + 5 / 8) / 2], rtol=1e-6)


def test_scores_of_validation_are_by_epoch(tmp_path: Path) -> None:
    found = read_curves(Training("a", log(tmp_path, GAN), 2))["PSNR"]
    assert found.index.tolist() == [2, 4]
    assert found.values.tolist() == [30, 31.5]


def test_what_a_resumed_training_logs_again_replaces_the_first(tmp_path: Path) -> None:
    log(tmp_path, {"mse": [(1, 1.0), (2, 1.0), (3, 1.0)]}, ".1", begin=1000)
    log(tmp_path, {"mse": [(3, 5.0), (4, 7.0)]}, ".2", begin=2000)
    found = read_curves(Training("a", tmp_path, 2))["mse"]
    assert found.index.tolist() == [1, 2]
    assert found.values.tolist() == [1, 6]


def test_curves_have_a_panel_for_each_quantity_and_a_legend_for_all(tmp_path: Path, drawn: list[Figure]) -> None:
    trainings = [Training("SR1", log(tmp_path / "1", GAN), 2), Training("SR4", log(tmp_path / "4", GAN), 4)]
    path = save_curves(tmp_path / "new" / "curves.png", trainings)
    with Image.open(path) as image:
        assert image.format == "PNG"
    panels = drawn[0].axes
    assert [axes.get_title() for axes in panels] == [
        "perceptual loss", "MSE loss", "Wasserstein distance", "PSNR (dB)", "SSIM", "",
    ]  # fmt: skip
    assert [text.get_text() for text in panels[-1].get_legend().get_texts()] == ["SR1", "SR4"]
    assert [len(axes.lines) for axes in panels[:5]] == [2] * 5
    assert [axes.get_yscale() for axes in panels[:5]] == ["log", "log", "linear", "linear", "linear"]
    assert len({axes.get_xlim() for axes in panels[:5]}) == 1


def test_curves_show_each_row_in_the_style_of_the_study(tmp_path: Path, drawn: list[Figure]) -> None:
    styles = line_styles(["SR1", "SR2", "SR3"])
    save_curves(tmp_path / "curves.png", [Training("SR3", log(tmp_path / "3", GAN), 2)], styles)
    assert {axes.lines[0].get_color() for axes in drawn[0].axes[:5]} == {styles["SR3"]["color"]}


def test_quantity_that_no_training_has_logged_is_said_to_be_missing(tmp_path: Path, drawn: list[Figure]) -> None:
    folder = log(tmp_path / "run", {"mse": [(1, 0.1)], "loss": [(1, 0.1)]})
    save_curves(tmp_path / "curves.png", [Training("MSE", folder, 1)])
    texts = [[text.get_text() for text in axes.texts] for axes in drawn[0].axes[:5]]
    assert texts == [["not logged"], [], ["not logged"], ["not logged"], ["not logged"]]


def test_training_that_logs_other_quantities_only_is_drawn_empty(tmp_path: Path) -> None:
    save_curves(tmp_path / "curves.png", [Training("a", log(tmp_path / "run", {"loss": [(1, 0.1)]}), 1)])


def test_curves_keep_their_markers_apart_and_few(tmp_path: Path, drawn: list[Figure]) -> None:
    long = {"mse": [(step, 1.0) for step in range(1, 101)]}
    save_curves(tmp_path / "curves.png", [Training(name, log(tmp_path / name, long), 1) for name in "ab"])
    assert [line.get_markevery() for line in drawn[0].axes[1].lines] == [(0, 10), (1, 10)]


def test_curves_are_the_same_file_each_time_and_keep_out_of_pyplot(tmp_path: Path) -> None:
    trainings = [Training("SR1", log(tmp_path / "1", GAN), 2)]
    loaded = "matplotlib.pyplot" in sys.modules
    first, second = (save_curves(tmp_path / name, trainings) for name in ("a.png", "b.png"))
    assert first.read_bytes() == second.read_bytes()
    assert ("matplotlib.pyplot" in sys.modules) == loaded


@pytest.mark.parametrize("make", [True, False])
def test_training_that_was_not_run_is_named(tmp_path: Path, make: bool) -> None:
    folder = tmp_path / "run"
    if make:
        folder.mkdir()
    with pytest.raises(InputError, match=r"run: there are no TensorBoard scalars here; train SR4 first"):
        read_curves(Training("SR4", folder, 2))


def test_no_trainings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="pass at least one"):
        save_curves(tmp_path / "curves.png", [])
