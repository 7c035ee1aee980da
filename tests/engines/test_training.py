# SPDX-License-Identifier: Apache-2.0
import logging
import re

import torch
from ignite.engine import Engine

from bundle.engines import LossProgress, ValidationImages, low_res_and_label
from bundle.keys import HIGH_RES, LOW_RES, PRED, REFERENCE


def run(monkeypatch, is_terminal: bool) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: is_terminal, raising=False)
    trainer = Engine(lambda *_: {"mse": 0.123456, "critic": 1.0})
    LossProgress(persist=True).attach(trainer)
    trainer.run(range(3), max_epochs=2)


def test_without_a_terminal_each_epoch_is_a_plain_line_with_the_time_left(monkeypatch, caplog, capsys) -> None:
    caplog.set_level(logging.INFO, "bundle")
    run(monkeypatch, is_terminal=False)
    assert [record.getMessage() for record in caplog.records] == [
        "epoch 1 of 2: mse 0.123, critic 1; about 1 s left",
        "epoch 2 of 2: mse 0.123, critic 1",
    ]
    assert not re.search("[\r\u2588]|it/s", capsys.readouterr().err)


def test_on_a_terminal_a_bar_shows_the_losses(monkeypatch, caplog, capsys) -> None:
    caplog.set_level(logging.INFO, "bundle")
    run(monkeypatch, is_terminal=True)
    assert not caplog.records
    assert "mse=0.123" in capsys.readouterr().err


def test_images_of_a_validation_have_their_names_in_tensorboard() -> None:
    volumes = {name: torch.full((1, 4, 5, 3), value) for name, value in ((LOW_RES, 0.1), (HIGH_RES, 0.2))}
    volumes[REFERENCE] = torch.full((1, 4, 5, 3), 2.0)
    written = {}

    class Writer:
        def add_image(self, name, image, step):
            written[name] = (image, step)

    validator = Engine(lambda *_: [{PRED: torch.full((1, 4, 5, 3), float("nan"))}])
    ValidationImages(Writer()).attach(validator)
    validator.run([[volumes]])
    assert list(written) == ["low-res", "super-res", "high-res", "reference"]
    assert {name: float(image.max()) for name, (image, _) in written.items()} == {
        "low-res": torch.tensor(0.1).item(),
        "super-res": 0.0,
        "high-res": torch.tensor(0.2).item(),
        "reference": 1.0,
    }
    assert {(tuple(image.shape), step) for image, step in written.values()} == {((1, 4, 5), 1)}


def test_the_low_res_of_a_validation_is_the_network_s_first_channel() -> None:
    image = torch.rand(2, 4, 5, 3)
    (low_res,), (label,) = low_res_and_label([{"image": image, "label": image[1:]}])
    assert torch.equal(low_res, image[:1])
    assert torch.equal(label, image[1:])
