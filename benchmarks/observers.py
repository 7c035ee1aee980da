# SPDX-License-Identifier: Apache-2.0
"""Measure what an observer sees in the low-res image, in the output, and in the output with data consistency.

    python benchmarks/observers.py DATA --weights models/model.pt --csv observers.csv --plot docs/images/observers.png

PSNR can rise while detectability falls (arXiv 2602.22535). So signals are drawn into even white matter of real slices
before they are degraded, and observers (observer_models.py) tell two alternatives apart:

points  two points or one long one of the same sum and second moments, by separation (Rayleigh's task)
lines   line pairs or an even spot of the same mean, by period
lesion  a lesion or none, by diameter and sign, in the target, in the reference, or in both

Separations and periods are in acquired pixels (factor times voxel, or the spacing of thick slices); points grow with
them, so that the task is the same at every factor and voxel. All orientations and places between pixels are random;
thick slices have signals that lie across them, to 30 degrees. The acquisition has noise, without which a linear
observer of the low-res would be limited by anatomy alone.

DATA holds open_ms, open_ms_mni and tumour_mni. The patients have trained no weights of the bundle.
"""

import argparse
import dataclasses
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import observer_models as observers
import pandas as pd
import torch
from degradations import Degradation, in_plane, infer, loaded, restored, target, thick
from drawn_lesions import homogeneous_places, lesion_shape
from matplotlib.figure import Figure
from observer_models import Array
from scipy.ndimage import uniform_filter
from torch import Tensor, nn

from bundle.acquisition import AxisEstimate, Consistency, Scan, SliceAxis, ThroughPlane
from bundle.drawing.png import save_plot
from bundle.reports.spreadsheet import write_csv
from bundle.volumes.intensity import tissue_threshold

PATIENTS = ("open_ms/sub-L12_ses-1", "open_ms_mni/sub-C19", "tumour_mni/sub-DU7294")
IMAGES = ("low-res", "output", "output + DC")
DEGRADATIONS = {"4x": 4.0, "3x": 3.0, "2x": 2.0, "slices of 4 voxels": 4.0}  # acquired pixel or slice, in voxels

SEPARATIONS = (0.8, 1.0, 1.2, 1.4, 1.7, 2.1)  # acquired pixels
PERIODS = (1.4, 1.7, 2.0, 2.4, 2.8)  # acquired pixels; 2 is the last that k-space holds
DIAMETERS = (2.0, 4.0, 6.0, 8.0)  # mm
POINT_WIDTH, SPOT_WIDTH = 0.6, 3.0  # acquired pixels, full width at half maximum
POINT_CONTRAST, LINE_CONTRAST, LESION_CONTRAST = 1.0, 0.3, 0.15  # of white matter
REFERENCE_CONTRAST = -0.3  # of white matter of the reference, for a signal that is bright in the target
SIGNS = {"bright": 1, "dark": -1}

TILT = np.pi / 6  # of signals across thick slices, at most
UNEVEN = 0.2  # standard deviation over mean of a patch, above which it is no even white matter
PATCH = 12.0  # mm from a place to the edges of what an observer looks at ...
DRAWN = 20.0  # ... and of what is drawn into
N_CANDIDATES = 24  # slices that are searched for even white matter
FOLDS = 4
DRAWS = 400
LEVEL = 0.9  # of the area under the curve, where points are resolved
FALSE_POSITIVES = 0.1

Kind = Literal["nothing", "pair", "long", "lines", "spot", "lesion"]


@dataclass(frozen=True)
class Drawing:
    """What is drawn at every place: size in acquired pixels, of lesions in mm; contrasts relative to white matter."""

    kind: Kind
    size: float = 0.0
    target: float = 0.0
    reference: float = 0.0
    in_reference: Kind | None = None  # where that is not what is drawn into the target


@dataclass(frozen=True)
class Place:
    """Where something is drawn: the index of its slice, its centre in pixels, its direction and its phase in rad."""

    index: int
    centre: tuple[float, float]
    angle: float
    phase: float


@dataclass
class Site:
    """Slices (n, H, W) of a patient, the level of white matter in both contrasts, and places in even white matter."""

    name: str
    spacing: tuple[float, float]
    target: Tensor
    reference: Tensor
    levels: tuple[float, float]
    places: list[Place]


@dataclass(frozen=True)
class Setting:
    """A degradation, and its acquired pixel in voxels."""

    degradation: Degradation
    voxels: float


# ----------------------------------------------------------------------------------------------------------- drawing


def site(data: Path, name: str, is_thick: bool, n_places: int) -> Site | None:
    """Return the slices of a patient that hold the most even white matter; ``None`` where voxels are no cubes."""
    found = target(data / f"{name}_T2w.nii.gz", [], N_CANDIDATES)
    if is_thick not in found.slices:
        return None
    slices, reference = (found.slices[is_thick][contrast] for contrast in ("", "T1w"))
    spacing = found.spacing[is_thick]
    tissue = (slices > tissue_threshold(slices.numpy())).numpy()
    medians = [float(np.median(images.numpy()[tissue])) for images in (slices, reference)]
    spots = [
        homogeneous_places(image, spacing, 12, _white_matter(image, guide, spacing[0], medians))
        for image, guide in zip(slices.numpy(), reference.numpy(), strict=True)
    ]
    kept: list[int] = []
    for index in sorted(range(len(spots)), key=lambda i: -len(spots[i])):
        if sum(len(spots[i]) for i in kept) < n_places:
            kept.append(index)
    generator = np.random.default_rng(zlib.crc32(f"{name}{is_thick}".encode()))
    places = [
        Place(
            number,
            (row + generator.uniform(-0.5, 0.5), column + generator.uniform(-0.5, 0.5)),
            generator.uniform(-TILT, TILT) if is_thick else generator.uniform(0, np.pi),
            generator.uniform(0, 2 * np.pi),
        )
        for number, index in enumerate(kept)
        for row, column in spots[index]
    ]
    levels = [
        float(np.median([images[p.index, round(p.centre[0]), round(p.centre[1])] for p in places]))
        for images in (slices[kept], reference[kept])
    ]
    return Site(name, spacing, slices[kept], reference[kept], (levels[0], levels[1]), places)


def _white_matter(image: np.ndarray, guide: np.ndarray, spacing: float, medians: Sequence[float]) -> np.ndarray:
    """Tell where a patch is even, darker than the median tissue in T2w, and brighter in T1w."""
    width, margin = round(14 / spacing), round(PATCH / spacing) + 1
    mean, mean_guide = uniform_filter(image, width), uniform_filter(guide, width)
    variance = (uniform_filter(image**2, width) - mean**2).clip(min=0)
    white = (np.sqrt(variance) < UNEVEN * mean) & (mean < medians[0]) & (mean_guide > medians[1])
    return white & np.pad(np.ones([n - 2 * margin for n in image.shape], dtype=bool), margin)


def shape_of(
    drawing: Drawing, shape: tuple[int, ...], at: Place, spacing: tuple[float, float], scale: float
) -> np.ndarray:
    """Return what a drawing adds to white matter of 1, an array of a shape; the scale is mm in an acquired pixel."""
    places = observers.turned(shape, at.centre, at.angle, spacing)
    size, width = drawing.size * scale, POINT_WIDTH * scale
    match drawing.kind:
        case "pair":
            return observers.point_pair(*places, size, width)
        case "long":
            return observers.long_point(*places, size, width)
        case "lines":
            return observers.line_pairs(*places, size, at.phase, SPOT_WIDTH * scale)
        case "spot":
            return observers.line_pairs(*places, np.inf, np.pi / 2, SPOT_WIDTH * scale)
        case "lesion":
            return lesion_shape(shape, at.centre, drawing.size, spacing)
        case _:
            return np.zeros(shape)


def drawn(one: Site, drawing: Drawing, scale: float) -> tuple[Tensor, Tensor]:
    """Return the slices of target and reference (n, H, W) with a drawing at every place."""
    kinds = (drawing, dataclasses.replace(drawing, kind=drawing.in_reference or drawing.kind))
    added = np.zeros((2, *one.target.shape), dtype=np.float32)
    for place in one.places if drawing.kind != "nothing" else []:
        window, inside = patch(one, place, DRAWN)
        for shapes, kind in zip(added, kinds, strict=True):
            part = shapes[place.index][window]
            part += shape_of(kind, part.shape, inside, one.spacing, scale)
    contrasts = (drawing.target * one.levels[0], drawing.reference * one.levels[1])
    high_res, guide = (
        (image + contrast * torch.from_numpy(shapes)).clamp(min=0)
        for image, contrast, shapes in zip((one.target, one.reference), contrasts, added, strict=True)
    )
    return high_res, guide


def patch(one: Site, place: Place, reach: float) -> tuple[tuple[slice, slice], Place]:
    """Return the rows and columns within a reach in mm of a place, as far as there are any, and the place in them."""
    windows = []
    for centre, spacing, size in zip(place.centre, one.spacing, one.target.shape[-2:], strict=True):
        middle, half = round(centre), round(reach / spacing)
        windows.append(slice(max(middle - half, 0), min(middle + half + 1, size)))
    rows, columns = windows
    inside = place.centre[0] - rows.start, place.centre[1] - columns.start
    return (rows, columns), dataclasses.replace(place, centre=inside)


# ----------------------------------------------------------------------------------------------------------- imaging


def images(one: Site, drawing: Drawing, setting: Setting, network: nn.Module) -> dict[str, list[np.ndarray]]:
    """Return the patches of all places, relative to white matter, in the low-res, the output and that with DC."""
    high_res, guide = drawn(one, drawing, setting.voxels * one.spacing[0])
    scans = [
        setting.degradation(image, zlib.crc32(f"{one.name}{drawing}{setting.degradation.name}{i}".encode()))
        for i, image in enumerate(high_res)
    ]
    low_res = torch.stack([image for image, _ in scans])
    output = in_head(network, low_res, guide, scans[0][1].zero_filled_by)
    kinds = dict(zip(IMAGES, (low_res, output, with_consistency(output, low_res, scans[0][1])), strict=True))
    return {
        kind: [(slices[place.index][patch(one, place, PATCH)[0]] / one.levels[0]).numpy() for place in one.places]
        for kind, slices in kinds.items()
    }


def in_head(network: nn.Module, low_res: Tensor, guide: Tensor, zero_filled_by: float) -> Tensor:
    """Return the output (n, H, W), computed about the head alone, by the blocks of pixels of a slice; air is 0."""
    head = (guide > 0.02).nonzero()[:, 1:]
    starts, stops = (head.amin(0) - 12).clamp(min=0) // 4 * 4, head.amax(0) + 13
    rows, columns = (slice(int(start), int(stop)) for start, stop in zip(starts, stops, strict=True))
    output = torch.zeros_like(low_res)
    output[:, rows, columns] = infer(network, low_res[:, rows, columns], guide[:, rows, columns], zero_filled_by)
    return output


def with_consistency(output: Tensor, low_res: Tensor, settings: Scan) -> Tensor:
    """Return slices (n, H, W) with what was measured put back, of thick slices too, the acquisition known."""
    if not isinstance(settings.rows, SliceAxis):
        return restored(output, low_res, settings)
    in_slices = Consistency(*(AxisEstimate(n) for n in (output.shape[2], output.shape[0])))
    turned = (volume.permute(2, 0, 1)[None] for volume in (output, low_res))  # 1, W, n, H
    return ThroughPlane(settings.rows).restored(*turned, in_slices)[0].permute(1, 2, 0)


# --------------------------------------------------------------------------------------------------------- observing


class Observed:
    """All patches of a degradation, and what observers make of them."""

    def __init__(self, sites: list[Site], setting: Setting, network: nn.Module) -> None:
        self.sites, self.setting, self.network = sites, setting, network
        self.patients = np.array([number for number, one in enumerate(sites) for _ in one.places])
        slices = [place.index for one in sites for place in one.places]
        self.folds = np.asarray(slices) % FOLDS  # no slice is in two folds
        self.counts = observers.bootstrap_counts(self.patients, DRAWS, seed=0)
        self._patches: dict[Drawing, list[dict[str, list[np.ndarray]]]] = {}

    def patches(self, drawing: Drawing) -> list[dict[str, list[np.ndarray]]]:
        """Return the patches of a drawing, by site and image."""
        if drawing not in self._patches:
            self._patches[drawing] = [images(one, drawing, self.setting, self.network) for one in self.sites]
        return self._patches[drawing]

    def seen(self, drawing: Drawing, channels: list[np.ndarray], image: str) -> Array:
        """Return what channels, those of each place, see of its patch, (n_places, n_channels)."""
        patches = [one for found in self.patches(drawing) for one in found[image]]
        return np.stack([np.tensordot(c, p, 2) for c, p in zip(channels, patches, strict=True)]).astype(np.float64)

    def scores(self, train: tuple[Array, Array], *others: Array) -> list[Array]:
        """Return the scores of examples (n_places, n_channels) by templates of other slices."""
        return observers.cross_fitted_scores(train, self.folds, self.patients, *others)

    def channels(self, first: Drawing, second: Drawing) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Return the channels of each place that suit a task, and the last of them, the difference of both signals."""
        suited, difference = [], []
        for one in self.sites:
            scale = self.setting.voxels * one.spacing[0]
            for place in one.places:
                (rows, columns), inside = patch(one, place, PATCH)
                shape = rows.stop - rows.start, columns.stop - columns.start
                where = observers.turned(shape, inside.centre, place.angle, one.spacing)
                shapes = [shape_of(kind, shape, inside, one.spacing, scale) for kind in (first, second)]
                signal = (shapes[0] - shapes[1])[None] / np.linalg.norm(shapes[0] - shapes[1])
                suited.append(np.concatenate((channels_of(first, where, inside, scale), signal)))
                difference.append(signal)
        return suited, difference


def channels_of(drawing: Drawing, where: tuple[Array, Array], at: Place, scale: float) -> np.ndarray:
    """Return the channels of a channelised observer (n, rows, columns), wide enough for the signal and its blur."""
    size = drawing.size * (1 if drawing.kind == "lesion" else scale)
    if drawing.kind == "lines":
        return observers.stripe_channels(*where, [ratio * size for ratio in (0.7, 1, 1.4)], at.phase, 3 * scale)
    width = 2.5 * np.hypot(size / 2, 0.5 * scale)
    if drawing.kind == "lesion":
        return observers.laguerre_gauss(*where, width, 6)
    return observers.laguerre_gauss(*where, width, 3, (0, 2, 4))


# ------------------------------------------------------------------------------------------------------------- tasks


def two_alternatives(
    seen: Observed, what: dict[str, Any], learnt: tuple[Drawing, Drawing], shown: tuple[Drawing, Drawing]
) -> Iterator[dict[str, Any]]:
    """Yield the area of either observer in each image, for two drawings of which one is shown, having learnt two."""
    suited, difference = seen.channels(*learnt)
    channelised, matched = {}, {}
    for image in IMAGES:
        examples, tested = ([seen.seen(drawing, suited, image) for drawing in two] for two in (learnt, shown))
        channelised[image] = seen.scores((examples[0], examples[1]), *tested)
        matched[image] = [seen.seen(drawing, difference, image)[:, 0] for drawing in shown]
    for observer, scores in (("channelised", channelised), ("matched filter", matched)):
        yield from compared(seen, {**what, "sign": "", "observer": observer}, scores)


def points(seen: Observed, separation: float) -> Iterator[dict[str, Any]]:
    """Yield the areas for two points or one in the target, in both, and in the reference beside one in the target."""
    what = {"task": "points", "size": separation}
    in_target, in_both = (
        (Drawing("pair", separation, POINT_CONTRAST, contrast), Drawing("long", separation, POINT_CONTRAST, contrast))
        for contrast in (0.0, REFERENCE_CONTRAST)
    )
    in_reference = dataclasses.replace(in_both[1], in_reference="pair"), in_both[1]
    yield from two_alternatives(seen, what | {"where": "target"}, in_target, in_target)
    yield from two_alternatives(seen, what | {"where": "both"}, in_both, in_both)
    yield from two_alternatives(seen, what | {"where": "reference"}, in_both, in_reference)


def compared(seen: Observed, what: dict[str, Any], scores: dict[str, list[Array]]) -> Iterator[dict[str, Any]]:
    """Yield the area in each image, its interval, and the interval of what it is above that of the low-res."""
    draws = {image: observers.area_under_curve(*pair, seen.patients, seen.counts) for image, pair in scores.items()}
    areas = {image: float(observers.area_under_curve(*pair, seen.patients)[0]) for image, pair in scores.items()}
    for image in IMAGES:
        low, high = observers.interval(draws[image])
        gain_low, gain_high = observers.interval(draws[image] - draws[IMAGES[0]])
        yield {
            "degradation": seen.setting.degradation.name,
            **what,
            "image": image,
            "area": areas[image],
            "low": low,
            "high": high,
            "gain": areas[image] - areas[IMAGES[0]],
            "gain_low": gain_low,
            "gain_high": gain_high,
            "n": len(seen.folds),
            "draws": draws[image],
        }


def lesions(seen: Observed, diameter: float, sign: str) -> Iterator[dict[str, Any]]:
    """Yield the areas for a lesion in the target, in both and in the reference, and how often the last is seen.

    A lesion in the reference alone is looked for by the observer that has learnt those of the target.
    """
    in_target, in_reference = (SIGNS[sign] * c for c in (LESION_CONTRAST, REFERENCE_CONTRAST))
    absent = Drawing("nothing")
    present = {
        "target": Drawing("lesion", diameter, in_target),
        "both": Drawing("lesion", diameter, in_target, in_reference),
        "reference": Drawing("lesion", diameter, 0, in_reference),
    }
    channels = seen.channels(present["target"], absent)[0]
    found = {
        (where, image): seen.seen(drawing, channels, image)
        for where, drawing in (present | {"absent": absent}).items()
        for image in IMAGES
    }
    what = {"task": "lesion", "size": diameter, "sign": sign, "observer": "channelised"}
    for where in present:
        learnt = "both" if where == "both" else "target"
        scores = {
            image: seen.scores(
                (found[learnt, image], found["absent", image]), found[where, image], found["absent", image]
            )
            for image in IMAGES
        }
        yield from compared(seen, what | {"where": where}, scores)
    yield from false_positives(seen, what, found)


def false_positives(
    seen: Observed, what: dict[str, Any], found: dict[tuple[str, str], Array]
) -> Iterator[dict[str, Any]]:
    """Yield how often the low-res image's observer sees a lesion where there is none, at its own threshold of 10 %."""
    train = found["target", IMAGES[0]], found["absent", IMAGES[0]]
    looked_at = {(where, image): found[where, image] for where in ("absent", "reference") for image in IMAGES}
    scores = seen.scores(train, *looked_at.values())
    threshold = np.quantile(scores[0], 1 - FALSE_POSITIVES)
    for (where, image), score in zip(looked_at, scores, strict=True):
        rates = (seen.counts @ (score > threshold)) / len(score)
        low, high = observers.interval(rates)
        yield {
            "degradation": seen.setting.degradation.name,
            **what,
            "task": "false positives",
            "where": where,
            "image": image,
            "area": float((score > threshold).mean()),
            "low": low,
            "high": high,
            "n": len(score),
        }


def measured(seen: Observed) -> Iterator[dict[str, Any]]:
    """Yield all that is measured of a degradation."""
    for separation in SEPARATIONS:
        yield from points(seen, separation)
    for period in PERIODS:
        two = Drawing("lines", period, LINE_CONTRAST), Drawing("spot", 0, LINE_CONTRAST)
        yield from two_alternatives(seen, {"task": "lines", "size": period, "where": "target"}, two, two)
    for sign in SIGNS:
        for diameter in DIAMETERS:
            yield from lesions(seen, diameter, sign)


# ----------------------------------------------------------------------------------------------------------- printing


def resolved(scores: pd.DataFrame) -> pd.DataFrame:
    """Return for each degradation and image where the area of points reaches 0.9, in mm of 1 mm voxels, and the gain.

    Where a draw does not reach it, its separation is the largest that was tried.
    """
    rows = []
    judged = scores[(scores["task"] == "points") & (scores["where"] != "reference")]
    for (degradation, where, observer), one in judged.groupby(["degradation", "where", "observer"], sort=False):
        scale = DEGRADATIONS[degradation]
        at = {}
        for image, of_image in one.groupby("image", sort=False):
            areas = np.stack([[area, *draws] for area, draws in zip(of_image["area"], of_image["draws"], strict=True)])
            at[image] = scale * observers.crossing(SEPARATIONS, areas.T, LEVEL)
        row = {"degradation": degradation, "signal in": where, "observer": observer}
        for image in IMAGES:
            low, high = observers.interval(at[image][1:])
            row[image] = f"{_length(at[image][0])} ({_length(low)} to {_length(high)})"
        for image in IMAGES[1:]:
            capped = [np.minimum(at[kind], scale * SEPARATIONS[-1]) for kind in (IMAGES[0], image)]
            gained = capped[0] - capped[1]
            low, high = observers.interval(gained[1:])
            row[f"gained, {image}"] = f"{gained[0]:+.2f} ({low:+.2f} to {high:+.2f})"
        rows.append(row)
    return pd.DataFrame(rows)


def _length(value: float) -> str:
    return f"{value:.2f}" if np.isfinite(value) else "none"


def print_table(table: pd.DataFrame) -> None:
    """Print a table as Markdown."""
    print(f"| {' | '.join(str(column) for column in table.columns)} |")
    print("|" + " --- |" * len(table.columns))
    for row in table.itertuples(index=False):
        print(f"| {' | '.join(str(cell) for cell in row)} |")


def by_size(scores: pd.DataFrame, images: Sequence[str], index: list[str]) -> pd.DataFrame:
    """Return areas or rates, one column for each size, the images one after another in a cell."""
    names = ["degradation", *index]
    wide = scores.pivot_table(index=[*names, "size"], columns="image", values="area", sort=False)[list(images)]
    cells = wide.apply(lambda row: " / ".join(f"{area:.2f}" for area in row), axis=1)
    return cells.unstack("size", sort=False).reset_index()


def print_acceptance(scores: pd.DataFrame) -> None:
    """Print whether any area is below that of the low-res beyond its interval, and which."""
    judged = scores[(scores["image"] != IMAGES[0]) & scores["task"].isin(["points", "lines", "lesion"])]
    judged = judged[judged["where"] != "reference"]
    below = judged[judged["gain_high"] < 0]
    print(
        f"\nacceptance: {'passed' if below.empty else 'not passed'}: {len(below)} of {len(judged)} areas of output or "
        f"output + DC are below that of the low-res by an interval of 95 % (about {0.025 * len(judged):.0f} by chance) "
        f"and {int((judged['gain_low'] > 0).sum())} above"
    )
    for row in below.itertuples(index=False):
        print(
            f"- {row.degradation}, {row.task} {row.size:g} {row.sign}, in {row.where}, {row.observer}, {row.image}: "
            f"{row.area:.2f}, {row.gain:+.2f} ({row.gain_low:+.2f} to {row.gain_high:+.2f})"
        )


def plot(scores: pd.DataFrame, path: Path) -> None:
    """Draw areas over separations, periods and diameters, a row for each degradation."""
    names = list(dict.fromkeys(scores["degradation"]))
    figure = Figure(figsize=(11, 2.6 * len(names)), layout="constrained")
    grid = figure.subplots(len(names), 4, sharey=True, squeeze=False)
    columns = [
        ("two points or one, by separation", "acquired pixels", "points", ["target"]),
        ("the same, also or only (dotted)\nin the reference", "acquired pixels", "points", ["both", "reference"]),
        ("line pairs or none, by period", "acquired pixels", "lines", ["target"]),
        ("lesion or none, by diameter\n(dashed: dark)", "mm", "lesion", ["target"]),
    ]
    for row, name in zip(grid, names, strict=True):
        for axes, (title, unit, task, where) in zip(row, columns, strict=True):
            own = scores[(scores["degradation"] == name) & (scores["task"] == task) & scores["where"].isin(where)]
            draw_areas(axes, own[own["observer"] == "channelised"])
            axes.set_xlabel(unit, fontsize=8)
            if name == names[0]:
                axes.set_title(title, fontsize=9)
        row[0].set_ylabel(f"{name}\narea under the curve", fontsize=8)
    grid[0][0].legend(fontsize=7, loc="lower right")
    save_plot(figure, path)


def draw_areas(axes: Any, scores: pd.DataFrame) -> None:
    """Draw areas and their intervals over the size, a colour for each image."""
    for (image, sign, where), part in scores.groupby(["image", "sign", "where"], sort=False):
        areas = part["area"].to_numpy()
        axes.errorbar(
            part["size"],
            areas,
            np.abs(part[["low", "high"]].to_numpy().T - areas),
            color=f"C{IMAGES.index(image)}",
            linestyle=":" if where == "reference" else "--" if sign == "dark" else "-",
            marker=".",
            linewidth=1.2,
            elinewidth=0.7,
            label=image,
        )
    axes.axhline(LEVEL, color="grey", linewidth=0.5)
    axes.set_ylim(0.4, 1.02)
    axes.grid(alpha=0.3)
    axes.tick_params(labelsize=7)


def main() -> None:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", type=Path, default=Path(__file__).parents[1] / "models" / "model.pt")
    parser.add_argument("--only", nargs="*", choices=DEGRADATIONS, help="degradations, all by default")
    parser.add_argument("--places", type=int, default=56, help="of each patient, at least, where there are as many")
    parser.add_argument("--noise", type=float, default=0.02, help="of the low-res, of the mean tissue")
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    network = loaded(options.weights)
    rows: list[dict[str, Any]] = []
    for is_thick in (False, True):
        names = [n for n in options.only or DEGRADATIONS if n.startswith("slices") == is_thick]
        sites = [found for n in PATIENTS if names and (found := site(options.data, n, is_thick, options.places))]
        for name in names:
            factor = DEGRADATIONS[name]
            plain = thick(name, factor, factor) if is_thick else in_plane(name, factor, factor)
            setting = Setting(dataclasses.replace(plain, noise=options.noise), factor)
            rows += measured(Observed(sites, setting, network))
    scores = pd.DataFrame(rows)
    if options.csv:
        write_csv(options.csv, scores.drop(columns="draws").round(4))
    print("\nseparation at an area of 0.9, in mm of 1 mm voxels (95 % interval)\n")
    print_table(resolved(scores))
    print("\ntwo points in the reference alone, by separation in acquired pixels: area in low-res / output / + DC\n")
    alone = scores[(scores["task"] == "points") & (scores["where"] == "reference")]
    print_table(by_size(alone, IMAGES, ["observer"]))
    print("\nlesions, by diameter in mm: area in low-res / output / + DC\n")
    print_table(by_size(scores[scores["task"] == "lesion"], IMAGES, ["where", "sign"]))
    print("\nfalse positives, by diameter in mm: rate in output / + DC, without and with a lesion in the reference\n")
    print_table(by_size(scores[scores["task"] == "false positives"], IMAGES[1:], ["sign", "where"]))
    print_acceptance(scores)
    if options.plot:
        plot(scores, options.plot)


if __name__ == "__main__":
    main()
