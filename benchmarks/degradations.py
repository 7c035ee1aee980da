# SPDX-License-Identifier: Apache-2.0
"""Measure what weights gain over the low-res image: degradation by reference by data set, as a table and a heat map.

    python benchmarks/degradations.py --weights models/model.pt DATA/open_ms/sub-L12_ses-1_T2w.nii.gz ... \
        --references DATA/open_ms_mni_extra --csv degradations.csv --plot docs/images/degradations.png

References are all T1w, PDw, FLAIR and post-contrast volumes on the target's grid, beside it or in a folder of
``--references``; and none. Scores are those of evaluation (peak 1), on evenly spaced slices that hold tissue. Targets
must not have trained the weights. Weights with known factors are told the true acquisition, or what ``--tell`` says.
Copies of weights on their way, named by their updates (w_500.pt, w_1000.pt ...),
give a learning curve with ``--curve``.
"""

import argparse
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from bundle.acquisition import Axis, Consistency, KSpaceAxis, Scan, SliceAxis, scan, zero_filled_by
from bundle.acquisition.scan import white_deviation
from bundle.data.reading import read_volume
from bundle.drawing.montage_page import TileRow, draw_page
from bundle.drawing.png import save_paletted, save_plot
from bundle.drawing.slice_choice import grey_limit, grey_window
from bundle.drawing.tile import ERRORS, GREY, Scale, Tile
from bundle.engines import GeneratorLoader
from bundle.engines.precision import autocast
from bundle.metrics import psnr, ssim
from bundle.networks import build
from bundle.reports.spreadsheet import write_csv
from bundle.settings import recorded
from bundle.volumes.acquired_axes import estimate_axes
from bundle.volumes.geometry import through_plane_axis
from bundle.volumes.intensity import IntensityScale, tissue_slices

SUFFIX = re.compile(r"_T2w\.nii\.gz$")
CONTRASTS = {"T1w": "_T1w", "PDw": "_PDw", "FLAIR": "_FLAIR", "T1w + contrast": "_ce-gd_T1w"}
NONE = "none"
ISOTROPIC = 1.3
LARGEST_ERROR = 0.15  # of the colour scale


@dataclass(frozen=True)
class Degradation:
    """One row: what happens to rows and to columns, noise relative to tissue, and phase in rad."""

    name: str
    axes: Callable[[int, int], tuple[Axis, Axis]]
    noise: float = 0.0
    phase: float = 0.0
    thick: bool = False  # needs slices along which the voxels are as small as in them

    def __call__(self, image: Tensor, seed: int) -> tuple[Tensor, Scan]:
        """Return the low-res of a slice (H, W), and how it was acquired."""
        noise = phase = None
        if self.noise:
            tissue = image[image > image.mean()].mean()
            white = torch.randn(2, *image.shape, generator=torch.Generator().manual_seed(seed))
            noise = white_deviation(self.noise * float(tissue), *self.axes(*image.shape)) * white
        if self.phase:
            rows, columns = (torch.linspace(-1, 1, n) for n in image.shape)
            phase = self.phase * (rows[:, None] - 0.7 * columns**2)
        settings = Scan(*self.axes(*image.shape), noise, phase)
        return scan(image, settings), settings


def in_plane(
    name: str, rows: float, columns: float, window: Any = "box", taper: float = 1.0, partial: float = 1.0, **more: float
) -> Degradation:
    """Return a degradation in k-space, by one factor for the rows and one for the columns."""
    return Degradation(
        name, lambda h, w: (KSpaceAxis(h, rows, window, taper, partial), KSpaceAxis(w, columns, window, taper)), **more
    )


def thick(name: str, spacing: float, thickness: float) -> Degradation:
    """Return slices of a thickness at a spacing, in voxels, along the rows."""
    first = (spacing - 1) / 2
    return Degradation(name, lambda h, w: (SliceAxis(h, spacing, thickness, first), KSpaceAxis(w, 1)), thick=True)


DEGRADATIONS = [
    in_plane("4x", 4, 4),
    in_plane("3x", 3, 3),
    in_plane("2.5x", 2.5, 2.5),
    in_plane("2x", 2, 2),
    in_plane("1.5x", 1.5, 1.5),
    in_plane("1 x 2", 1, 2),
    in_plane("3 x 1.5", 3, 1.5),
    in_plane("4x, Hann", 4, 4, "hann"),
    in_plane("2x, Hann", 2, 2, "hann"),
    in_plane("3x, Hamming", 3, 3, "hamming"),
    in_plane("3x, Tukey 0.5", 3, 3, "tukey", 0.5),
    in_plane("4x, Fermi", 4, 4, "fermi", 0.1),
    in_plane("3x, Gaussian", 3, 3, "gaussian"),
    in_plane("2x, partial Fourier 6/8", 2, 2, partial=0.75, phase=1.0),
    in_plane("4x, noise 3 %", 4, 4, noise=0.03),
    in_plane("2x, noise 3 %", 2, 2, noise=0.03),
    thick("slices of 3 voxels", 3, 3),
    thick("slices of 4 voxels", 4, 4),
    thick("slices of 5 voxels, gap 1", 5, 4),
]


@dataclass
class Target:
    """Slices (n, H, W) in [0, 1] of a target, and of each reference, in two orientations where voxels are isotropic."""

    name: str
    slices: dict[bool, dict[str, Tensor]]  # by whether across thick slices, then by contrast, the target's ""
    spacing: dict[bool, tuple[float, float]]  # mm between rows and columns, likewise


def files_of(path: Path, folders: list[Path]) -> dict[str, Path]:
    """Return the files of a target ("") and, by contrast, of the references beside it or in other folders."""
    stem = SUFFIX.sub("", path.name)
    return {"": path} | {
        name: file
        for name, end in CONTRASTS.items()
        for folder in (path.parent, *folders)
        if (file := folder / f"{stem}{end}.nii.gz").is_file()
    }


def target(path: Path, folders: list[Path], n_slices: int) -> Target:
    """Read a target and all references on its grid."""
    volumes = {name: read_volume(file) for name, file in files_of(path, folders).items()}
    spacing, shape = volumes[""].spacing, volumes[""].voxels.shape
    axis = through_plane_axis(spacing, shape)
    scaled = {n: IntensityScale.from_array(v.voxels).normalise(v.voxels) for n, v in volumes.items()}
    axes = {False: axis}
    if max(spacing) < ISOTROPIC * min(spacing):
        axes[True] = (axis + 2) % 3  # rows then run along the through-plane axis, or are turned to
    slices, distances = {}, {}
    for is_thick, across in axes.items():
        kept = np.flatnonzero(tissue_slices(scaled[""], across))
        kept = kept[((np.arange(n_slices) + 0.5) * len(kept) / n_slices).astype(int)]
        turned = {
            n: np.moveaxis(v, (across, axis), (0, 1)) if is_thick else np.moveaxis(v, across, 0)
            for n, v in scaled.items()
        }
        slices[is_thick] = {n: torch.from_numpy(v[kept].astype(np.float32)) for n, v in turned.items()}
        others = [i for i in range(3) if i not in (across, axis)]
        rows, columns = (axis, *others) if is_thick else others
        distances[is_thick] = spacing[rows], spacing[columns]
    return Target(f"{path.parent.name} {SUFFIX.sub('', path.name).removeprefix('sub-')}", slices, distances)


def found(low_res: Tensor, _: Scan) -> float:
    """Return the factor of plain zero-filling that is found in slices (n, H, W) as inference finds it; 0 for none."""
    stored = (1000 * low_res).round().clamp(min=0).movedim(0, -1)
    return zero_filled_by(*estimate_axes(stored.float().numpy(), (1.0, 1.0)))


def plain(_: Tensor, settings: Scan) -> float:
    """Return the larger factor of both axes, whatever else happened to them; 0 with thick slices."""
    return 0.0 if isinstance(settings.rows, SliceAxis) else max(settings.rows.factor, settings.columns.factor)


TOLD: dict[str, Callable[[Tensor, Scan], float]] = {
    "true": lambda _, settings: settings.zero_filled_by,
    "found": found,
    "plain": plain,
    "nothing": lambda *_: 0.0,
}


def rows(
    targets: list[Target],
    networks: dict[str, nn.Module],
    degradations: list[Degradation],
    tell: Callable[[Tensor, Scan], float] = TOLD["true"],
) -> Iterator[dict[str, Any]]:
    """Yield the scores of every cell."""
    for one in targets:
        for degradation in degradations:
            slices = one.slices.get(degradation.thick)
            if slices is None:
                continue
            high_res = slices[""]
            seeds = [zlib.crc32(f"{one.name}{i}".encode()) for i in range(len(high_res))]
            scans = [degradation(image, seed) for image, seed in zip(high_res, seeds, strict=True)]
            low_res, settings = torch.stack([image for image, _ in scans]), scans[0][1]
            told = tell(low_res, settings)
            for reference, guide in (
                {n: v for n, v in slices.items() if n} | {NONE: torch.zeros_like(high_res)}
            ).items():
                for name, network in networks.items():
                    super_res = infer(network, low_res, guide, told)
                    consistent = restored(super_res, low_res, settings)
                    yield {
                        "data": one.name,
                        "degradation": degradation.name,
                        "reference": reference,
                        "weights": name,
                        "told": told,
                        **{f"low_res_{m.__name__}": score(m, high_res, low_res) for m in (psnr, ssim)},
                        **{f"super_res_{m.__name__}": score(m, high_res, super_res) for m in (psnr, ssim)},
                        **{f"super_res_dc_{m.__name__}": score(m, high_res, consistent) for m in (psnr, ssim)},
                    }


def infer(network: nn.Module, low_res: Tensor, guide: Tensor, zero_filled_by: float) -> Tensor:
    """Return super-res slices (n, H, W), as inference computes them."""
    pair = torch.stack((low_res, guide), dim=1)
    has_factors = getattr(network, "known_factors", None) is not None
    known = {"zero_filled_by": torch.tensor([zero_filled_by])} if has_factors else {}
    with torch.no_grad(), autocast(torch.device("cpu")):
        return torch.cat(
            [network(one.contiguous(memory_format=torch.channels_last), **known) for one in pair.split(1)]
        )[:, 0].float()


def restored(super_res: Tensor, low_res: Tensor, settings: Scan) -> Tensor:
    """Return slices (n, H, W) with what was measured put back, the acquisition known; thick slices as they are."""
    consistency = Consistency.of(settings)
    return consistency.restored(super_res[:, None], low_res[:, None])[:, 0] if consistency else super_res


def score(metric: Callable[[Tensor, Tensor], Tensor], high_res: Tensor, image: Tensor) -> float:
    """Return a metric's mean over slices."""
    return float(metric(high_res[:, None], image[:, None].clamp(min=0)).mean())


def loaded(path: Path) -> nn.Module:
    """Return the network of a file of weights."""
    network = build(recorded(path).model)
    GeneratorLoader(path, network).load()
    return network.eval()


def plot(table: pd.DataFrame, path: Path) -> None:
    """Draw the gains as a heat map."""
    figure = Figure(figsize=(1.2 + 0.55 * len(table.columns), 1.5 + 0.32 * len(table)), layout="constrained")
    axes = figure.subplots()
    axes.imshow(table, cmap="RdBu", vmin=-4, vmax=4, aspect="auto")
    for (i, j), gain in np.ndenumerate(table.to_numpy()):
        if np.isfinite(gain):
            axes.text(
                j,
                i,
                f"{gain:+.1f}",
                ha="center",
                va="center",
                fontsize=7,
                color="white" if abs(gain) > 2.5 else "black",
            )
    axes.set_xticks(range(len(table.columns)), [", ".join(column) for column in table.columns], rotation=60, ha="right")
    axes.set_yticks(range(len(table)), table.index)
    axes.tick_params(length=0, labelsize=7)
    axes.set_title("gain over the low-res image, with data consistency, dB", fontsize=9)
    save_plot(figure, path)


def draw_cells(targets: list[Target], network: nn.Module, cells: list[str], path: Path) -> None:
    """Draw the middle slice of cells ``data:degradation:reference``: reference, low-res, output and truth."""
    rows = []
    for cell in cells:
        data, wanted, reference = cell.split(":")
        one = next(one for one in targets if one.name == data)
        degradation = next(d for d in DEGRADATIONS if d.name == wanted)
        slices = one.slices[degradation.thick]
        high_res = slices[""][len(slices[""]) // 2]
        guide = slices[reference][len(slices[reference]) // 2] if reference != NONE else torch.zeros_like(high_res)
        low_res, settings = degradation(high_res, 0)
        super_res = infer(network, low_res[None], guide[None], settings.zero_filled_by)[0]
        turn = np.flipud if degradation.thick else np.rot90  # up is anterior, or across the slices
        grey_end, box = grey_window(high_res.numpy()[None])
        images = {"reference": guide, "low-res": low_res, "output": super_res, "truth": high_res}
        scales = {
            name: Scale(GREY, 0, grey_end if name != "reference" else grey_limit(guide.numpy()[None]))
            for name in images
        }
        captions = {
            name: f"PSNR {score(psnr, high_res[None], image[None]):.2f} dB"
            for name, image in images.items()
            if name in ("low-res", "output")
        }
        tiles = [
            Tile(turn(box.crop(image.numpy())), scales[name], name, caption=captions.get(name, " "))
            for name, image in images.items()
        ]
        error = (super_res - high_res).abs().numpy()
        tiles.append(Tile(turn(box.crop(error)), Scale(ERRORS, 0, LARGEST_ERROR), "|output - truth|", caption=" "))
        rows.append(TileRow(f"{wanted}, {reference}", tiles))
    save_paletted(draw_page(rows, ""), path)


def plot_curve(scores: pd.DataFrame, path: Path) -> None:
    """Draw the mean gain of each degradation over the updates in the names of weights."""
    numbered = scores.assign(updates=scores["weights"].str.extract(r"(\d+)$", expand=False).astype(float))
    means = numbered.pivot_table(index="updates", columns="degradation", values="gain", sort=False).sort_index()
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for name in means:
        axes.plot(means.index, means[name], marker=".", label=name)
    axes.set_xlabel("updates")
    axes.set_ylabel("gain over the low-res image, dB")
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    axes.grid(alpha=0.3)
    save_plot(figure, path)


def main() -> None:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", type=Path, nargs="+")
    parser.add_argument("--weights", type=Path, nargs="+", default=[Path(__file__).parents[1] / "models" / "model.pt"])
    parser.add_argument("--references", type=Path, nargs="*", default=[])
    parser.add_argument("--slices", type=int, default=12)
    parser.add_argument("--only", nargs="*", help="names of degradations")
    parser.add_argument("--tell", choices=TOLD, default="true", help="what the network is told of plain zero-filling")
    parser.add_argument("--off", type=float, default=1.0, help="times the factor that it is told")
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--curve", type=Path, help="a plot of gains over updates")
    parser.add_argument("--pictures", type=Path, help="a page of some cells, instead of scores")
    parser.add_argument("--cells", nargs="*", default=[], help="as 'data:degradation:reference'")
    options = parser.parse_args()
    targets = [target(path, options.references, options.slices) for path in options.targets]
    chosen = [d for d in DEGRADATIONS if not options.only or d.name in options.only]
    networks = {path.stem: loaded(path) for path in options.weights}
    if len(networks) < len(options.weights):
        parser.error("two files of weights have the same name; copy one under another")
    if options.pictures:
        draw_cells(targets, next(iter(networks.values())), options.cells, options.pictures)
        return
    scores = pd.DataFrame(rows(targets, networks, chosen, lambda *scan: options.off * TOLD[options.tell](*scan)))
    scores["gain"] = scores["super_res_dc_psnr"] - scores["low_res_psnr"]
    if options.csv:
        write_csv(options.csv, scores.round(4))
    order = list(dict.fromkeys(scores["degradation"]))
    columns = ["data", "reference"] if len(networks) == 1 else ["data", "reference", "weights"]
    table = scores.pivot_table(index="degradation", columns=columns, values="gain", sort=False).loc[order]
    print(table.round(2).T.to_string())
    print("cells below the low-res by more than 0.05 dB:", int((scores["gain"] < -0.05).sum()), "of", len(scores))
    lost = scores["super_res_psnr"] - scores["super_res_dc_psnr"]
    print(
        f"cells where data consistency loses more than 0.02 dB: {int((lost > 0.02).sum())}, at most {lost.max():.3f} dB"
    )
    if options.plot:
        plot(table, options.plot)
    if options.curve:
        plot_curve(scores, options.curve)


if __name__ == "__main__":
    main()
