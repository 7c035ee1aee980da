# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path

import pytest
import torch

from bundle.data import find_pairs
from bundle.errors import InputError
from bundle.networks import FastGenerator
from bundle.tools import calibrating
from bundle.tools.calibrating import calibrate, error_ratios, main

SIZE = {"n_features": 8, "n_blocks": 1, "error_features": 4}


def untrained(folder: Path, **size: int) -> Path:
    """Store a network that returns the low-res and says that all errors are of the size of its features."""
    torch.manual_seed(0)
    network = FastGenerator(**size)
    torch.save(network.state_dict(), folder / "model.pt")
    settings = {"architecture": "FastGenerator", "fusion": "image", "degradation": "scanner", "size": size}
    (folder / "model.json").write_text(json.dumps(settings | {"data": "a phantom"}))
    return folder / "model.pt"


def test_ratios_are_errors_over_scales_and_0_where_both_are() -> None:
    found = error_ratios(torch.tensor([0.2, -0.3, 0.0]), torch.tensor([0.1, 0.1, 0.0]))
    torch.testing.assert_close(found, torch.tensor([2.0, 3.0, 0.0]))


def test_nine_of_ten_held_out_errors_are_below_the_factor(small_dataset, tmp_path, monkeypatch) -> None:
    pairs, weights = find_pairs(str(small_dataset)), untrained(tmp_path, **SIZE)
    factor = calibrate(weights, pairs[:2], n_slices=3)["factor"]
    seen = []

    def kept(error: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        seen.append(error_ratios(error, scale))
        return seen[-1]

    monkeypatch.setattr(calibrating, "error_ratios", kept)
    calibrate(weights, pairs[2:], n_slices=3)
    shares = torch.stack([(ratios < factor).float().mean() for ratios in seen])
    assert float(shares.mean()) == pytest.approx(0.9, abs=0.08)  # few images


def test_calibration_is_kept_in_the_record_and_is_the_same_again(small_dataset, tmp_path, capsys) -> None:
    weights = untrained(tmp_path, **SIZE)
    before = weights.read_bytes()
    records = []
    for _ in range(2):
        assert main([str(weights), str(small_dataset)]) == 0
        records.append(json.loads(weights.with_suffix(".json").read_text()))
    assert records[0] == records[1]
    assert records[0]["interval"].items() >= {"coverage": 0.9, "subjects": 4}.items()
    assert records[0]["data"] == "a phantom"
    assert weights.read_bytes() == before
    assert "90% of errors are below" in capsys.readouterr().out


def test_weights_that_predict_no_errors_are_refused(small_dataset, tmp_path, capsys) -> None:
    weights = untrained(tmp_path, n_features=8, n_blocks=1)
    with pytest.raises(InputError, match="train them with error_features"):
        calibrate(weights, [])
    assert main([str(weights), str(small_dataset)]) == 2
    assert "no scale of errors" in capsys.readouterr().err
