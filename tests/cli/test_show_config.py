# SPDX-License-Identifier: Apache-2.0
"""What ``--show-config`` prints is the same run: MONAI's command line reads the same values from it."""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from fire.parser import DefaultParseValue
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bundle.cli import main
from bundle.cli.stage_run import command_lines, command_words
from bundle.config_files import fire_text

ROOT = Path(__file__).resolve().parents[2]
TEXT = st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]), max_size=8)
PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT
VALUES = st.recursive(PLAIN, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=5)
KEYS = st.dictionaries(st.sampled_from(["image", "output_dir", "a::b"]), VALUES)


@given(VALUES)
@settings(max_examples=50)
def test_monai_s_command_line_reads_every_value_as_it_was(value: Any) -> None:
    read = DefaultParseValue(fire_text(value))
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    "text", ["/data/sub 1/a#b.nii.gz", "$torch.device('cpu')", "table1", "@plan", "1e3", "[a, b]", "-", "a #b"]
)
def test_texts_that_look_like_literals_stay_texts(text: str) -> None:
    assert DefaultParseValue(fire_text(text)) == text


@pytest.mark.parametrize("text", ["/data/sub-01/T2w.nii.gz", "$torch.device('cpu')", "table1"])
def test_paths_and_words_are_printed_without_further_quotes(text: str) -> None:
    assert fire_text(text) == text


def words_in_a_shell(folder: Path, keys: dict[str, Any]) -> list[str]:
    """Return what a shell makes of the lines that are printed: the working directory and the words."""
    text = command_lines(folder, "inference", ["configs/a.yaml", "configs/b.yaml"], keys)
    script = text.replace(sys.executable, "printf '%s\\0' \"$PWD\"", 1)
    return subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout.split("\0")[:-1]


@given(KEYS)
@settings(max_examples=30)
@example(
    {
        "image": '/a b/it\'s $HOME `x`\\ "y".nii',
        "a::b": ["L12", "it's", "!!", "new\nline"],
        "output_dir": "$torch.device('cpu')",
    }
)
def test_a_shell_reads_the_words_that_are_printed(keys: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory(suffix=" it's") as folder:
        words = words_in_a_shell(Path(folder).resolve(), keys)
        assert words[0] == str(Path(folder).resolve())
    assert words[1:] == command_words("inference", ["configs/a.yaml", "configs/b.yaml"], keys)[1:]


@given(KEYS)
@settings(max_examples=30)
def test_the_keys_that_are_printed_are_yaml_of_the_same_values(keys: dict[str, Any]) -> None:
    text = command_lines(Path("/b"), "inference", ["configs/inference.yaml"], keys)
    lines = text[text.rindex("# keys of ") :].splitlines()[1:]
    assert (yaml.safe_load("\n".join(line.removeprefix("#   ") for line in lines)) or {}) == (keys or "none")


def test_exclamation_marks_are_kept_from_the_history_of_shells(tmp_path: Path) -> None:
    text = command_lines(tmp_path, "inference", ["configs/a.yaml"], {"image": "it's new!"})
    assert """'--image=it'"'"'s new!'""" in text


def test_show_config_prints_the_run_and_does_nothing(
    here: Path, recorder: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["enhance", "ä b.nii", "--reference", "t1.nii.gz", "-o", "out", "--device", "cpu", "--factor", "4"]
    assert main([*arguments, "--show-config"]) == 0
    printed = capsys.readouterr().out
    assert recorder.runs == []
    assert main(arguments) == 0
    _, configs, keys = recorder.runs[0]
    assert printed == command_lines(ROOT, "inference", configs, keys)
    expected = {
        "output_dir": str(here / "out"),
        "reference": str(here / "t1.nii.gz"),
        "image": str(here / "ä b.nii"),
        "device": "$torch.device('cpu')",
        "factor": 4,
    }
    assert keys == expected


def test_several_configs_are_printed_as_a_list(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "-o", "out", "--config", "quick", "--show-config"]) == 0
    printed = capsys.readouterr().out
    assert "\"--config_file=['configs/train.yaml', 'configs/variants/quick.yaml']\"" in printed
    assert printed.startswith(f"cd {ROOT}\n{sys.executable} -m monai.bundle run training")
