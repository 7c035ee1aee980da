# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from bundle.cli import main
from bundle.cli.command import build_parser
from bundle.cli.dialect import respelt, spelling_of


@pytest.mark.parametrize(
    ("command", "said", "respelled"),
    [
        ("enhance", "give another --ckpt_path.", "give another --model."),
        ("enhance", "give --ckpt_path FILE", "give --model FILE"),
        ("enhance", "register it (--register true)", "register it (--register)"),
        ("enhance", "on its own grid with --register false.", "on its own grid with --no-register."),
        ("enhance", "replace it by --resume false.", "replace it by --no-resume."),
        ("enhance", "asked for by --write_doubtful true.", "asked for by --write-doubtful."),
        ("enhance", "by --on_bad_reference single_contrast,", "by --on-bad-reference single_contrast,"),
        ("enhance", "by --factor F, such as 1.5", "by --factor F, such as 1.5"),
        ("enhance", "copy by --degrade true.", "copy by --degrade."),
        ("enhance", "give --fusion feature or other weights", "give --fusion feature or other weights"),
        ("train", "another --output_dir.", "another --output."),
        ("evaluate", "check --dataset_dir and --subset", "check --dataset_dir and --subset"),
        ("evaluate", "give --ckpt_path FILE", "give --ckpt_path FILE"),  # which has no option of its own there
    ],
)
def test_advice_names_the_options_of_the_command(command: str, said: str, respelled: str) -> None:
    _, commands = build_parser()
    assert respelt(said, spelling_of(commands[command])) == respelled


def test_weights_that_are_not_there_are_asked_for_by_the_command_s_option(tmp_path: Path, capsys) -> None:
    log = tmp_path / "log.txt"
    image = tmp_path / "T2.nii.gz"
    image.touch()
    words = ["enhance", str(image), "-r", str(image), "-o", str(tmp_path / "out"), "--log", str(log)]
    assert main([*words, "--ckpt_path", str(tmp_path / "none.pt"), "--residual", "true"]) == 2
    for text in (capsys.readouterr().err, log.read_text()):
        assert "give --model FILE." in text
        assert "ckpt_path" not in text
