# SPDX-License-Identifier: Apache-2.0
"""Measure on real volumes whether outputs can be trusted: error bars, wrong references, lesions; and what checks take.

    python benchmarks/trust.py intervals DATA  # how often errors are within their error bars
    python benchmarks/trust.py passes DATA    # these against passes that should agree
    python benchmarks/trust.py wrong DATA     # what a wrong reference costs against none
    python benchmarks/trust.py lesions DATA   # lesions only in the target, only in the reference
    python benchmarks/trust.py time DATA      # cost beside that of the output

DATA holds the folders open_ms, open_ms_mni, tumour_mni, ixi_slices and brainweb_sim of BIDS-like names; those that are
missing are passed over. Targets are zero-filled 4x, as magnitudes, where nothing else is said. Weights (default: the
bundle's): any that were trained without the patients L12 of open_ms, C19 of open_ms_mni and DU7294 of tumour_mni.
"""

import argparse
import dataclasses
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from degradations import DEGRADATIONS, NONE, Target, loaded, restored, target
from drawn_lesions import homogeneous_places, lesion_contrast, lesion_shape
from matplotlib.figure import Figure
from monai.data import MetaTensor
from scipy.ndimage import uniform_filter
from scipy.stats import spearmanr

from bundle.acquisition import AxisEstimate, Consistency
from bundle.drawing.png import save_plot
from bundle.engines import TiledSliceInferer
from bundle.engines.precision import autocast
from bundle.keys import ZERO_FILLED_BY
from bundle.kspace import zero_fill
from bundle.networks import build
from bundle.phantom.scanner import simulate_subject
from bundle.settings import recorded
from bundle.tools.calibrating import COVERAGE, error_ratios
from bundle.transforms import LoadPaird, NormaliseIntensityd, SlicesLastd
from bundle.trust.profile import profile, tissue_threshold
from bundle.volumes.intensity import tissue_slices

FACTOR = 4
Volume = np.ndarray


@dataclasses.dataclass
class Pair:
    """Hold a pair of high-res volumes (H, W, D) on one grid, each in [0, 1]."""

    name: str
    target: Volume
    reference: Volume
    spacing: list[float]

    def low_res(self) -> Volume:
        """Return the zero-filled target."""
        slices = torch.from_numpy(np.ascontiguousarray(np.moveaxis(self.target, -1, 0)))
        return np.moveaxis(zero_fill(slices, FACTOR).numpy(), 0, -1)


def load(data: Path, name: str, reference: str = "T1w", target: str = "T2w") -> Pair:
    """Read ``folder/sub-X`` with the transforms of inference."""
    item: dict[Any, Any] = {"image": f"{data / name}_{target}.nii.gz", "reference": f"{data / name}_{reference}.nii.gz"}
    for transform in (LoadPaird(), SlicesLastd(), NormaliseIntensityd()):
        item = transform(item)
    volumes = [item[key][0].numpy() for key in ("image", "reference")]
    return Pair(f"{name} {reference}", *volumes, spacing=item["image"].pixdim.tolist())


def phantom(index: int, reference: str) -> Pair:
    """Simulate a subject of the phantom."""
    volumes, affine = simulate_subject(index)
    maps = [volumes[contrast].astype(np.float32) / volumes[contrast].max() for contrast in ("T2w", reference)]
    return Pair(f"phantom {index} {reference}", *maps, spacing=np.diag(affine)[:3].tolist())


def some_slices(pair: Pair, n: int) -> Pair:
    """Keep slices with tissue, at equal distances."""
    kept = np.flatnonzero(tissue_slices(pair.target))
    kept = kept[((np.arange(n) + 0.5) * len(kept) / n).astype(int)]
    return dataclasses.replace(pair, target=pair.target[..., kept], reference=pair.reference[..., kept])


# --------------------------------------------------------------------------------------------------------- network


class Network:
    """Run the trained network on slices (N, 2, H, W) that are known to be zero-filled by ``FACTOR``."""

    def __init__(self, weights: Path) -> None:
        self.network = build(recorded(weights).model).eval()
        self.network.load_state_dict(torch.load(weights, weights_only=True))
        self.inferer = TiledSliceInferer()

    def __call__(self, slices: torch.Tensor) -> torch.Tensor:
        """Return the output (N, 1, H, W)."""
        image = MetaTensor(slices.movedim(0, -1)[None], meta={ZERO_FILLED_BY: float(FACTOR)})
        return self.inferer(image, self.network)[0].as_tensor().movedim(-1, 0)


def consistency(slices: torch.Tensor) -> Consistency:
    """Return the data consistency of zero-filled slices (..., H, W)."""
    rows, columns = slices.shape[-2:]
    return Consistency(AxisEstimate(rows, FACTOR), AxisEstimate(columns, FACTOR))


def tensors(pair: Pair) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the network's input (N, 2, H, W) and the truth (N, 1, H, W)."""
    truth, reference = (
        torch.from_numpy(np.ascontiguousarray(np.moveaxis(v, -1, 0)))[:, None] for v in (pair.target, pair.reference)
    )
    return torch.cat((zero_fill(truth, FACTOR), reference), dim=1), truth


def consistent(low_res: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return data consistency with a low-res image."""
    return lambda output: consistency(low_res).restored(output, low_res)


# ------------------------------------------------------------------------------------------------------- intervals

BINS = np.geomspace(1e-3, 1e3, 1201)  # of errors over their predicted scale
SUBSETS = ("tissue", "brightest", "finest", "finest of the truth")
CALIBRATED = ("open_ms", "open_ms_mni")  # data sets whose patients that trained nothing calibrate the bundle's weights
UNSEEN = ("windows", "noise", "slices of", "partial")  # kinds of degradation that calibration leaves out in turn


@dataclasses.dataclass
class Ratios:
    """Errors over scales in one slice of one cell, as histograms over ``BINS``; and mean scale over mean tissue."""

    case: str
    data: str
    reference: str
    degradation: str
    counts: dict[str, np.ndarray]
    sharpness: float


def held_out(arguments: argparse.Namespace) -> list[Target]:
    """Return slices of the patients that trained nothing."""
    names = ("open_ms/sub-L12_ses-1", "open_ms/sub-L12_ses-2", "open_ms_mni/sub-C19", "tumour_mni/sub-DU7294")
    paths = [arguments.data / f"{name}_T2w.nii.gz" for name in names]
    return [target(path, [], arguments.slices) for path in paths if path.is_file()]


def ratios(network: Any, one: Target, reference: str, spoil: Callable[[torch.Tensor], torch.Tensor]) -> list[Ratios]:
    """Return those of all degradations of a target with one reference, or without (``none``)."""
    found = []
    for degradation in DEGRADATIONS:
        slices = one.slices.get(degradation.thick)
        if slices is None or (reference != NONE and reference not in slices):
            continue
        for image, guide in zip(slices[""], slices.get(reference, torch.zeros_like(slices[""])), strict=True):
            low_res, settings = degradation(image, 0)
            output, scale = scaled(network, low_res[None], spoil(guide)[None], settings.zero_filled_by)
            output = restored(output, low_res[None], settings)[0]
            error = (output - image).abs()
            found.append(
                Ratios(
                    one.name.split("_ses")[0],
                    one.name.split()[0],
                    reference,
                    degradation.name,
                    {name: histogram(error, scale[0], where) for name, where in subsets(image, output).items()},
                    float((scale[0] / image[tissue(image)].mean())[tissue(image)].mean()),
                )
            )
    return found


def scaled(
    network: Any, low_res: torch.Tensor, guide: torch.Tensor, zero_filled_by: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return super-res slices (n, H, W) and the scale of their errors."""
    with torch.no_grad(), autocast(torch.device("cpu")):
        known = torch.tensor([zero_filled_by])
        output, scale = network.with_error_scale(torch.stack((low_res, guide), dim=1), known)
    return output[:, 0].float(), scale[:, 0].float()


def tissue(image: torch.Tensor) -> torch.Tensor:
    """Return where a slice shows tissue."""
    return image > tissue_threshold(image.numpy())


def subsets(image: torch.Tensor, output: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return tissue, and the twentieths that are brightest and finest in the output, and finest in truth, (H, W)."""
    inside = tissue(image)
    ranks = (output, *((x - torch.from_numpy(uniform_filter(x.numpy(), 3))).abs() for x in (output, image)))
    parts = [inside & (rank > torch.quantile(rank[inside], 0.95)) for rank in ranks]
    return dict(zip(SUBSETS, (inside, *parts), strict=True))


def histogram(error: torch.Tensor, scale: torch.Tensor, where: torch.Tensor) -> np.ndarray:
    """Return how errors over scales are spread, all voxels together one."""
    counts = np.histogram(error_ratios(error, scale)[where].clamp(BINS[0], BINS[-1]).numpy(), BINS)[0]
    return np.asarray(counts / counts.sum())


def factor_of(cells: Sequence[Ratios]) -> float:
    """Return the factor below which 90 % of ratios lie, patients counting alike, and all their slices."""
    by_case = defaultdict(list)
    for cell in cells:
        by_case[cell.case].append(cell.counts["tissue"])
    share = np.cumsum(np.mean([np.mean(counts, axis=0) for counts in by_case.values()], axis=0))
    return float(np.interp(COVERAGE, share, BINS[1:]))


def coverage(cells: Sequence[Ratios], factor: float, subset: str = "tissue") -> np.ndarray:
    """Return the share of voxels within the interval, of each slice."""
    return np.array([np.interp(factor, BINS[1:], np.cumsum(cell.counts[subset])) for cell in cells])


def intervals(arguments: argparse.Namespace) -> None:
    """Print how often errors are within their intervals: by patient, degradation, slice, structure and reference."""
    network = loaded(arguments.weights)
    targets = held_out(arguments)
    cells = [c for one in targets for name in ("T1w", "FLAIR", NONE) for c in ratios(network, one, name, torch.clone)]
    known = [c for c in cells if c.data in CALIBRATED]
    print("| calibrated without | on | factor | tissue | slices, 5th to 95th | brightest | finest | finest of truth |")
    print("| --- | --- | ---: | ---: | --- | ---: | ---: | ---: |")

    def line(left_out: str, tested: str, calibrated: list[Ratios], held: list[Ratios]) -> None:
        factor = factor_of(calibrated)
        parts = [coverage(held, factor, subset) for subset in SUBSETS]
        low, high = np.percentile(parts[0], (5, 95))
        shares = [f"{part.mean():.1%}" for part in parts]
        words = [left_out, tested, f"{factor:.2f}", shares[0], f"{low:.0%} to {high:.0%}", *shares[1:]]
        print(f"| {' | '.join(words)} |")

    for case in dict.fromkeys(cell.case for cell in cells):
        others, own = [c for c in known if c.case != case], [c for c in cells if c.case == case]
        line(f"patient {case.split()[1]}", case, others, own)
    for kind in UNSEEN:
        mine = [c for c in known if is_of(c.degradation, kind)]
        line(kind, kind, [c for c in known if not is_of(c.degradation, kind)], mine)
    for reference in ("T1w", "FLAIR", NONE):
        line("nothing", f"reference {reference}", known, [c for c in known if c.reference == reference])
    for name in ("4x", "3x", "2x", "1.5x"):
        line("nothing", name, known, [c for c in known if c.degradation == name])
    factor = factor_of(known)
    print(f"\nmean half-width, of tissue, by what the reference is (factor {factor:.2f})\n")
    print("| reference | half-width | within |\n| --- | ---: | ---: |")

    def width(what: str, found: list[Ratios]) -> None:
        mean = factor * np.mean([c.sharpness for c in found])
        print(f"| {what} | {mean:.1%} | {coverage(found, factor).mean():.1%} |", flush=True)

    width("right T1w", [c for c in cells if c.reference == "T1w"])
    width("none", [c for c in cells if c.reference == NONE])
    for name, spoil in SPOILT.items():
        width(name, [c for one in targets for c in ratios(network, one, "T1w", spoil)])
    if arguments.plot:
        draw_coverage(cells, arguments.plot)


SPOILT: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "mirrored": lambda guide: guide.flip(-2),
    "5 mm aside": lambda guide: guide.roll(7, -2),
    "20 mm aside": lambda guide: guide.roll(28, -2),
    "noise": lambda guide: torch.rand(guide.shape, generator=torch.Generator().manual_seed(0)) * guide.max(),
}


def is_of(degradation: str, kind: str) -> bool:
    """Tell whether a degradation is of a kind of ``UNSEEN``."""
    windows = ("Hann", "Hamming", "Tukey", "Fermi", "Gaussian")
    return any(name in degradation for name in windows) if kind == "windows" else kind in degradation


def draw_coverage(cells: list[Ratios], path: Path) -> None:
    """Draw which share of voxels a nominal interval holds, for each patient, calibrated on the others."""
    figure = Figure(figsize=(4.5, 4.2), layout="constrained")
    axes = figure.subplots()
    nominal = np.linspace(0.5, 0.99, 50)
    for case in dict.fromkeys(cell.case for cell in cells):
        others = [c for c in cells if c.case != case and c.data in CALIBRATED]
        own = [c for c in cells if c.case == case]
        share = np.cumsum(np.mean([c.counts["tissue"] for c in others], axis=0))
        axes.plot(nominal, [coverage(own, float(np.interp(n, share, BINS[1:]))).mean() for n in nominal], label=case)
    axes.plot([0.5, 1], [0.5, 1], color="grey", linewidth=0.8, linestyle="--")
    axes.set_xlabel("promised share of voxels within the error bars")
    axes.set_ylabel("share found, of a patient that was not calibrated on")
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)
    save_plot(figure, path)


def passes(arguments: argparse.Namespace) -> None:
    """Compare the predicted scale with the standard deviation over passes that should agree, at equal coverage."""
    network = loaded(arguments.weights)
    print(
        "| case | scale from | mean half-width at 90 % | within, of the fifth that seems surest ... least sure | rank |"
    )
    print("| --- | --- | ---: | --- | ---: |")
    for one in held_out(arguments):
        slices = one.slices[False]
        degraded = [DEGRADATIONS[0](image, 0) for image in slices[""]]
        low_res, guide = torch.stack([d[0] for d in degraded]), slices["T1w"]
        outputs = []
        for flip, shift in (((), (0, 0)), ((-1,), (1, 0)), ((-2,), (-1, 0)), ((-2, -1), (0, 1))):
            moved = guide.roll(shift, (-2, -1)) / 2 + guide / 2 if any(shift) else guide  # half a pixel aside
            pairs = zip(low_res, moved, strict=True)
            known = degraded[0][1].zero_filled_by
            output = [scaled(network, image[None].flip(flip), other[None].flip(flip), known) for image, other in pairs]
            sharp = torch.cat([o.flip(flip) for o, _ in output])
            outputs.append(restored(sharp, low_res, degraded[0][1]))
            if not flip:
                scale = torch.cat([s for _, s in output])
        inside = torch.stack([tissue(image) for image in slices[""]])
        error = (outputs[0] - slices[""]).abs()[inside].numpy()
        for name, values in (("network", scale), ("four passes", torch.stack(outputs).std(0))):
            found = values[inside].clamp(min=1e-6).numpy()
            factor = np.quantile(error / found, COVERAGE)
            fifth = np.digitize(found, np.quantile(found, (0.2, 0.4, 0.6, 0.8)))
            held = [f"{np.mean(error[fifth == k] <= factor * found[fifth == k]):.0%}" for k in range(5)]
            width = factor * found.mean() / slices[""][inside].mean()
            rank = spearmanr(error, found).statistic
            print(f"| {one.name} | {name} | {width:.1%} | {', '.join(held)} | {rank:.2f} |", flush=True)


def wrong(arguments: argparse.Namespace) -> None:
    """Print what a wrong reference costs against none, in dB of PSNR with data consistency."""
    network = Network(arguments.weights)
    other_head = load(arguments.data, "open_ms_mni/sub-C07").reference  # on the grid of C19
    names = ("open_ms/sub-L12_ses-1", "open_ms/sub-L12_ses-2", "open_ms_mni/sub-C19", "brainweb_sim/sub-BW47")
    print("| case | low-res, dB | no reference | right | " + " | ".join(WRONG) + " | another patient |")
    print("| --- |" + " ---: |" * (len(WRONG) + 4))
    for name in names:
        pair = some_slices(load(arguments.data, name), arguments.slices)
        image, truth = tensors(pair)
        guide = image[:, 1:]
        random = torch.rand(guide.shape, generator=torch.Generator().manual_seed(0))
        tried = [torch.zeros_like(guide), guide, guide.flip(-2), guide.roll(1, 0)]
        tried += [guide.roll(round(mm / pair.spacing[0]), -2) for mm in (5, 20)] + [random * guide.max()]
        if name.endswith("C19"):
            other = some_slices(dataclasses.replace(load(arguments.data, name), reference=other_head), arguments.slices)
            tried.append(tensors(other)[0][:, 1:])
        low_res, finish = image[:, :1], consistent(image[:, :1])
        outputs = [finish(network(torch.cat((low_res, reference), dim=1))) for reference in tried]
        found = [-10 * float((x - truth).square().mean().log10()) for x in (low_res, *outputs)]
        cells = [f"{found[0]:.2f}", f"{found[1]:.2f}", *(f"{value - found[1]:+.2f}" for value in found[2:])]
        print(f"| {name} | {' | '.join([*cells, *['-'] * (len(WRONG) + 4 - len(cells))])} |", flush=True)


# --------------------------------------------------------------------------------------------------------- lesions

WRONG = ("mirrored", "of another slice", "5 mm aside", "20 mm aside", "noise")


LESION_IN_TARGET, LESION_IN_REFERENCE = 0.6, -0.3
"""Contrast to white matter: bright in T2w (1.4 to 2 times white matter in MS), dark in T1w."""


def lesions(arguments: argparse.Namespace) -> None:
    """Print how much of a lesion in the target is kept, and how much of one in the reference appears."""
    network = Network(arguments.weights)
    pairs = [some_slices(load(arguments.data, f"open_ms/sub-L12_ses-{s}"), arguments.slices) for s in (1, 2)]
    pairs.append(some_slices(phantom(6, "T1w"), arguments.slices))
    print("| data | diameter | n | target only: low-res | output | + DC | reference only: output | + DC | any pixel |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for pair in pairs:
        image, truth = tensors(pair)
        own = network(image)
        places = [homogeneous_places(t[0].numpy(), pair.spacing, 3) for t in truth]
        for diameter in (2.0, 4.0, 6.0, 8.0):
            rows = lesion_changes(network, (image, truth, own), places, (diameter, pair.spacing[:2]))
            cells = [f"{np.mean(s):+.2f} ({min(s):+.2f} to {max(s):+.2f})" for s in rows.values()]
            print(f"| {pair.name} | {diameter:g} mm | {len(rows['kept'])} | {' | '.join(cells)} |", flush=True)


def lesion_changes(
    network: Network,
    images: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    places: list[list[tuple[int, int]]],
    size: tuple[float, Sequence[float]],
) -> dict[str, list[float]]:
    """Return for each lesion what share of its contrast changes, both relative to white matter."""
    image, truth, own = images
    shape = [sum(lesion_shape(t[0].shape, p, *size) for p in w) for t, w in zip(truth, places, strict=True)]
    lesion = torch.from_numpy(np.stack(shape))[:, None]
    white, white_reference = (
        torch.tensor([float(np.median([v[c][p] for p in w])) for v, w in zip(volume, places, strict=True)])
        for volume, c in ((truth, 0), (image, 1))
    )
    in_target = LESION_IN_TARGET * white[:, None, None, None] * lesion
    in_reference = LESION_IN_REFERENCE * white_reference[:, None, None, None] * lesion
    expected = LESION_IN_REFERENCE * white[:, None, None, None] * lesion
    low_res = zero_fill(truth + in_target, FACTOR)
    kept = network(torch.cat((low_res, image[:, 1:]), dim=1))
    invented = network(torch.cat((image[:, :1], image[:, 1:] + in_reference), dim=1))
    before, after = consistent(image[:, :1]), consistent(low_res)
    own_dc = before(own.clone())
    changes = {
        "low-res": (low_res - image[:, :1], in_target),
        "kept": (kept - own, in_target),
        "kept + DC": (after(kept.clone()) - own_dc, in_target),
        "invented": (invented - own, expected),
        "invented + DC": (before(invented.clone()) - own_dc, expected),
    }
    shares: dict[str, list[float]] = {
        name: [
            lesion_contrast(change[i, 0].numpy(), place, *size) / lesion_contrast(inserted[i, 0].numpy(), place, *size)
            for i, where in enumerate(places)
            for place in where
        ]
        for name, (change, inserted) in changes.items()
    }
    largest = changes["invented + DC"][0].abs().amax((1, 2, 3)) / expected.abs().amax((1, 2, 3))
    return shares | {"any pixel": largest.tolist()}


# ------------------------------------------------------------------------------------------------------------ time


def timing(arguments: argparse.Namespace) -> None:
    """Print the seconds of each part for one slice of the network."""
    network = Network(arguments.weights)
    pair = load(arguments.data, "open_ms/sub-L12_ses-1")
    low_res = pair.low_res()

    def seconds(function: Callable[[], Any], repeats: int = 3) -> float:
        best = float("inf")
        for _ in range(repeats):
            start = time.perf_counter()
            function()
            best = min(best, time.perf_counter() - start)
        return best

    image, _ = tensors(some_slices(pair, 1))
    one = seconds(lambda: network(image))
    print(f"the network: {one:.2f} s a slice of {tuple(image.shape[-2:])}")
    bars = seconds(lambda: network.inferer(image.movedim(0, -1)[None], network.network.with_error_scale))
    print(f"the same with error bars: {bars:.2f} s")
    print(f"InputChecksd: {seconds(lambda: profile(low_res, pair.reference, pair.spacing)):.2f} s a volume")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = {
        "intervals": intervals,
        "passes": passes,
        "wrong": wrong,
        "lesions": lesions,
        "time": timing,
    }
    parser.add_argument("what", choices=commands)
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", type=Path, default=Path(__file__).parents[1] / "models" / "model.pt")
    parser.add_argument("--plot", type=Path, help="a figure of intervals")
    parser.add_argument("--slices", type=int, default=3, help="slices of each volume, at equal distances")
    arguments = parser.parse_args()
    commands[arguments.what](arguments)


if __name__ == "__main__":
    main()
