# SPDX-License-Identifier: Apache-2.0
"""Measure what a reference that lies off costs: PSNR and SSIM as it is shifted and turned.

    python benchmarks/misregistration.py DATA/open_ms/sub-L12_ses-*_T2w.nii.gz \
        --csv misregistration.csv --plot docs/images/misregistration.png

Targets need a T1w (or --contrast) on their grid beside them, and must not have trained the weights. Each target is
zero-filled as in training; the reference is moved rigidly about the head's centre, resampled once, and given to the
network as it is (``register: grid``) and as inference uses it (``register: auto``), which looks where it lies. Scores
are those of evaluation, on evenly spaced slices that hold tissue.
"""

import argparse
import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from monai.data import MetaTensor
from nibabel.affines import from_matvec
from scipy.spatial.transform import Rotation
from torch import nn

from bundle.case import Case
from bundle.drawing.png import save_plot
from bundle.engines import GeneratorLoader, TiledSliceInferer
from bundle.keys import CASE, HIGH_RES, IMAGE, LOW_RES, PRED, PRED_CONSISTENT, REFERENCE
from bundle.kspace import zero_fill
from bundle.metrics import psnr, ssim
from bundle.networks import build
from bundle.registration import PlacedVolume, resample
from bundle.registration.volumes import head_places
from bundle.reports.spreadsheet import write_csv
from bundle.reports.text_table import markdown_table
from bundle.settings import recorded
from bundle.studies.plots import axis_title, quieten
from bundle.transforms import (
    AlignReferenced,
    DataConsistencyd,
    LoadPaird,
    NormaliseIntensityd,
    SlicesLastd,
    StackContrastsd,
    TissueSlicesd,
    ZeroFilld,
)

SHIFTS = (0.25, 0.5, 1.0, 2.0, 4.0)
TURNS = (1.0, 2.0, 3.0)
NONE, REMOVED = "as it is", "reference removed"
IMAGES = {"LR": LOW_RES, "SR": PRED, "SR + DC": PRED_CONSISTENT}
GIVEN, USED = "as given", "as used"
Row = dict[str, Any]
Rows = Iterator[Row]


@dataclass(frozen=True)
class Motion:
    """Say how the reference is moved: along or about an axis of the target's voxels, in mm or degrees."""

    kind: str
    axis: int
    amount: float
    unit: str

    def matrix(self, affine: np.ndarray, centre: np.ndarray) -> np.ndarray:
        """Return the rigid motion, (4, 4), RAS mm."""
        direction = affine[:3, self.axis] / np.linalg.norm(affine[:3, self.axis])
        if self.unit == "mm":
            return from_matvec(np.eye(3), self.amount * direction)
        turn = Rotation.from_rotvec(np.radians(self.amount) * direction).as_matrix()
        return from_matvec(turn, centre - turn @ centre)


def motions() -> Iterator[Motion]:
    """Yield what is tried; axis 0 is in plane, axis 2 through it."""
    for kind, axis, amounts, unit in (
        ("shift in plane", 0, SHIFTS, "mm"),
        ("shift through plane", 2, SHIFTS, "mm"),
        ("turn in plane", 2, TURNS, "degrees"),
        ("turn through plane", 0, TURNS, "degrees"),
    ):
        yield from (Motion(kind, axis, amount, unit) for amount in amounts)


def network(weights: Path) -> nn.Module:
    """Return the network that a training has left, with its weights."""
    found = build(recorded(weights).model)
    GeneratorLoader(weights, found).load()
    return found.eval()


class Trial:
    """Degrade one target once, and score the network with any reference."""

    def __init__(self, path: Path, contrast: str, factor: float, n_slices: int) -> None:
        beside = path.with_name(path.name.replace("_T2w", f"_{contrast}"))
        self.case = path.name.removesuffix("_T2w.nii.gz")
        self.loaded = LoadPaird()({IMAGE: str(path), REFERENCE: str(beside)})
        self.steps = (
            SlicesLastd(),
            TissueSlicesd(n_slices),
            NormaliseIntensityd(),
            ZeroFilld(factor),
            StackContrastsd(),
        )
        self.consistency = DataConsistencyd()
        self.inferer = TiledSliceInferer()
        self.target, self.reference = (
            PlacedVolume(self.loaded[key][0].numpy(), self.loaded[key].affine.numpy(), key)
            for key in (IMAGE, REFERENCE)
        )
        slices = torch.from_numpy(self.target.voxels).movedim(-1, 0)
        self.seen = PlacedVolume(zero_fill(slices, factor).movedim(0, -1).numpy(), self.target.affine, IMAGE)
        coarse = self.target.coarse
        self.centre = head_places(coarse).mean(axis=0)

    def moved(self, motion: Motion) -> PlacedVolume:
        """Return the reference after a motion, interpolated once."""
        matrix = np.linalg.inv(motion.matrix(self.target.affine, self.centre))
        voxels = resample(self.reference, self.target.voxels.shape, self.target.affine, matrix)
        return PlacedVolume(voxels, self.target.affine, REFERENCE)

    def scores(self, generator: nn.Module, reference: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Return PSNR and SSIM of each slice of low-res, output, and output with data consistency."""
        item = dict(self.loaded)
        item[REFERENCE] = MetaTensor(torch.from_numpy(reference)[None], meta=self.loaded[REFERENCE].meta)
        for step in self.steps:
            item = step(item)
        item[PRED] = self.inferer(item[IMAGE][None], generator)[0]
        item = self.consistency(item)
        true, *images = (torch.as_tensor(item[key]).float().movedim(-1, 0) for key in (HIGH_RES, *IMAGES.values()))
        return {
            name: (psnr(true, image).numpy(), ssim(true, image).numpy())
            for name, image in zip(IMAGES, images, strict=True)
        }

    def as_used(self, reference: PlacedVolume) -> tuple[np.ndarray, bool]:
        """Return what inference makes of a reference that comes on the target's grid, and whether it warns."""
        volumes = {IMAGE: self.seen.voxels, REFERENCE: reference.voxels}
        item = {key: self.loaded[key].new_tensor(voxels[None]) for key, voxels in volumes.items()}
        aligned = AlignReferenced("auto")(item | {CASE: Case(self.case)})
        return aligned[REFERENCE][0].numpy(force=True), bool(aligned[CASE].warnings)


def measure(trial: Trial, generator: nn.Module) -> Iterator[Row]:
    """Yield one row for every slice and image of one case."""

    def rows(kind: str, amount: float, way: str, warned: bool | None, runner: nn.Module, reference: np.ndarray) -> Rows:
        for image, (decibels, similarity) in trial.scores(runner, reference).items():
            for position in range(len(decibels)):
                yield {
                    "case": trial.case,
                    "slice": position,
                    "motion": kind,
                    "amount": amount,
                    "register": way,
                    "image": image,
                    "psnr": float(decibels[position]),
                    "ssim": float(similarity[position]),
                    "warned": warned,
                }

    def both(kind: str, amount: float, reference: PlacedVolume) -> Rows:
        as_given = list(rows(kind, amount, GIVEN, None, generator, reference.voxels))
        yield from as_given
        used, warned = trial.as_used(reference)
        if np.array_equal(used, reference.voxels):
            yield from ({**row, "register": USED, "warned": warned} for row in as_given)
        else:
            yield from rows(kind, amount, USED, warned, generator, used)

    nothing = np.zeros_like(trial.reference.voxels)
    yield from rows(REMOVED, 0, GIVEN, None, generator, nothing)
    yield from both(NONE, 0, trial.reference)
    for motion in motions():
        yield from both(motion.kind, motion.amount, trial.moved(motion))


def mean(rows: Sequence[Row], kind: str, amount: float, image: str, metric: str, way: str = GIVEN) -> float | None:
    """Return the mean of a score over slices and cases; ``None`` where there is none."""
    wanted = {"motion": kind, "amount": amount, "register": way, "image": image}
    chosen = [row[metric] for row in rows if all(row[name] == value for name, value in wanted.items())]
    return float(np.mean(chosen)) if chosen else None


def table(rows: Sequence[Row]) -> str:
    """Return the means as a Markdown table."""
    header = ("reference", "moved by", "PSNR", "SSIM", "PSNR as used", "SSIM as used", "warned")
    low = (mean(rows, NONE, 0, "LR", metric) for metric in ("psnr", "ssim"))
    lines = [("(low-res)", "", f"{next(low):.2f}", f"{next(low):.3f}", "", "", "")]
    for kind, amount in dict.fromkeys((row["motion"], row["amount"]) for row in rows):
        found = [
            mean(rows, kind, amount, "SR + DC", metric, way) for way in (GIVEN, USED) for metric in ("psnr", "ssim")
        ]
        scores = [
            "" if score is None else f"{score:.{places}f}" for score, places in zip(found, (2, 3, 2, 3), strict=True)
        ]
        moved = (row for row in rows if (row["motion"], row["amount"], row["register"]) == (kind, amount, USED))
        told = {row["case"]: row["warned"] for row in moved}
        by = f"{amount:g} {'mm' if 'shift' in kind else 'degrees'}" if amount else ""
        lines.append((kind, by, *scores, f"{sum(told.values())} of {len(told)}" if told else ""))
    return markdown_table(header, lines)


def plot(rows: Sequence[Row], path: Path) -> None:
    """Draw the scores of the output with data consistency over shifts and turns."""
    figure = Figure(figsize=(7.2, 5.4), layout="constrained")
    panels = figure.subplots(2, 2, sharey="row", sharex="col")
    levels = {"low-res": (NONE, "LR", ":"), "reference removed": (REMOVED, "SR + DC", "--")}
    columns = (("shift", SHIFTS, "shift of the reference (mm)"), ("turn", TURNS, "turn of the reference (degrees)"))
    for (line, metric), (column, (kind, amounts, title)) in itertools.product(
        enumerate(("psnr", "ssim")), enumerate(columns)
    ):
        axes = panels[line, column]
        for plane, colour, marker in (("in plane", "#0072B2", "o"), ("through plane", "#D55E00", "s")):
            for way, dashes, filled, told in ((GIVEN, "-", colour, ""), (USED, "--", "none", ", as used")):
                values = [mean(rows, NONE, 0, "SR + DC", metric, way)]
                values += [mean(rows, f"{kind} {plane}", amount, "SR + DC", metric, way) for amount in amounts]
                style = {"color": colour, "marker": marker, "markersize": 4, "linestyle": dashes}
                axes.plot([0, *amounts], values, markerfacecolor=filled, label=f"{plane}{told}", **style)
        for label, (motion, image, dashes) in levels.items():
            axes.axhline(mean(rows, motion, 0, image, metric), color="#444444", linestyle=dashes, label=label)
        quieten(axes)
        axes.set_xlabel(title if line else "", fontsize=9)
        axes.set_ylabel("" if column else axis_title(metric), fontsize=9)
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    save_plot(figure, path)


def main() -> None:
    """Measure, write and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", type=Path, nargs="+", help="sub-*_T2w.nii.gz")
    parser.add_argument("--weights", type=Path, default=Path(__file__).parents[1] / "models" / "model.pt")
    parser.add_argument("--contrast", default="T1w", help="of the reference")
    parser.add_argument("--slices", type=int, default=6, help="of each target")
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--plot", type=Path)
    arguments = parser.parse_args()
    factor = recorded(arguments.weights).model.factor
    generator = network(arguments.weights)
    rows: list[Row] = []
    for path in arguments.targets:
        begin = time.perf_counter()
        trial = Trial(path, arguments.contrast, factor, arguments.slices)
        with torch.inference_mode():
            rows += measure(trial, generator)
        print(f"{trial.case}: {time.perf_counter() - begin:.0f} s", flush=True)
    print(table(rows))
    if arguments.csv:
        write_csv(arguments.csv, pd.DataFrame(rows))
    if arguments.plot:
        plot(rows, arguments.plot)


if __name__ == "__main__":
    main()
