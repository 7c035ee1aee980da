# SPDX-License-Identifier: Apache-2.0
"""What `make demo` promises, by its own commands."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def bundle(*arguments: str) -> None:
    subprocess.run([sys.executable, "-W", "ignore", "-m", "monai.bundle", "run", *arguments], cwd=ROOT, check=True)


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
