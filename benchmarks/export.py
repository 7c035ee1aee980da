# SPDX-License-Identifier: Apache-2.0
"""Export networks and print how far TorchScript, torch.export and ONNX Runtime are from eager, in float32.

    python benchmarks/export.py              # random weights, several networks: the table of docs/export.md
    python benchmarks/export.py output/mine/model.pt

Random images in [0, 1] of odd and even sizes; the largest absolute difference over all of them.
"""

import argparse
import contextlib
import io
import json
import logging
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime
import torch
from monai.bundle import ConfigParser, ckpt_export, onnx_export

from bundle.config_files import bundle_root
from bundle.reports.text_table import markdown_table
from bundle.tools.exporting import export

SIZES = [(1, 2, 17, 23), (3, 2, 64, 48), (2, 2, 31, 64), (1, 2, 255, 256)]
NETWORKS: dict[str, dict[str, Any]] = {
    "one-level": {},
    "one-level, residual": {"residual": True},
    "one-level, consistency layer": {"consistency_layer": True},
    "progressive (2 levels)": {"levels": 2},
    "progressive, residual": {"levels": 2, "residual": True},
    "progressive, consistency layer": {"levels": 2, "consistency_layer": True},
    "fast": {"architecture": "FastGenerator", "fusion": "image"},
    "fast, progressive": {"architecture": "FastGenerator", "fusion": "image", "levels": 2},
}
Network = Callable[[torch.Tensor], torch.Tensor]


def configured(weights: Path) -> torch.nn.Module:
    """Return the network of inference.yaml for the record beside some weights."""
    parser = ConfigParser.load_config_file("configs/inference.yaml") | {"ckpt_path": str(weights)}
    network: torch.nn.Module = ConfigParser(parser).get_parsed_content("network_def")
    return network.eval()


def untrained(settings: dict[str, Any], folder: Path) -> Path:
    """Write random weights that let every layer have a say, with the record of their settings beside them."""
    weights = folder / "model.pt"
    weights.with_suffix(".json").write_text(json.dumps(settings))
    torch.manual_seed(0)
    network = configured(weights)
    for name, weight in network.named_parameters():
        if name.endswith("last.weight"):
            torch.nn.init.uniform_(weight, 0, 0.02)
    torch.save(network.state_dict(), weights)
    return weights


def exports(weights: Path, folder: Path) -> dict[str, Network]:
    """Return what the commands export, as functions of an image."""
    common = {"ckpt_file": str(weights), "ckpt_path": str(weights)}
    script, program, model = (folder / f"model.{ending}" for ending in ("ts", "pt2", "onnx"))
    with contextlib.redirect_stdout(io.StringIO()):
        ckpt_export(config_file="configs/inference.yaml", filepath=str(script), **common)
        onnx_export(args_file="configs/onnx_export.yaml", filepath=str(model), **common)
        export(weights, program)
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    return {
        "TorchScript": torch.jit.load(script),
        "torch.export": torch.export.load(program).module(),
        "ONNX Runtime": lambda image: torch.from_numpy(session.run(None, {"image": image.numpy()})[0]),
    }


@torch.no_grad()
def row(name: str, weights: Path, folder: Path) -> list[str]:
    """Return the largest output and the largest difference of each export, over all sizes."""
    network = configured(weights)
    network.load_state_dict(torch.load(weights, weights_only=True))
    images = [torch.rand(size, generator=torch.Generator().manual_seed(0)) for size in SIZES]
    eager = [network(image) for image in images]
    cells = [name, f"{max(output.abs().max().item() for output in eager):.2f}"]
    for exported in exports(weights, folder).values():
        differences = [
            (exported(image) - output).abs().max().item() for image, output in zip(images, eager, strict=True)
        ]
        cells.append(f"{max(differences):.1e}")
    return cells


def main() -> None:
    """Export, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", nargs="*", type=Path, help="weights with their record beside them")
    given = [path.resolve() for path in parser.parse_args().weights]
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    rows = []
    with contextlib.chdir(bundle_root()):
        for name in given or NETWORKS:
            with tempfile.TemporaryDirectory() as folder:
                weights = name if isinstance(name, Path) else untrained(NETWORKS[name], Path(folder))
                rows.append(row(str(name), weights, Path(folder)))
    print(markdown_table(["network", "largest output", "TorchScript", "torch.export", "ONNX Runtime"], rows))
    versions = f"torch {torch.__version__}, ONNX Runtime {onnxruntime.__version__}, {torch.get_num_threads()} threads"
    print(f"{versions}; sizes {', '.join('x'.join(map(str, size)) for size in SIZES)}")


if __name__ == "__main__":
    main()
