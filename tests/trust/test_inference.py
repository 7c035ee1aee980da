# SPDX-License-Identifier: Apache-2.0
"""The checks as a user meets them: in a run of configs/inference.yaml."""

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import run

from bundle.errors import input_error
from bundle.networks import Generator


@pytest.fixture(autouse=True)
def _in_bundle_root(monkeypatch: pytest.MonkeyPatch, bundle_root: Path) -> None:
    monkeypatch.chdir(bundle_root)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("weights")
    for name in ("model", "other"):
        network = Generator(residual=True)
        with torch.no_grad():
            network.levels[0].decoder.last.weight.normal_(std=0.05)  # untrained, it is 0
        torch.save(network.state_dict(), folder / f"{name}.pt")
        (folder / f"{name}.json").write_text(json.dumps({"factor": 2, "residual": True, "reference_contrast": "PDw"}))
    return folder / "model.pt"


def infer(small_dataset: Path, weights: Path, output: Path, **settings: Any) -> dict[str, Any]:
    anat = small_dataset / "sub-A" / "anat"
    pair = {"image": str(anat / "sub-A_T2w.nii.gz"), "reference": str(anat / "sub-A_PDw.nii.gz")}
    settings = {"degrade": True, "mixed_precision": False, "quality_page": False} | settings
    run(
        "inference",
        config_file="configs/inference.yaml",
        ckpt_path=str(weights),
        output_dir=str(output),
        **pair,
        **settings,
    )
    return json.loads((output / "sub-A_sr.json").read_text())


def test_map_of_uncertainty_is_saved_on_the_scale_of_the_output_which_stays_the_same(
    small_dataset, weights, tmp_path
) -> None:
    plain = infer(small_dataset, weights, tmp_path / "plain")
    both = infer(
        small_dataset, weights, tmp_path / "both", uncertainty=True, ensemble=[str(weights.with_name("other.pt"))]
    )
    outputs = [nib.load(tmp_path / name / "sub-A_sr.nii.gz").get_fdata() for name in ("plain", "both")]
    np.testing.assert_allclose(*outputs, atol=1e-3)
    assert not (tmp_path / "plain" / "sub-A_uncertainty.nii.gz").exists()
    spread = nib.load(tmp_path / "both" / "sub-A_uncertainty.nii.gz")
    assert spread.shape == outputs[0].shape
    np.testing.assert_allclose(spread.affine, nib.load(tmp_path / "both" / "sub-A_sr.nii.gz").affine, atol=1e-5)
    assert spread.get_fdata().min() >= 0
    assert spread.get_fdata().max() > 0
    assert (plain["facts"]["uncertainty"]["n_passes"], both["facts"]["uncertainty"]["n_passes"]) == (4, 8)
    tissue = outputs[0] > 0.2 * outputs[0].max()
    typical = np.sqrt((spread.get_fdata()[tissue] ** 2).mean()) / outputs[0][tissue].mean()
    assert both["facts"]["uncertainty"]["typical"] == pytest.approx(typical, rel=0.3)


def test_report_holds_what_was_found_about_input_reference_and_measurement(small_dataset, weights, tmp_path) -> None:
    facts = infer(small_dataset, weights, tmp_path)["facts"]
    assert {"input", "influence", "uncertainty", "data_consistency"} <= set(facts)
    assert facts["input"]["spacing"] == pytest.approx([0.9, 0.9], abs=1e-5)
    assert "does not say" in facts["input"]["not_compared"]
    assert facts["influence"]["removed"] > 0
    assert facts["data_consistency"]["disagreement"] > 0


def test_case_unlike_training_is_told_so(small_dataset, weights, tmp_path) -> None:
    record = json.loads(weights.with_suffix(".json").read_text())
    other = tmp_path / "model.pt"
    other.write_bytes(weights.read_bytes())
    other.with_suffix(".json").write_text(json.dumps(record | {"seen": {"spacing": [0.4, 0.5]}}))
    warnings = infer(small_dataset, other, tmp_path / "out")["warnings"]
    assert any("In-plane voxels are 0.90 mm apart, in training 0.40 to 0.50 mm" in warning for warning in warnings)


def test_a_case_not_to_be_used_is_written_where_that_is_asked_for_alone(head, weights, tmp_path) -> None:
    folder = tmp_path / "sub-A" / "anat"
    folder.mkdir(parents=True)
    for name, contrast in (("T2w", "T1w"), ("PDw", "T2w")):  # swapped
        image = nib.Nifti1Image((1000 * head[contrast]).astype(np.int16), np.diag([0.9, 0.9, 3, 1]))
        nib.save(image, folder / f"sub-A_{name}.nii.gz")
    with pytest.raises(RuntimeError) as caught:
        infer(tmp_path, weights, tmp_path / "out")
    assert "seem to be swapped" in str(input_error(caught.value))
    assert not (tmp_path / "out" / "sub-A_sr.nii.gz").exists()
    (entry,) = json.loads((tmp_path / "out" / "report.json").read_text())["cases"]
    assert (entry["status"], entry["verdict"]) == ("failed", "do not use")
    assert infer(tmp_path, weights, tmp_path / "out", write_doubtful=True)["verdict"] == "do not use"
