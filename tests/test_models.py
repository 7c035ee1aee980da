# SPDX-License-Identifier: Apache-2.0
"""The weights that come with the bundle are whole, described, and as good as their record says."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser

from bundle.data import find_pairs
from bundle.engines import GeneratorLoader
from bundle.kspace import zero_fill
from bundle.metrics import psnr
from bundle.networks import build
from bundle.phantom.scanner import simulate_subject
from bundle.settings import recorded

ROOT = Path(__file__).parents[1]
MODELS = sorted((ROOT / "models").glob("*.pt"))
CARD = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")


def loaded(file: Path) -> torch.nn.Module:
    """Return a network with the weights of a file."""
    network = build(recorded(file).model).eval()
    GeneratorLoader(file, network, recorded(file).model).load()
    return network


def test_there_is_a_default() -> None:
    assert ROOT / "models" / "model.pt" in MODELS


def test_records_hold_the_checksums_of_the_files() -> None:
    assert {file.name: recorded(file).weights_sha256 for file in MODELS} == {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in MODELS
    }


@pytest.mark.parametrize("file", MODELS, ids=lambda file: file.stem)
def test_weights_fit_the_network_of_their_record_and_change_an_image(file: Path) -> None:
    network = loaded(file)
    image = torch.rand(1, 2, 40, 36, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert (network(image) - image[:, :1]).abs().max() > 0.01


@pytest.mark.parametrize("file", MODELS, ids=lambda file: file.stem)
def test_weights_say_what_they_were_trained_on_and_how_good_they_are(file: Path) -> None:
    record = recorded(file)
    assert record.about["licence"]
    assert record.about["data"]
    assert record.train_cases
    scores = record.about["scores"]
    assert not scores.keys() & {case.split("_")[0].removeprefix("sub-") for case in record.train_cases}
    assert f"`{file.name}`" in CARD
    for of_subject in scores.values():
        assert of_subject["super_res_dc"]["psnr"] > of_subject["low_res"]["psnr"] + 1
        assert f"{of_subject['super_res_dc']['psnr']:.2f}" in CARD


def test_the_default_was_trained_on_data_that_may_be_published() -> None:
    assert recorded(ROOT / "models" / "model.pt").about["licence"].startswith("CC BY 4.0")


def test_the_default_sharpens_a_patient_that_it_never_saw(shared_data: Path) -> None:
    (pair,) = [pair for pair in find_pairs(shared_data / "open_ms", "T1w") if pair["case"] == "sub-L12_ses-1"]
    parser = ConfigParser()
    parser.read_config(str(ROOT / "configs" / "inference.yaml"))
    parser.update({"bundle_root": str(ROOT), "degrade": True, "register": "grid", "dataset_dir": "", "pairs": [pair]})
    item = parser.get_parsed_content("prepare")(pair)
    network = parser.get_parsed_content("network_def").eval()
    GeneratorLoader(ROOT / "models" / "model.pt", network).load()
    middle = item["image"].as_tensor()[None, ..., 22].cpu()
    high_res, low_res = item["high_res"].as_tensor()[None, ..., 22].cpu(), middle[:, :1]
    with torch.no_grad():
        gain = psnr(high_res, network(middle)) - psnr(high_res, low_res)
    assert np.isfinite(gain.item())
    assert gain.item() > 2


def _jump(slices: torch.Tensor, column: int, tissue: torch.Tensor) -> float:
    """Return the mean step of slices (n, H, W) into a column, beyond the steps beside it, over the rows with tissue."""
    steps = slices.diff(dim=-1)[..., column - 2 : column + 1]  # the middle one leads into the column
    beyond = steps[..., 1] - (steps[..., 0] + steps[..., 2]) / 2
    return float(np.mean([abs(float(one[rows].mean())) for one, rows in zip(beyond, tissue, strict=True)]))


def test_no_edge_of_a_reference_shows_that_ends_inside_the_head() -> None:
    """The output steps no more where its reference ends than the true image does there."""
    subject = simulate_subject(1, 0)[0]
    middle = subject["T2w"].shape[-1] // 2
    slices = [np.moveaxis(subject[name], -1, 0)[middle : middle + 3] for name in ("T2w", "T1w")]
    pair = [torch.from_numpy(one.astype(np.float32)) for one in slices]
    high_res, reference = (volume / volume.max() for volume in pair)
    low_res = zero_fill(high_res, 4)
    default, specialist = (loaded(ROOT / "models" / f"{name}.pt") for name in ("model", "T1w_4x"))
    jumps = []
    for column in (80, 120, 160):
        part = reference.clone()
        part[..., column:] = 0
        tissue = high_res[..., column] > 0.1
        with torch.no_grad():
            outputs = [network(torch.stack((low_res, part), 1))[:, 0] for network in (default, specialist)]
        jumps.append([_jump(image, column, tissue) for image in (high_res, *outputs)])
    truth, ours, never_seen = np.mean(jumps, axis=0)
    assert ours < truth
    assert never_seen > 10 * truth  # of weights that were trained on whole references
