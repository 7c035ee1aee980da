# SPDX-License-Identifier: Apache-2.0
"""Measure contrast and volume of the lesions of patients, as experts outlined them, in low-res images and outputs.

    python benchmarks/lesion_volumes.py DATA --csv lesion_volumes.csv --plot docs/images/lesion_volumes.png

DATA holds the folders open_ms_mni, with T2w and T1w, and open_ms_mni_extra, with the masks. A T2w is zero-filled in its
slices and sharpened with its T1w, data consistency behind the network. One rule, set by the true image alone, gives the
volume of a lesion in every image: voxels that are brighter than the middle between the lesion's core and the tissue
about it, in the experts' outline and ``REACH`` voxels about it. Fluid and other lesions are left out. Of C07 the
bundle's weights were trained, of C19 they were not.
"""

import argparse
import dataclasses
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from monai.data import MetaTensor
from scipy import ndimage

from bundle.acquisition import AxisEstimate, Consistency, zero_filled_by
from bundle.data.reading import read_volume
from bundle.drawing.png import save_plot
from bundle.engines import GeneratorLoader, TiledSliceInferer
from bundle.keys import ZERO_FILLED_BY
from bundle.kspace import zero_fill
from bundle.networks import build
from bundle.reports.spreadsheet import write_csv
from bundle.reports.text_table import markdown_table
from bundle.settings import recorded
from bundle.studies.plots import quieten
from bundle.volumes.intensity import IntensityScale, tissue_threshold

TRAINED = {"C07": "trained the weights", "C19": "held out"}
FACTORS = (2, 3, 4)
SMALLEST, CONFLUENT = 10.0, 10_000.0  # mm3 of the outline: from where lesions count, and count as one of their own
REACH, RING = 1, 4  # voxels about the outline that may belong to the lesion, and up to which there is its surroundings
LEAST_CONTRAST = 0.1  # of the surroundings; fainter ones cannot be outlined by brightness
RESAMPLED = 4000
LOW_RES, OUTPUT = "low-res", "output"
IMAGES = {LOW_RES: ("#D55E00", "s"), OUTPUT: ("#0072B2", "o")}
Row = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Lesion:
    """Hold where a lesion is, and the rule for its volume: masks (X, Y, Z) of a box about it."""

    box: tuple[slice, ...]
    outline: np.ndarray
    region: np.ndarray
    ring: np.ndarray
    threshold: float

    def contrast(self, image: np.ndarray) -> float:
        """Return how much brighter the outline is than the ring, in an image (X, Y, Z)."""
        part = image[self.box]
        return float(part[self.outline].mean(dtype=np.float64) - part[self.ring].mean(dtype=np.float64))

    def volume(self, image: np.ndarray) -> int:
        """Return the lesion's voxels."""
        return int((image[self.box][self.region] > self.threshold).sum())


def lesions(truth: np.ndarray, mask: np.ndarray, smallest: int) -> Iterator[Lesion]:
    """Yield what can be measured of the lesions of a true image and its mask, both (X, Y, Z)."""
    touching = np.ones((3, 3, 3), dtype=bool)
    labels, n_lesions = ndimage.label(mask, touching)
    tissue = truth > tissue_threshold(truth)
    for number, found in enumerate(ndimage.find_objects(labels, n_lesions), start=1):
        margin = RING + 1
        box = tuple(slice(max(s.start - margin, 0), s.stop + margin) for s in found)
        outline, others, image = labels[box] == number, mask[box] & (labels[box] != number), truth[box]
        if outline.sum() < smallest:
            continue
        core = float(np.percentile(image[outline], 75))
        distance = ndimage.distance_transform_edt(~outline)
        fluid = ~outline & (image > core)
        allowed = tissue[box] & ~fluid & ~ndimage.binary_dilation(others)
        ring = allowed & (distance > REACH + 1) & (distance <= RING)
        region = outline | (allowed & (distance <= REACH))
        if ring.sum() < smallest:
            continue
        around = float(np.median(image[ring]))
        if core - around < LEAST_CONTRAST * around:
            continue
        yield Lesion(box, outline, region, ring, (core + around) / 2)


class Network:
    """Sharpen zero-filled slices as inference does."""

    def __init__(self, weights: Path) -> None:
        self.network = build(recorded(weights).model).eval()
        GeneratorLoader(weights, self.network).load()

    def __call__(self, low_res: torch.Tensor, reference: torch.Tensor, factor: float) -> torch.Tensor:
        """Return slices (N, H, W) with data consistency."""
        rows, columns = (AxisEstimate(n, factor) for n in low_res.shape[-2:])
        known = {ZERO_FILLED_BY: zero_filled_by(rows, columns)}
        image = MetaTensor(torch.stack((low_res, reference)).movedim(1, -1)[None], meta=known)  # 1, 2, H, W, N
        output = TiledSliceInferer(mixed_precision=False)(image, self.network)[0].as_tensor().movedim(-1, 0)
        return Consistency(rows, columns).restored(output, low_res[:, None])[:, 0]


def images(network: Network, target: np.ndarray, reference: np.ndarray, used: np.ndarray) -> Iterator[Row]:
    """Yield low-res and output (X, Y, Z) of each factor; slices that are not ``used`` stay 0."""
    slices, guide = (torch.from_numpy(np.moveaxis(volume[..., used], -1, 0).copy()) for volume in (target, reference))
    for factor in FACTORS:
        low_res = zero_fill(slices, factor)
        for name, made in ((LOW_RES, low_res), (OUTPUT, network(low_res, guide, factor))):
            volume = np.zeros_like(target)
            volume[..., used] = np.moveaxis(made.numpy(), 0, -1)
            yield {"factor": factor, "image": name, "volume": volume}


def measure(data: Path, patient: str, network: Network) -> Iterator[Row]:
    """Yield one row for each lesion and image."""
    volumes = {c: read_volume(data / "open_ms_mni" / f"sub-{patient}_{c}.nii.gz") for c in ("T2w", "T1w")}
    mask = read_volume(data / "open_ms_mni_extra" / f"sub-{patient}_label-lesion_mask.nii.gz").voxels > 0
    truth, reference = (IntensityScale.from_array(v.voxels, robust=True).normalise(v.voxels) for v in volumes.values())
    voxel = float(np.prod(volumes["T2w"].spacing))
    found = list(lesions(truth, mask, round(SMALLEST / voxel)))
    used = np.zeros(truth.shape[-1], dtype=bool)
    for lesion in found:
        used[lesion.box[2]] = True
    n_outlined = ndimage.label(mask, np.ones((3, 3, 3)))[1]
    print(f"{patient}: {n_outlined} lesions outlined, {len(found)} measured", flush=True)
    for made in images(network, truth, reference, np.flatnonzero(used)):
        for number, lesion in enumerate(found):
            yield {
                "patient": patient,
                "lesion": number,
                "outline_mm3": lesion.outline.sum() * voxel,
                "factor": made["factor"],
                "image": made["image"],
                "true_mm3": lesion.volume(truth) * voxel,
                "mm3": lesion.volume(made["volume"]) * voxel,
                "true_contrast": lesion.contrast(truth),
                "contrast": lesion.contrast(made["volume"]),
            }


def bias(rows: pd.DataFrame, value: str, true: str) -> tuple[float, float, float]:
    """Return by how much a sum over lesions is off, relative to the true one, and its 95 % interval over lesions."""
    pairs = rows[[value, true]].to_numpy()
    drawn = np.random.default_rng(0).integers(0, len(pairs), (RESAMPLED, len(pairs)))
    sums = pairs[drawn].sum(axis=1)
    low, high = np.quantile(sums[:, 0] / sums[:, 1] - 1, (0.025, 0.975))
    total = pairs.sum(axis=0)
    return float(total[0] / total[1] - 1), float(low), float(high)


def table(rows: pd.DataFrame) -> str:
    """Return the biases of volume and contrast, lesions of one patient together, confluent ones for themselves."""
    lines = []
    confluent = rows.outline_mm3 >= CONFLUENT
    for part in (rows[~confluent], rows[confluent]):
        for (patient, factor, image), some in part.groupby(["patient", "factor", "image"], sort=False):
            cells = []
            for value, true in (("mm3", "true_mm3"), ("contrast", "true_contrast")):
                middle, low, high = bias(some, value, true)
                cells.append(f"{middle:+.1%}" + (f" ({low:+.1%} to {high:+.1%})" if len(some) > 1 else ""))
            each = some.mm3 / some.true_mm3 - 1
            own = (f"{some.true_mm3.sum() / 1000:.2f} ml", *cells, f"{each.abs().median():.0%}")
            lines.append((f"{patient}, {TRAINED[str(patient)]}", f"{len(some)}", f"{factor}x", str(image), *own))
    titles = ("patient", "lesions", "factor", "image", "true volume", "volume off by", "contrast off by", "one lesion")
    return markdown_table(titles, lines)


def plot(rows: pd.DataFrame, path: Path) -> None:
    """Draw the volume of each lesion over its true volume."""
    figure = Figure(figsize=(7.2, 2.9), layout="constrained")
    panels = figure.subplots(1, len(FACTORS), sharey=True)
    for axes, factor in zip(panels, FACTORS, strict=True):
        ends = [rows.true_mm3.min() * 0.7, rows.true_mm3.max() * 1.4]
        axes.plot(ends, ends, color="#444444", linewidth=0.8)
        for image, (colour, marker) in IMAGES.items():
            some = rows[(rows.factor == factor) & (rows.image == image)]
            volumes = some.mm3.clip(lower=1)  # what has vanished stands at the edge
            axes.scatter(some.true_mm3, volumes, s=9, color=colour, marker=marker, alpha=0.6, label=image, linewidths=0)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_title(f"{factor}x", fontsize=9)
        axes.set_xlabel("true volume (mm³)", fontsize=9)
        quieten(axes)
    panels[0].set_ylabel("volume (mm³)", fontsize=9)
    panels[0].legend(fontsize=8, frameon=False)
    save_plot(figure, path)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, write and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", type=Path, default=Path(__file__).parents[1] / "models" / "model.pt")
    parser.add_argument("--csv", type=Path, help="one line for each lesion and image")
    parser.add_argument("--plot", type=Path)
    given = parser.parse_args(arguments)
    network, begin = Network(given.weights), time.perf_counter()
    with torch.inference_mode():
        rows = pd.DataFrame([row for patient in TRAINED for row in measure(given.data, patient, network)])
    print(f"{time.perf_counter() - begin:.0f} s\n{table(rows)}")
    if given.csv:
        write_csv(given.csv, rows)
    if given.plot:
        plot(rows, given.plot)


if __name__ == "__main__":
    main()
