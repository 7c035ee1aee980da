# SPDX-License-Identifier: Apache-2.0
"""What `make demo` promises, by its own commands."""

import csv
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
WRITING_PHANTOM = 25.0  # seconds of one core, where data/phantom is not there yet


def bundle(*arguments: str) -> None:
    subprocess.run([sys.executable, "-W", "ignore", "-m", "monai.bundle", "run", *arguments], cwd=ROOT, check=True)


def demo_commands(folder: Path) -> list[list[str]]:
    """Return the words of each `monai.bundle run` of the demo, from its recipe."""
    words = ["make", "-n", "-o", ".venv/.installed", "demo", f"DEMO={folder}"]
    recipe = subprocess.run(words, cwd=ROOT, check=True, capture_output=True, text=True).stdout.replace("\\\n", " ")
    lines = [shlex.split(line) for line in recipe.splitlines()]
    return [line[line.index("run") + 1 :] for line in lines if "monai.bundle" in line]


def test_demo_begins_and_ends_with_the_pictures_that_it_promises(tmp_path) -> None:
    first, training, evaluating = demo_commands(tmp_path)
    assert first[0] == evaluating[0] == "evaluating"
    assert training[0] == "training"


@pytest.mark.long
def test_first_picture_takes_less_than_a_minute_of_two_cores(tmp_path) -> None:
    first, *_ = demo_commands(tmp_path)
    before = os.times()
    bundle(*first)
    after = os.times()
    seconds = sum(after[2:4]) - sum(before[2:4])  # of the processes that it started, on both cores
    assert seconds + WRITING_PHANTOM < 60
    assert {path.name for path in (tmp_path / "shipped").glob("*.png")} == {"sub-P07.png", "sub-P08.png"}


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_demo_sharpens_a_phantom_that_training_never_saw_by_at_least_1_5_db(tmp_path) -> None:
    configs = "['configs/train.yaml', 'configs/variants/quick.yaml']"
    bundle("training", "--config_file", configs, "--output_dir", str(tmp_path))
    bundle("evaluating", "--config_file", "configs/evaluate.yaml", "--training_dir", str(tmp_path))
    with (tmp_path / "evaluation" / "slices.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    psnr = {image: [float(row["psnr"]) for row in rows if row["image"] == image] for image in ("low_res", "super_res")}
    means = {image: sum(values) / len(values) for image, values in psnr.items()}
    assert means["super_res"] >= means["low_res"] + 1.5
    assert list((tmp_path / "evaluation").glob("*.png"))
