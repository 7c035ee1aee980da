# SPDX-License-Identifier: Apache-2.0
"""Training and evaluation by several processes, for ``ci/unit_tests`` of the Model Zoo: run from the Zoo's root."""

import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Any

import torch
from test_mri_multi_contrast_super_resolution import BUNDLE, TRAIN, write_dataset


class TestMultiContrastSuperResolutionMGPU(unittest.TestCase):
    """On as many GPUs as there are, else by two processes on the CPU."""

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.dataset_dir = self.folder / "data"
        self.dataset_dir.mkdir()
        write_dataset(self.dataset_dir, 5)

    def tearDown(self) -> None:
        shutil.rmtree(self.folder)

    def run_parallel(self, run_id: str, stage: str, **override: Any) -> None:
        """Run a stage's config under that for several GPUs."""
        configs = BUNDLE / "configs"
        files = [str(configs / f"{stage}.yaml"), str(configs / f"multi_gpu_{stage}.yaml")]
        words = ["torch.distributed.run", "--standalone", f"--nproc_per_node={torch.cuda.device_count() or 2}"]
        words += ["-m", "monai.bundle", "run", run_id, f"--config_file={files}", f"--bundle_root={BUNDLE}"]
        words += [f"--{key}={value}" for key, value in {"dataset_dir": self.dataset_dir, **override}.items()]
        subprocess.run([sys.executable, "-m", *words], check=True)

    def test_train_eval_mgpu_config(self) -> None:
        trained = self.folder / "trained"
        self.run_parallel("training", "train", output_dir=trained, **TRAIN)
        self.run_parallel("evaluating", "evaluate", training_dir=trained)
        self.assertTrue((trained / "evaluation" / "table.md").is_file())


if __name__ == "__main__":
    unittest.main()
