# SPDX-License-Identifier: Apache-2.0
"""Measure what finer slices made of thick ones gain over a cubic spline on the same grid, in dB of PSNR.

    python benchmarks/through_plane.py DATA/open_ms_mni/sub-C19_T2w.nii.gz ... --references DATA/open_ms_mni_extra \
        --csv through_plane.csv

Targets are nearly isotropic volumes that did not train the weights. Slices of a thickness every so many millimetres are
taken of them, and made fine again with each reference on their grid and with none. Scores are of whole volumes, peak 1.
The columns of factors say what is gained where the profile is taken for so many times as thick as it was.

    python benchmarks/through_plane.py DATA/open_ms_mni/sub-C19_T2w.nii.gz --picture docs/images/thick_slices.png

draws the middle reformat of the first target instead, of slices of 4 mm, with the first reference.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from degradations import LARGEST_ERROR, NONE, SUFFIX, files_of, loaded
from scipy.ndimage import map_coordinates
from torch import Tensor, nn

from bundle.acquisition import AxisEstimate, Consistency, SliceAxis, ThroughPlane
from bundle.data.reading import read_volume
from bundle.drawing.montage_page import TileRow, draw_page
from bundle.drawing.png import save_paletted
from bundle.drawing.slice_choice import grey_limit
from bundle.drawing.tile import ERRORS, GREY, Scale, Tile
from bundle.engines import ReformatInferer, TiledSliceInferer
from bundle.volumes.geometry import through_plane_axis
from bundle.volumes.intensity import IntensityScale

SLICES = ((3.0, 3.0), (4.0, 4.0), (5.0, 5.0), (6.0, 5.0))  # distance and thickness in mm
ASSUMED = (1.0, 0.8, 1.2)  # thickness that is assumed, of the true one


def volumes(path: Path, folders: list[Path]) -> dict[str, Tensor]:
    """Return target ("") and references (1, H, W, D) in [0, 1], slices last, cut to the head."""
    read = {name: read_volume(file) for name, file in files_of(path, folders).items()}
    axis = through_plane_axis(read[""].spacing, read[""].voxels.shape)
    filled = np.argwhere(read[""].voxels > 0.02 * read[""].voxels.max())
    box = tuple(slice(low, high + 1) for low, high in zip(filled.min(0), filled.max(0), strict=True))
    return {
        name: torch.from_numpy(
            np.moveaxis(IntensityScale.from_array(v.voxels).normalise(v.voxels)[box], axis, -1).copy()
        ).float()[None]
        for name, v in read.items()
    }


def psnr(truth: Tensor, image: Tensor) -> float:
    """Return the PSNR of a whole volume in dB, peak 1."""
    return float(-10 * torch.log10((truth - image).double().square().mean()))


def rows(path: Path, network: nn.Module, folders: list[Path]) -> Iterator[dict[str, Any]]:
    """Yield the scores of one target."""
    found = volumes(path, folders)
    truth = found.pop("")
    name = f"{path.parent.name} {SUFFIX.sub('', path.name).removeprefix('sub-')}"
    for apart, thickness in SLICES:
        size = int(truth.shape[-1] // apart * apart)
        axis = SliceAxis(size, apart, thickness, (apart - 1) / 2)
        slices = ThroughPlane(axis).slices(truth[..., :size])
        low_res = ThroughPlane(axis).interpolated(slices).clamp(min=0)
        places = np.stack(
            np.meshgrid(*map(np.arange, low_res.shape[1:3]), (np.arange(size) - axis.first) / apart, indexing="ij")
        )
        cubic = torch.from_numpy(map_coordinates(slices[0].numpy(), places, order=3, mode="nearest"))
        row = {"data": name, "slices": f"{apart:g} mm" + (f", {thickness:g} thick" if thickness != apart else "")}
        row["cubic"] = psnr(truth[0, ..., :size], cubic)
        for reference in (*found, NONE):
            guide = found[reference][..., :size] if reference != NONE else torch.zeros_like(low_res)
            inferer = ReformatInferer(TiledSliceInferer(tile=None), ThroughPlane(axis))
            output = inferer(torch.cat((low_res, guide))[None], network)[0]
            whole = Consistency(*(AxisEstimate(n, source="given") for n in truth.shape[1:3]))
            gains = {"plain": psnr(truth[..., :size], output) - row["cubic"]}
            for factor in ASSUMED:
                assumed = ThroughPlane(SliceAxis(size, apart, thickness * factor, axis.first))
                gains[f"x {factor:g}"] = (
                    psnr(truth[..., :size], assumed.restored(output, low_res, whole)) - row["cubic"]
                )
            yield row | {"reference": reference} | gains


def draw(path: Path, network: nn.Module, folders: list[Path], picture: Path) -> None:
    """Draw a reformat of a target: cubic spline, output, truth and reference."""
    found = volumes(path, folders)
    truth, size = found.pop(""), 4 * (next(iter(found.values())).shape[-1] // 4)
    name, guide = next(iter(found.items()))
    known = ThroughPlane(SliceAxis(size, 4, 4, 1.5))
    low_res = known.interpolated(known.slices(truth[..., :size])).clamp(min=0)
    output = ReformatInferer(TiledSliceInferer(tile=None), known)(
        torch.cat((low_res, guide[..., :size]))[None], network
    )[0]
    whole = Consistency(*(AxisEstimate(n, source="given") for n in truth.shape[1:3]))
    shown = {
        "slices of 4 mm, cubic": low_res,
        "output": known.restored(output, low_res, whole),
        "truth, 1 mm": truth[..., :size],
        f"reference, {name}": guide[..., :size],
    }
    images = {title: np.rot90(volume[0, volume.shape[1] // 2].numpy()) for title, volume in shown.items()}
    tiles = [Tile(image, Scale(GREY, 0, grey_limit(image[None])), title) for title, image in images.items()]
    error = np.abs(images["output"] - images["truth, 1 mm"])
    tiles.append(Tile(error, Scale(ERRORS, 0, LARGEST_ERROR), "|output - truth|"))
    save_paletted(draw_page([TileRow("", tiles)], ""), picture)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", type=Path, nargs="+")
    parser.add_argument("--weights", type=Path, default=Path(__file__).parents[1] / "models" / "model.pt")
    parser.add_argument("--references", type=Path, nargs="*", default=[])
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    network = loaded(options.weights)
    if options.picture:
        draw(options.targets[0], network, options.references, options.picture)
        return
    scores: list[dict[str, Any]] = []
    for path in options.targets:
        for row in rows(path, network, options.references):
            scores.append(row)
            print(row, flush=True)
    table = pd.DataFrame(scores)
    if options.csv:
        table.round(4).to_csv(options.csv, index=False)
    print(table.round(2).to_string(index=False))


if __name__ == "__main__":
    main()
