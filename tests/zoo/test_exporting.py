# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.testing import assert_close

from bundle.networks import build
from bundle.settings import ModelSettings, recorded
from bundle.tensor_files import load_tensors
from bundle.tools import exporting
from bundle.tools.exporting import main, program_of

MODELS = Path(__file__).parents[2] / "models"
# none is what the program was traced with
SIZES = [(1, 2, 17, 17), (1, 2, 17, 24), (5, 2, 64, 33), (2, 2, 31, 48), (1, 2, 97, 256)]
NETWORKS: dict[str, dict[str, Any]] = {
    "residual, consistency layer": {"residual": True, "consistency_layer": True},
    "linear consistency layer": {"residual": True, "consistency_layer": True, "magnitude": False},
    "progressive": {"levels": 2},
    "fast, feature, progressive": {"architecture": "FastGenerator", "fusion": "feature", "levels": 2},
    "single contrast": {"architecture": "SingleContrastResidual"},
    "cascade": {"architecture": "ZengCascade"},
}


def image(size: tuple[int, ...]) -> torch.Tensor:
    return torch.rand(size, generator=torch.Generator().manual_seed(sum(size)))


def write(folder: Path, **settings: Any) -> Path:
    torch.manual_seed(0)
    network = build(ModelSettings(**settings))
    torch.save(network.state_dict(), folder / "mine.pt")
    (folder / "mine.json").write_text(json.dumps(settings))
    return folder / "mine.pt"


@torch.no_grad()
def test_the_bundle_s_weights_as_pt2_equal_eager_at_odd_and_even_sizes(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["--output", "model.pt2"]) == 0
    assert capsys.readouterr().out == "model.pt2\n"
    extra = {"metadata.json": ""}
    program = torch.export.load("model.pt2", extra_files=extra).module()
    assert json.loads(extra["metadata.json"])["network_data_format"]["inputs"]["image"]["num_channels"] == 2
    weights = MODELS / "model.pt"
    network = build(recorded(weights).model).eval()
    network.load_state_dict(load_tensors(weights, ""))
    for size in SIZES:
        assert_close(program(image(size)), network(image(size)), atol=1e-5, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("name", NETWORKS)
def test_the_program_of_every_kind_of_network_equals_eager_at_odd_and_even_sizes(name, untrained) -> None:
    network = untrained(**NETWORKS[name])
    program = program_of(network).module()
    for size in SIZES:
        assert_close(program(image(size)), network(image(size)), atol=1e-5, rtol=0)


def test_a_network_without_a_form_for_every_size_is_refused(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: False)  # then its Fourier transform is of one size
    weights = write(tmp_path, residual=True, consistency_layer=True)
    assert main([str(weights)]) == 2
    assert "this network has no form for every size (Constraints violated" in capsys.readouterr().err
    assert not list(tmp_path.glob("*pt2"))


def test_a_program_that_departs_from_its_network_is_not_written(tmp_path, monkeypatch, capsys) -> None:
    weights = write(tmp_path)
    other = build(ModelSettings(residual=True)).eval()
    monkeypatch.setattr(exporting, "program_of", lambda network: program_of(other))
    assert main([str(weights)]) == 2
    assert "the program departs from its network by" in capsys.readouterr().err
    assert not list(tmp_path.glob("*pt2"))


def test_weights_that_are_missing_or_do_not_fit_are_told(tmp_path, capsys) -> None:
    assert main([str(tmp_path / "none.pt")]) == 2
    assert "none.pt: there are no weights here" in capsys.readouterr().err
    weights = write(tmp_path, levels=2)
    weights.with_suffix(".json").write_text("{}")
    assert main([str(weights)]) == 2
    assert "of another architecture" in capsys.readouterr().err
