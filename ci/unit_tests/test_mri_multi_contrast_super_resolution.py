# SPDX-License-Identifier: Apache-2.0
"""Training, evaluation and inference of the bundle, for ``ci/unit_tests`` of the Model Zoo: run from the Zoo's root."""

import shutil
import tempfile
import unittest
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from monai.bundle import ConfigWorkflow

BUNDLE = Path("models") / "mri_multi_contrast_super_resolution"
TRAIN = {  # minutes at the paper's settings
    "patch_size": 24,
    "batch_size": 2,
    "epoch_length": 2,
    "n_critic": 1,
    "max_epochs": 1,
    "test_subjects": ["4"],
    "validate_subjects": ["3"],
}
INFER = {"low_res": "zero_filled", "factor": 4}  # not to be told from k-space, in which noise has no low resolution


def write_dataset(folder: Path, n_subjects: int = 4) -> None:
    """Write T2w and PDw of some subjects, as BIDS names them."""
    random = np.random.default_rng(0)
    for subject in range(1, n_subjects + 1):
        for contrast in ("T2w", "PDw"):
            image = nib.Nifti1Image(random.random((48, 40, 4), dtype=np.float32), np.diag([1.0, 1.0, 3.0, 1.0]))
            nib.save(image, folder / f"sub-{subject}_{contrast}.nii.gz")


class TestMultiContrastSuperResolution(unittest.TestCase):
    """What the Zoo runs of each bundle."""

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.dataset_dir = self.folder / "data"
        self.dataset_dir.mkdir()
        write_dataset(self.dataset_dir)

    def tearDown(self) -> None:
        shutil.rmtree(self.folder)

    def run_workflow(self, stage: str, workflow_type: str, **override: Any) -> None:
        """Check the properties of a stage's config, and run it."""
        configs = BUNDLE / "configs"
        workflow = ConfigWorkflow(
            workflow_type=workflow_type,
            config_file=str(configs / f"{stage}.yaml"),
            logging_file=str(configs / "logging.conf"),
            meta_file=str(configs / "metadata.json"),
            bundle_root=str(BUNDLE),
            dataset_dir=str(self.dataset_dir),
            **override,
        )
        workflow.initialize()
        self.assertEqual(workflow.check_properties(), [])
        workflow.run()
        workflow.finalize()

    def test_train_eval_config(self) -> None:
        trained = str(self.folder / "trained")
        self.run_workflow("train", "train", output_dir=trained, **TRAIN)
        self.run_workflow("evaluate", "infer", training_dir=trained)
        self.assertTrue((self.folder / "trained" / "evaluation" / "table.md").is_file())

    def test_infer_config(self) -> None:
        self.run_workflow("inference", "infer", output_dir=str(self.folder / "out"), **INFER)
        self.assertEqual(len(list((self.folder / "out").glob("*_sr.nii.gz"))), 4)


if __name__ == "__main__":
    unittest.main()
