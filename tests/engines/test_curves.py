# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pandas as pd
import pytest
from ignite.engine import Engine, Events

from bundle.engines.curves import LearningCurves, draw


def train(folder: Path, epochs: range, scores: list[dict[str, float]], loss: float = 0.5) -> None:
    """Run epochs of two iterations; validate after each with these scores, none in an epoch without."""
    validator = Engine(lambda *_: None)
    trainer = Engine(lambda engine, _: {"mse": loss * engine.state.iteration, "critic": -1.0})

    @trainer.on(Events.EPOCH_COMPLETED)
    def validate(engine: Engine) -> None:
        if found := scores[engine.state.epoch - epochs.start]:
            validator.state.epoch = engine.state.epoch
            validator.state.metrics = found

    LearningCurves(folder, validator).attach(trainer)
    if epochs.start > 1:

        @trainer.on(Events.STARTED)
        def resume(engine: Engine) -> None:
            engine.state.epoch, engine.state.iteration = epochs.start - 1, 2 * (epochs.start - 1)

    trainer.run([0, 1], max_epochs=epochs.stop - 1)


GOOD = {"PSNR": 31.0, "SSIM": 0.9, "PSNR_low_res": 30.0}


def test_each_epoch_leaves_its_mean_losses_and_scores_and_a_picture(tmp_path) -> None:
    train(tmp_path, range(1, 4), [GOOD, {}, GOOD | {"PSNR": 32.0}])
    table = pd.read_csv(tmp_path / "curves.csv")
    assert table["mse"].tolist() == [0.75, 1.75, 2.75]  # means of (0.5, 1), (1.5, 2) and (2.5, 3)
    assert table["PSNR"].dropna().tolist() == [31.0, 32.0]
    assert table["epoch"].tolist() == [1, 2, 3]
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_a_resumed_training_goes_on_in_the_table_and_replaces_what_it_does_again(tmp_path) -> None:
    train(tmp_path, range(1, 4), [GOOD, GOOD, GOOD], loss=9.0)
    train(tmp_path, range(3, 5), [GOOD | {"PSNR": 33.0}, GOOD | {"PSNR": 34.0}])
    table = pd.read_csv(tmp_path / "curves.csv")
    assert table["epoch"].tolist() == [1, 2, 3, 4]
    assert table["PSNR"].tolist() == [31.0, 31.0, 33.0, 34.0]
    train(tmp_path, range(1, 2), [GOOD])  # anew
    assert pd.read_csv(tmp_path / "curves.csv")["epoch"].tolist() == [1]


def test_every_column_has_a_panel_and_the_low_res_a_line(tmp_path) -> None:
    train(tmp_path, range(1, 3), [GOOD, GOOD])
    figure = draw(pd.read_csv(tmp_path / "curves.csv"))
    panels = {axes.get_title(loc="left"): axes for axes in figure.axes}
    assert list(panels) == ["PSNR (dB)", "SSIM", "mse", "critic"]
    assert [line.get_label() for line in panels["PSNR (dB)"].lines][1:] == ["low-res"]


@pytest.mark.parametrize(("psnr", "told"), [(29.9, True), (30.1, False)])
def test_a_training_that_ends_below_its_low_res_says_so(psnr, told, tmp_path, caplog) -> None:
    train(tmp_path, range(1, 2), [GOOD | {"PSNR": psnr}])
    assert ("does worse than none: PSNR 29.90 dB in validation, and 30.00 the low-res images" in caplog.text) is told


def test_a_training_without_validation_has_curves_all_the_same(tmp_path) -> None:
    train(tmp_path, range(1, 3), [{}, {}])
    assert list(pd.read_csv(tmp_path / "curves.csv")) == ["epoch", "mse", "critic"]
