# SPDX-License-Identifier: Apache-2.0
"""``python -m bundle.tools.exporting``: weights as a program of ``torch.export`` (``.pt2``), for images of any size."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import torch
import torch.fx.experimental._config as symbolic_shapes
from torch import Tensor, nn
from torch._dynamo.exc import UserError
from torch.export import Dim, ExportedProgram

from bundle.config_files import bundle_root
from bundle.console import run_tool
from bundle.engines import GeneratorLoader
from bundle.errors import InputError
from bundle.files import atomic_path
from bundle.networks import build
from bundle.settings import recorded

TOLERANCE: Final = 1e-5  # between program and network, on images in [0, 1]
SMALLEST: Final = 17  # rows and columns that the paper's generator needs
EXAMPLE: Final = (2, 2, 40, 48)  # no 1 and no two alike among the sizes that vary
SIZES: Final = ((1, 2, 17, 17), (1, 2, 18, 23), (3, 2, 31, 64))  # odd and even, other than the example's


@torch.no_grad()
def export(weights: Path, path: Path) -> None:
    """Write the network of a file of weights, by the record beside it, as a program that stands without this package.

    It takes ``image``, a float32 Tensor (B, 2, H, W), and returns (B, 1, H, W), on the CPU, for any B and any H and W
    of at least 17; ``metadata.json`` lies inside. An ``InputError`` says where weights are missing or do not fit, and
    where the program departs from the network: nothing is written then.
    """
    network = build(recorded(weights).model).eval()
    GeneratorLoader(weights, network).load()
    try:
        program = program_of(network)
    except UserError as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{weights}: this network has no form for every size ({reason}); use TorchScript.") from error
    differences = {size: _difference(network, program.module(), torch.rand(size)) for size in SIZES}
    if (worst := max(differences.values())) > TOLERANCE:
        raise InputError(
            f"{weights}: the program departs from its network by {worst:.1e} ({differences}); use TorchScript."
        )
    metadata = (bundle_root() / "configs" / "metadata.json").read_text(encoding="utf-8")
    with atomic_path(path) as temporary:
        torch.export.save(program, temporary, extra_files={"metadata.json": json.dumps(json.loads(metadata))})


def program_of(network: nn.Module) -> ExportedProgram:
    """Return a network as a program of any batch size, height and width."""
    shapes = {0: Dim("batch", min=1), 2: Dim("height", min=SMALLEST), 3: Dim("width", min=SMALLEST)}
    # as the exporter to ONNX does: no size is taken for unequal 1 because the example's is
    with symbolic_shapes.patch(backed_size_oblivious=True):  # type: ignore[attr-defined]
        # what holds for every size and cannot be proved is looked at when the program runs
        return torch.export.export(
            network, (torch.rand(EXAMPLE),), dynamic_shapes=[shapes], prefer_deferred_runtime_asserts_over_guards=True
        )


def _difference(network: nn.Module, program: nn.Module, image: Tensor) -> float:
    return float((network(image) - program(image)).abs().max())


def main(arguments: Sequence[str] | None = None) -> int:
    """Export weights; return the exit status, 2 where nothing could be written."""
    parser = argparse.ArgumentParser(prog="python -m bundle.tools.exporting", description="Export weights as .pt2.")
    parser.add_argument("weights", nargs="?", type=Path, help="with their record beside them (models/model.pt)")
    parser.add_argument("--output", type=Path, metavar="FILE", help="where to write it (beside the weights, as .pt2)")
    options = parser.parse_args(arguments)

    def tool() -> str:
        weights = options.weights or bundle_root() / "models" / "model.pt"
        path = options.output or weights.with_suffix(".pt2")
        export(weights, path)
        return str(path)

    return run_tool(tool)


if __name__ == "__main__":
    sys.exit(main())
