# SPDX-License-Identifier: Apache-2.0
"""MONAI's commands on the bundle as users type them, and that what they export equals the eager network."""

import json
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import pytest
import torch
from monai.bundle import load, onnx_export
from torch import Tensor, nn
from torch.testing import assert_close

from bundle.networks import build
from bundle.settings import recorded
from bundle.tools.packing import NAME

ROOT = Path(__file__).parents[2]
SIZES = [(1, 2, 17, 23), (3, 2, 64, 48), (2, 2, 31, 64), (1, 2, 96, 81)]
VARIANTS: dict[str, dict[str, Any]] = {
    "one-level": {},
    "one-level, residual": {"residual": True},
    "one-level, consistency layer": {"consistency_layer": True},
    "progressive": {"levels": 2},
    "progressive, residual": {"levels": 2, "residual": True},
    "progressive, consistency layer": {"levels": 2, "consistency_layer": True},
    "progressive, linear consistency layer": {"levels": 2, "consistency_layer": True, "magnitude": False},
    "fast": {"architecture": "FastGenerator", "fusion": "image"},
    "fast, progressive": {"architecture": "FastGenerator", "fusion": "feature", "levels": 2},
}
SCHEMA = {"type": "object", "required": ["version", "network_data_format"]}


def example(shape: tuple[int, ...]) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(sum(shape)))


def onnx_session(path: Path) -> onnxruntime.InferenceSession:
    onnx.checker.check_model(str(path), full_check=True)
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def write(network: nn.Module, settings: dict[str, Any], folder: Path) -> Path:
    """Write weights and, beside them, the record that the configs follow."""
    torch.save(network.state_dict(), folder / "mine.pt")
    (folder / "mine.json").write_text(json.dumps(settings))
    return folder / "mine.pt"


def assert_onnx_equals_eager(path: Path, network: nn.Module) -> None:
    session = onnx_session(path)
    assert [(tensor.name, tensor.shape) for tensor in (*session.get_inputs(), *session.get_outputs())] == [
        ("image", ["batch", 2, "height", "width"]),
        ("pred", ["batch", 1, "height", "width"]),
    ]
    for shape in SIZES:
        (found,) = session.run(["pred"], {"image": example(shape).numpy()})
        assert found.shape == (shape[0], 1, *shape[2:])
        assert_close(torch.from_numpy(found), network(example(shape)).detach(), atol=1e-4, rtol=0)


@pytest.mark.filterwarnings("ignore")  # the exporter's own
def test_onnx_with_a_consistency_layer_equals_eager_at_every_size(zoo, untrained, tmp_path, monkeypatch) -> None:
    """The hardest part: that layer's Fourier transform is none that ONNX has."""
    settings = {"residual": True, "consistency_layer": True}
    network = untrained(**settings)
    weights = write(network, settings, tmp_path)
    monkeypatch.chdir(zoo / NAME)
    path = tmp_path / "model.onnx"
    overrides = {"ckpt_file": str(weights), "ckpt_path": str(weights), "filepath": str(path)}
    onnx_export(args_file="configs/onnx_export.yaml", **overrides)
    assert_onnx_equals_eager(path, network)
    operators = {node.op_type for node in onnx.load(path).graph.node}
    assert not operators & {"DFT", "If", "Loop", "Scan"}


@pytest.mark.long
@pytest.mark.parametrize("levels", [1, 2])
def test_verify_net_in_out_takes_the_smallest_size_and_others(levels, monai_bundle) -> None:
    command = ["verify_net_in_out", "--net_id", "network_def", "--meta_file", "configs/metadata.json"]
    command += ["--config_file", "configs/inference.yaml", "--model::levels", levels]
    for more in (1, 16):
        assert "verified with no error" in monai_bundle(*command, "--n", more).stdout


@pytest.mark.long
def test_verify_metadata_takes_a_schema_from_a_file(zoo, monai_bundle) -> None:
    schema = zoo / "schema.json"
    command = ["verify_metadata", "--meta_file", "configs/metadata.json", "--filepath", schema]
    schema.write_text(json.dumps(SCHEMA))
    assert "metadata is verified with no error" in monai_bundle(*command).stdout
    schema.write_text(json.dumps({"type": "object", "required": ["no such key"]}))
    with pytest.raises(AssertionError, match="'no such key' is a required property"):
        monai_bundle(*command)


@pytest.mark.filterwarnings("ignore")  # the exporter's own
def test_onnx_of_the_bundle_s_weights_equals_eager_at_every_size(tmp_path, monkeypatch) -> None:
    weights = ROOT / "models" / "model.pt"
    network = build(recorded(weights).model).eval()
    network.load_state_dict(torch.load(weights, weights_only=True))
    monkeypatch.chdir(ROOT)
    onnx_export(args_file="configs/onnx_export.yaml", filepath=str(tmp_path / "model.onnx"))
    assert_onnx_equals_eager(tmp_path / "model.onnx", network)


@pytest.mark.long
@pytest.mark.parametrize("name", VARIANTS)
def test_exports_of_monai_s_commands_equal_eager_at_every_size(name, untrained, monai_bundle, tmp_path) -> None:
    network = untrained(**VARIANTS[name])
    weights = write(network, VARIANTS[name], tmp_path)
    common = ["--ckpt_file", weights, "--ckpt_path", weights]
    script = ["--net_id", "network_def", "--meta_file", "configs/metadata.json"]
    script += ["--config_file", "configs/inference.yaml", "--filepath", tmp_path / "model.ts"]
    monai_bundle("ckpt_export", *script, *common)
    monai_bundle(
        "onnx_export", "--args_file", "configs/onnx_export.yaml", "--filepath", tmp_path / "model.onnx", *common
    )
    scripted = torch.jit.load(tmp_path / "model.ts")
    for shape in SIZES:
        assert_close(scripted(example(shape)), network(example(shape)), atol=1e-4, rtol=0)
    assert_onnx_equals_eager(tmp_path / "model.onnx", network)


@pytest.mark.long
def test_exports_with_the_documented_defaults_lie_where_the_zoo_looks_for_them(zoo, untrained, monai_bundle) -> None:
    """Without a record, and loaded as MONAI loads TorchScript: with metadata and config inside."""
    monai_bundle("ckpt_export", "--config_file", "configs/inference.yaml")
    monai_bundle("onnx_export", "--args_file", "configs/onnx_export.yaml")
    network, metadata, files = load(NAME, bundle_dir=zoo, load_ts_module=True, config_files=("inference.json",))
    assert metadata["version"] == json.loads((zoo / NAME / "configs" / "metadata.json").read_text())["version"]
    assert "network_def" in json.loads(files["inference.json"])
    shape = SIZES[0]
    assert_close(network(example(shape)), untrained()(example(shape)), atol=1e-4, rtol=0)
    assert_onnx_equals_eager(zoo / NAME / "models" / "model.onnx", untrained())


@pytest.mark.long
def test_weights_of_another_network_are_not_exported(untrained, monai_bundle, tmp_path) -> None:
    weights = write(untrained(levels=2), {"levels": 1}, tmp_path)
    with pytest.raises(AssertionError, match="Unexpected key"):
        monai_bundle(
            *("onnx_export", "--args_file", "configs/onnx_export.yaml", "--filepath", tmp_path / "model.onnx"),
            *("--ckpt_file", weights, "--ckpt_path", weights),
        )
    assert not (tmp_path / "model.onnx").exists()
