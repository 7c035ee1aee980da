# SPDX-License-Identifier: Apache-2.0
"""``python -m bundle.tools.publishing``: a finished training as weights to be shipped in ``models``, with a record."""

import argparse
import csv
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from bundle.config_files import bundle_root
from bundle.console import run_tool
from bundle.errors import InputError
from bundle.files import atomic_path, sha256, write_json
from bundle.metrics import METRICS
from bundle.networks import build
from bundle.settings import recorded
from bundle.tensor_files import load_tensors

TOLERANCE: Final = 1e-3  # between the outputs of weights in float16 and as trained, on images in [0, 1]
IMAGES: Final = ("low_res", "super_res", "super_res_dc")


@torch.no_grad()
def publish(run: Path, target: Path, about: Mapping[str, str]) -> str:
    """Store the weights of a finished training in a file ``<name>.pt``, with its record ``<name>.json`` beside.

    Returns as what they are stored, and why: float16, unless that changes the output by ``TOLERANCE`` or more on the
    slices that the evaluation in the training's folder has kept. The record says ``about`` the weights too.
    """
    record = recorded(run / "model.pt")
    weights = load_tensors(run / "model.pt", "train again", record.weights_sha256)
    halved = {name: value.half() if value.is_floating_point() else value for name, value in weights.items()}
    network = build(record.model).eval()
    slices = list(_kept_slices(run / "evaluation"))
    factors = getattr(getattr(network, "known_factors", None), "factors", ())
    outputs = []
    for state in (weights, halved):
        network.load_state_dict(state)  # in float32
        outputs.append([network(image) for image in slices])
        outputs[-1] += [network(image, torch.full((len(image),), factor)) for factor in factors for image in slices]
    difference = max(float((a - b).abs().max()) for a, b in zip(*outputs, strict=True))
    small = difference < TOLERANCE
    with atomic_path(target) as temporary, temporary.open("wb") as stream:  # by name, the file would hold its name
        torch.save(halved if small else weights, stream)
    known = {**about, "scores": _scores(run / "evaluation"), "weights_sha256": sha256(target)}
    write_json(target.with_suffix(".json"), record.to_json() | known)
    return f"{'float16' if small else 'float32'}; float16 changes the output by {difference:.1e}"


def _kept_slices(evaluation: Path) -> Iterator[Tensor]:
    """Yield the network's input (n, 2, H, W) for the slices that an evaluation shows."""
    files = sorted((evaluation / "panels").glob("*.npz"))
    if not files:
        raise InputError(f"{evaluation}: there is no evaluation here; evaluate these weights first.")
    for file in files:
        with np.load(file) as panels:
            yield torch.from_numpy(np.stack((panels["low_res"], panels["reference"]), axis=1))


def _scores(evaluation: Path) -> dict[str, Any]:
    """Return the means over the slices of each subject, by image and metric."""
    with (evaluation / "subjects.csv").open(encoding="utf-8", newline="") as stream:
        *subjects, _ = csv.DictReader(stream)  # the last row is that of all
    images = [image for image in IMAGES if f"{image}_psnr_mean" in subjects[0]]
    return {
        row["subject"]: {"slices": int(row["n_slices"])}
        | {image: {metric: float(row[f"{image}_{metric}_mean"]) for metric in METRICS} for image in images}
        for row in subjects
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Publish a training in this bundle's ``models``; return the exit status, 2 where that cannot be done."""
    parser = argparse.ArgumentParser(
        prog="python -m bundle.tools.publishing", description="Ship the weights of a training."
    )
    parser.add_argument("run", type=Path, help="output folder of a training, with its evaluation")
    parser.add_argument("name", help="of the weights: model for the default, else such as T1w_2x")
    parser.add_argument("--data", required=True, help="what they were trained on, and whose it is")
    parser.add_argument("--licence", required=True, help="under which the weights may be passed on")
    given = parser.parse_args(arguments)
    target = bundle_root() / "models" / f"{given.name}.pt"

    def tool() -> str:
        stored = publish(given.run, target, {"data": given.data, "licence": given.licence})
        return f"{target}: {target.stat().st_size / 1e6:.2f} MB in {stored}"

    return run_tool(tool)


if __name__ == "__main__":
    sys.exit(main())
