# SPDX-License-Identifier: Apache-2.0
import csv
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from bundle.networks import FastGenerator
from bundle.tools import publishing
from bundle.tools.publishing import main, publish

ABOUT = {"data": "a phantom", "licence": "CC0"}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished training with its evaluation, in small."""
    folder = tmp_path / "run"
    (folder / "evaluation" / "panels").mkdir(parents=True)
    torch.manual_seed(0)
    network = FastGenerator(n_features=8, n_blocks=1)
    torch.nn.init.normal_(network.levels[0].last.weight, std=0.05)
    torch.save(network.state_dict(), folder / "model.pt")
    record = {"architecture": "FastGenerator", "size": {"n_features": 8, "n_blocks": 1}, "fusion": "image", "factor": 4}
    (folder / "model.json").write_text(json.dumps(record))
    images = {name: np.random.default_rng(0).random((2, 20, 24), np.float32) for name in ("low_res", "reference")}
    np.savez(folder / "evaluation" / "panels" / "sub-1.npz", **images)
    scores = {f"{image}_{m}_mean": 30 for image in ("low_res", "super_res") for m in publishing.METRICS}
    with (folder / "evaluation" / "subjects.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, ["subject", "n_slices", *scores])
        writer.writeheader()
        writer.writerow({"subject": "1", "n_slices": 7, **dict.fromkeys(scores, 29)})
        writer.writerow({"subject": "all", "n_slices": 7, **scores})
    return folder


def test_published_weights_have_half_the_size_a_record_and_a_checksum(run: Path, tmp_path: Path) -> None:
    target = tmp_path / "models" / "model.pt"
    target.parent.mkdir()
    assert publish(run, target, ABOUT).startswith("float16")
    stored, trained = torch.load(target, weights_only=True), torch.load(run / "model.pt", weights_only=True)
    assert {value.dtype for value in stored.values()} == {torch.float16}
    for name, value in trained.items():
        torch.testing.assert_close(stored[name].float(), value, rtol=1e-3, atol=1e-6)
    record = json.loads(target.with_suffix(".json").read_text())
    assert record.items() >= {"factor": 4, **ABOUT}.items()
    assert record["scores"].keys() == {"1"}
    assert record["scores"]["1"]["slices"] == 7
    assert record["scores"]["1"]["super_res"]["psnr"] == 29
    assert "super_res_dc" not in record["scores"]["1"]
    checksum = hashlib.sha256(target.read_bytes()).hexdigest()
    assert record["weights_sha256"] == checksum
    publish(run, target, ABOUT)
    assert hashlib.sha256(target.read_bytes()).hexdigest() == checksum


def test_weights_that_suffer_from_half_precision_keep_their_size(run: Path, tmp_path: Path) -> None:
    weights = torch.load(run / "model.pt", weights_only=True)
    weights["levels.0.last.weight"] *= 1e5
    torch.save(weights, run / "model.pt")
    assert publish(run, tmp_path / "model.pt", ABOUT).startswith("float32; float16 changes the output by")
    stored = torch.load(tmp_path / "model.pt", weights_only=True)
    for name, value in weights.items():
        assert torch.equal(stored[name], value)


def test_half_precision_is_tried_with_what_the_network_may_know_too(run: Path, tmp_path: Path) -> None:
    size = {"n_features": 8, "n_blocks": 1, "known_factors": [2, 4]}
    torch.manual_seed(0)
    network = FastGenerator(**size)
    torch.nn.init.normal_(network.known_factors.differences[-1], std=1e4)  # of the layer that is zero at the start
    torch.save(network.state_dict(), run / "model.pt")
    record = json.loads((run / "model.json").read_text())
    (run / "model.json").write_text(json.dumps(record | {"size": size}))
    assert publish(run, tmp_path / "model.pt", ABOUT).startswith("float32")


def test_a_training_without_evaluation_is_refused_in_a_sentence(run: Path, monkeypatch, tmp_path, capsys) -> None:
    monkeypatch.setattr(publishing, "bundle_root", lambda: tmp_path)
    (run / "evaluation" / "panels" / "sub-1.npz").unlink()
    assert main([str(run), "model", "--data", "phantom", "--licence", "CC0"]) == 2
    assert "there is no evaluation here; evaluate these weights first" in capsys.readouterr().err


def test_the_command_says_where_the_weights_are(run: Path, monkeypatch, tmp_path, capsys) -> None:
    monkeypatch.setattr(publishing, "bundle_root", lambda: tmp_path)
    (tmp_path / "models").mkdir()
    assert main([str(run), "T1w_4x", "--data", "phantom", "--licence", "CC0"]) == 0
    assert "T1w_4x.pt: 0.01 MB in float16; float16 changes the output by" in capsys.readouterr().out
