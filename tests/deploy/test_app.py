# SPDX-License-Identifier: Apache-2.0
"""The MONAI Deploy application in its own environment, on the phantom written as DICOM."""

import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bundle.dicom.series import read_series
from bundle.phantom.dataset import write_phantom
from deploy.demo import APP_PYTHON, ROOT, pixels, write_study
from tests.label.test_requirements import pins

needs_environment = pytest.mark.skipif(
    not APP_PYTHON.is_file(), reason="MONAI Deploy App SDK is not installed here (make deploy-demo)"
)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("deploy")
    write_phantom(folder / "phantom", n_subjects=1)
    return write_study(folder / "phantom" / "sub-P01" / "anat", folder / "study")


def sharpen(study: Path, output: Path, *options: object) -> subprocess.CompletedProcess[str]:
    words = [APP_PYTHON, "-W", "ignore", ROOT / "deploy" / "app.py", "-i", study, "-o", output, *options]
    command = "ulimit -s 32768; exec " + " ".join(f"'{word}'" for word in words)
    return subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_package_has_one_version_in_both_environments_but_for_what_the_sdk_has_older(bundle_root) -> None:
    ours, theirs = pins(bundle_root / "constraints.txt"), pins(bundle_root / "deploy" / "requirements.txt")
    shared = ours.keys() & theirs.keys() - {"protobuf", "ml-dtypes"}  # of which its client of Triton wants older ones
    assert {name: ours[name] for name in shared} == {name: theirs[name] for name in shared}
    assert {"monai-deploy-app-sdk", "holoscan-cu13"} <= theirs.keys()
    assert not {"torch", "monai", "numpy"} & theirs.keys()


@pytest.mark.long
def test_the_study_of_the_demo_has_the_phantom_s_voxels_and_places(study) -> None:
    for contrast in ("T2w", "T1w"):
        volume = read_series(study / contrast)
        assert volume.voxels.shape == (208, 240, 20)
        assert volume.spacing == pytest.approx((0.9375, 0.9375, 4.0), abs=1e-5)
    image = nib.load(study.parent / "phantom" / "sub-P01" / "anat" / "sub-P01_T1w.nii.gz")
    volume = read_series(study / "T1w")
    rest = np.linalg.inv(image.affine) @ volume.affine  # axes may be flipped, and then the voxels are
    assert np.abs(np.abs(rest[:3, :3]) - np.eye(3)).max() < 1e-4
    flips = [axis for axis in range(3) if rest[axis, axis] < 0]
    np.testing.assert_allclose(np.flip(volume.voxels, flips), image.get_fdata(), atol=0.51)


@needs_environment
@pytest.mark.long
def test_the_application_writes_the_voxels_of_the_command(study, tmp_path) -> None:
    done = sharpen(study, tmp_path / "app")
    assert done.returncode == 0, done.stderr
    words = [sys.executable, "-W", "ignore", "-m", "bundle", "enhance", study / "T2w", "--reference", study / "T1w"]
    subprocess.run([*map(str, words), "-o", str(tmp_path / "command"), "--dicom", "-q"], cwd=ROOT, check=True)
    np.testing.assert_array_equal(pixels(tmp_path / "app"), pixels(tmp_path / "command"))


@needs_environment
@pytest.mark.long
def test_rules_choose_the_series_and_a_study_without_a_target_is_told(study, tmp_path) -> None:
    rules = tmp_path / "rules.json"
    rules.write_text(json.dumps({"reference": {"SeriesDescription": "^FLAIR"}}))
    done = sharpen(study, tmp_path / "alone", "--rules", rules)
    assert done.returncode == 0, done.stderr
    (record,) = (tmp_path / "alone").glob("*_sr.json")
    assert "reference" not in json.loads(record.read_text())["inputs"]
    rules.write_text(json.dumps({"target": {"SeriesDescription": "^FLAIR"}}))
    done = sharpen(study, tmp_path / "none", "--rules", rules)
    assert done.returncode != 0
    assert "no series is a target" in done.stdout + done.stderr
