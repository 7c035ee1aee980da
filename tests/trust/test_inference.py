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
from bundle.networks import FastGenerator, Generator


@pytest.fixture(autouse=True)
def _in_bundle_root(monkeypatch: pytest.MonkeyPatch, bundle_root: Path) -> None:
    monkeypatch.chdir(bundle_root)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("weights")
    network = Generator(residual=True)
    with torch.no_grad():
        network.levels[0].decoder.last.weight.normal_(std=0.05)  # untrained, it is 0
    torch.save(network.state_dict(), folder / "model.pt")
    (folder / "model.json").write_text(json.dumps({"factor": 2, "residual": True, "reference_contrast": "PDw"}))
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


def test_error_bars_are_saved_on_the_scale_of_the_output_which_stays_the_same(small_dataset, tmp_path) -> None:
    torch.manual_seed(0)
    network, weights = FastGenerator(n_features=8, n_blocks=1, error_features=4), tmp_path / "model.pt"
    torch.save(network.state_dict(), weights)
    size = {"n_features": 8, "n_blocks": 1, "error_features": 4}
    settings = {"architecture": "FastGenerator", "fusion": "image", "degradation": "scanner", "size": size}
    weights.with_suffix(".json").write_text(json.dumps({**settings, "interval": {"factor": 2.0}}))
    plain = infer(small_dataset, weights, tmp_path / "plain")
    both = infer(small_dataset, weights, tmp_path / "both", interval=True)
    outputs = [nib.load(tmp_path / name / "sub-A_sr.nii.gz").get_fdata() for name in ("plain", "both")]
    np.testing.assert_array_equal(*outputs)
    assert not (tmp_path / "plain" / "sub-A_interval.nii.gz").exists()
    interval = nib.load(tmp_path / "both" / "sub-A_interval.nii.gz")
    assert interval.shape == outputs[0].shape
    np.testing.assert_allclose(interval.affine, nib.load(tmp_path / "both" / "sub-A_sr.nii.gz").affine, atol=1e-5)
    widths, tissue = interval.get_fdata(), outputs[0] > 0.2 * outputs[0].max()
    assert widths.min() >= 0
    typical = np.median(widths[tissue]) / outputs[0][tissue].mean()
    assert both["facts"]["interval"]["typical"] == pytest.approx(typical, rel=0.1)
    assert plain["facts"]["interval"] == both["facts"]["interval"]


def test_error_bars_of_weights_that_predict_none_are_refused(small_dataset, weights, tmp_path) -> None:
    with pytest.raises(RuntimeError) as caught:
        infer(small_dataset, weights, tmp_path / "out", interval=True)
    assert "predict no interval" in str(input_error(caught.value))


def test_report_holds_what_was_found_about_input_reference_and_measurement(small_dataset, weights, tmp_path) -> None:
    facts = infer(small_dataset, weights, tmp_path)["facts"]
    assert {"input", "data_consistency"} <= set(facts)
    assert facts["input"]["spacing"] == pytest.approx([0.9, 0.9], abs=1e-5)
    assert "does not say" in facts["input"]["not_compared"]
    assert facts["data_consistency"]["restored"]


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
