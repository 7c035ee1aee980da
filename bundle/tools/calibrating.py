# SPDX-License-Identifier: Apache-2.0
"""``python -m bundle.tools.calibrating``: make the scale of errors that weights predict into intervals that hold.

Split conformal prediction (Lei et al. 2018, doi:10.1080/01621459.2017.1307116) with images as the unit: the share of
held-out voxels whose error is below factor times scale is ``COVERAGE``.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from monai.transforms import Compose
from torch import Tensor, nn
from tqdm import tqdm

from bundle.acquisition import Consistency, ScannerFamily, scan
from bundle.acquisition.family import N_UNIFORM, Uniform
from bundle.console import run_tool
from bundle.data import find_pairs
from bundle.engines import GeneratorLoader
from bundle.engines.precision import autocast
from bundle.errors import InputError
from bundle.files import write_json
from bundle.keys import CASE, IMAGE, REFERENCE, Pair
from bundle.networks import build
from bundle.settings import record_path, recorded
from bundle.transforms import AlignReferenced, LoadPaird, NormaliseIntensityd, SlicesLastd, TissueSlicesd
from bundle.volumes.intensity import tissue_threshold

COVERAGE: Final = 0.9
N_VOXELS: Final = 4000  # of tissue of a drawn image, which all count alike


def error_ratios(error: Tensor, scale: Tensor) -> Tensor:
    """Return errors over the scales that were predicted for them; 0 where both are 0."""
    return error.abs() / scale.clamp(min=torch.finfo(torch.float32).tiny)


def calibrate(weights: Path, pairs: Sequence[Pair], n_slices: int = 8, n_draws: int = 6) -> dict[str, Any]:
    """Return what the record of weights says of their intervals: coverage, factor and the number of subjects.

    Args:
        weights: of a network that predicts the scale of its errors.
        pairs: of subjects that did not train it, with what it will be given as references.
        n_slices: of each pair, at equal distances.
        n_draws: acquisitions of each slice, of :class:`bundle.acquisition.ScannerFamily`, the same at every call.

    Raises:
        InputError: if the weights predict no scale of errors, or a pair cannot be read.
    """
    GeneratorLoader(weights, nn.Identity()).check()
    network: Any = build(recorded(weights).model)
    if getattr(network, "error_scale", None) is None:
        raise InputError(f"{weights}: these weights predict no scale of errors; train them with error_features.")
    GeneratorLoader(weights, network, unseen=[pair[CASE] for pair in pairs]).load()
    network.eval()
    family, random = ScannerFamily(wrong_reference=0.0), torch.Generator().manual_seed(0)
    ratios = []
    for pair in tqdm(pairs, desc="calibrating", unit="pair", disable=None):
        for image, reference in _slices(pair, n_slices):
            tissue = image > tissue_threshold(image.numpy())
            for row in torch.rand(n_draws, N_UNIFORM, generator=random):
                uniform = Uniform(row)
                acquisition = family.acquisition(image, uniform)
                low_res = scan(image, acquisition)
                guide = family.reference((reference, reference), (0, 0, *image.shape), uniform)
                with torch.no_grad(), autocast(torch.device("cpu")):
                    known = torch.tensor([acquisition.zero_filled_by])
                    outputs = network.with_error_scale(torch.stack((low_res, guide))[None], known)
                output, scale = (one.float() for one in outputs)
                if consistency := Consistency.of(acquisition):
                    output = consistency.restored(output, low_res[None, None])
                found = error_ratios(output[0, 0] - image, scale[0, 0])[tissue]
                ratios.append(found[torch.randint(len(found), (N_VOXELS,), generator=random)])
    factor = float(np.quantile(torch.cat(ratios).numpy(), COVERAGE))
    return {"coverage": COVERAGE, "factor": round(factor, 4), "subjects": len({pair["subject"] for pair in pairs})}


def _slices(pair: Pair, n_slices: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield slices (H, W) of target and reference of a pair."""
    steps = [LoadPaird(check_grid=False), AlignReferenced(), SlicesLastd(), NormaliseIntensityd()]
    item: Mapping[Any, Any] = Compose([*steps, TissueSlicesd(maximum=n_slices)])(dict(pair))
    target, reference = (item[key].as_tensor()[0].float().movedim(-1, 0).contiguous() for key in (IMAGE, REFERENCE))
    yield from zip(target, reference, strict=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Calibrate weights and keep that in their record; return the exit status, 2 where that cannot be done."""
    parser = argparse.ArgumentParser(
        prog="python -m bundle.tools.calibrating", description="Calibrate the error bars of weights."
    )
    parser.add_argument("weights", type=Path, help="a .pt file with its record beside it")
    parser.add_argument("dataset_dir", help="full-resolution pairs of subjects that trained nothing, or their datalist")
    given = parser.parse_args(arguments)

    def tool() -> str:
        found = calibrate(given.weights, find_pairs(given.dataset_dir))
        write_json(record_path(given.weights), recorded(given.weights).to_json() | {"interval": found})
        return f"{given.weights}: {COVERAGE:.0%} of errors are below {found['factor']} times their scale"

    return run_tool(tool)


if __name__ == "__main__":
    sys.exit(main())
