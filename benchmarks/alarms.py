# SPDX-License-Identifier: Apache-2.0
"""Count how often each warning of inference is told where it should be, and where it should not.

    python benchmarks/alarms.py DATA --csv alarms.csv
    python benchmarks/alarms.py DATA --read alarms.csv     # the tables of what was measured before

DATA holds the folders open_ms, open_ms_mni, open_ms_mni_extra, open_ms_native, tumour_mni, tumour_native, brainweb_sim,
ixi_slices, spine and prostate of BIDS-like names; those that are missing are passed over. Every pair is written as it
is and with one thing wrong, its target degraded in k-space first, and goes through what ``configs/inference.yaml`` does
with a case up to the network, and of a few slices through the network. References in grave doubt are used, so that
all rules are seen; the verdict is the one of a run that leaves them out, as the default does. Volumes are
cut to 60 mm in their middle.
"""

import argparse
import dataclasses
import itertools
import logging
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import torch
from monai.bundle import ConfigParser
from monai.transforms import Compose

from bundle.acquisition import KSpaceAxis, Scan, scan
from bundle.case import Case
from bundle.doubts import Doubt, Verdict, by_gravity
from bundle.errors import InputError, input_error
from bundle.keys import CASE, IMAGE, PRED, REFERENCE
from bundle.registration.plausibility import MISPLACED, SAME_HEAD, TOLD_FROM
from bundle.reports.spreadsheet import write_csv
from bundle.reports.text_table import markdown_table
from bundle.transforms import LoadPaird, MeasuredBlockd, TissueSlicesd
from bundle.trust.input_checks import FLUID_OF_T2W, LARGEST_DISTANCE, NOISE_FLOOR, SHARED_EDGES
from bundle.trust.training_profile import HISTOGRAMS, distance_from_training
from bundle.volumes.geometry import through_plane_axis
from bundle.volumes.intensity import tissue_threshold

ROOT = Path(__file__).resolve().parents[1]
DEGRADATIONS = {"4x": (4.0, "box"), "2x": (2.0, "box"), "3x, Hann": (3.0, "hann")}
SLAB, FEW = 60.0, 4.0  # mm in the middle of a volume across its slices that are kept; where few are
REFUSED, LEFT_OUT = "refused", "reference left out, look"
LEFT_OUT_FOR = {Doubt.OTHER_PATIENT, Doubt.MISPLACED}
RIGHT, NO_FAULT, OTHER_DATA, WRONG = "right", "harmless", "other data", "wrong"
Row = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Volume:
    """Hold voxels (X, Y, Z), float32, and their affine (4, 4)."""

    voxels: np.ndarray
    affine: np.ndarray

    @property
    def spacing(self) -> np.ndarray:
        """Voxel size in mm."""
        return np.linalg.norm(self.affine[:3, :3], axis=0)

    @property
    def slice_axis(self) -> int:
        """The axis across slices."""
        return through_plane_axis(self.spacing.tolist(), self.voxels.shape)

    def moved(self, mm: float, axis: int) -> "Volume":
        """Return it with its voxels moved along an axis, 0 where they came from."""
        count = round(mm / self.spacing[axis])
        voxels = np.roll(self.voxels, count, axis)
        voxels[(slice(None),) * axis + (slice(0, count),)] = 0
        return dataclasses.replace(self, voxels=voxels)

    def part(self, start: int, stop: int, axis: int) -> "Volume":
        """Return a range of voxels along an axis, where it lies."""
        affine = self.affine.copy()
        affine[:3, 3] += start * affine[:3, axis]
        return Volume(self.voxels[(slice(None),) * axis + (slice(start, stop),)], affine)

    def few(self) -> "Volume":
        """Return so few slices in the middle that nobody can tell whose head it is."""
        return self.middle(FEW)

    def middle(self, mm: float = SLAB) -> "Volume":
        """Return the slices in the middle, two or more."""
        axis = self.slice_axis
        extra = max(0, self.voxels.shape[axis] - max(2, round(mm / self.spacing[axis])))
        return self.part(extra // 2, self.voxels.shape[axis] - (extra - extra // 2), axis)

    def with_value(self, value: float, where: Any) -> "Volume":
        """Return it with a value in some voxels."""
        voxels = self.voxels.copy()
        voxels[where] = value
        return dataclasses.replace(self, voxels=voxels)


@dataclasses.dataclass(frozen=True)
class Pair:
    """Hold a target, before it is degraded, and a reference; a value that some voxels of the target get then."""

    target: Volume
    reference: Volume
    mark: tuple[float, Any] | None = None
    register: bool = True  # or --no-register


@dataclasses.dataclass(frozen=True)
class Kind:
    """Say what is wrong with a pair, and which doubts are meant to tell: the first, but any of them will do."""

    name: str
    meant: tuple[Doubt, ...]
    group: str = WRONG


def kind(name: str, *meant: Doubt, group: str = WRONG) -> Kind:
    """Return a kind of fault."""
    return Kind(name, meant, group)


LAY_OFF = (Doubt.REGISTERED, Doubt.DISPLACED, Doubt.MISPLACED, Doubt.OTHER_PATIENT)


def read(path: Path) -> Volume:
    """Read a volume."""
    image = nib.load(path)
    return Volume(np.asarray(image.dataobj, dtype=np.float32), np.asarray(image.affine, dtype=np.float64))


def own(data: Path, stem: str) -> Iterator[tuple[Kind, Pair]]:
    """Yield the pairs of one session as they are: with each reference that there is."""
    folder = stem.split("/")[0]
    target = read(data / f"{stem}{'_acq-tra' if folder == 'prostate' else ''}_T2w.nii.gz")
    extra = data / "open_ms_mni_extra" / f"{Path(stem).name}_ce-gd_T1w.nii.gz"
    files = {name: data / f"{stem}_{name}.nii.gz" for name in ("T1w", "PDw", "FLAIR")} | {"post-contrast T1w": extra}
    for name, path in files.items():
        if path.is_file():
            told = kind(f"own {name}", group=RIGHT)
            if name == "T1w" and "L03" in stem:  # the data set's own registration and motion of this patient
                told = kind("own T1w, known to lie 1 mm off (L03)", Doubt.DISPLACED, Doubt.REGISTERED, group=NO_FAULT)
            elif folder == "ixi_slices":
                told = kind("T1w of other levels (ixi_slices)", Doubt.OTHER_PATIENT, Doubt.EDGES)
            elif folder in ("spine", "prostate"):
                told = kind("another part of the body", Doubt.HISTOGRAM, group=OTHER_DATA)
            yield told, Pair(target, read(path))


def spoilt(pair: Pair, other: Volume, flair: Volume | None) -> Iterator[tuple[Kind, Callable[[], Pair]]]:
    """Yield a pair with one thing wrong each; ``other`` is another patient's reference."""
    target, reference = pair.target, pair.reference
    across = reference.slice_axis
    rows = 0 if across else 1
    side = int(np.argmax(np.abs(reference.affine[0, :3])))  # the axis from left to right
    change = dataclasses.replace
    yield kind("reference of another patient", Doubt.OTHER_PATIENT), lambda: change(pair, reference=other)
    yield (
        kind("reference of another level, 40 mm off", *LAY_OFF[::-1]),
        lambda: change(pair, reference=reference.moved(40, across)),
    )
    yield (
        kind("reference mirrored", Doubt.OTHER_PATIENT, Doubt.EDGES),
        lambda: change(pair, reference=change(reference, voxels=np.flip(reference.voxels, side).copy())),
    )
    yield (
        kind("noise as reference", Doubt.OTHER_PATIENT, Doubt.MISPLACED),
        lambda: change(pair, reference=change(reference, voxels=noise_like(reference))),
    )
    if reference.voxels.shape != target.voxels.shape:  # is registered always, so that nothing below lies off
        return
    for mm in (2, 5, 20):
        yield (
            kind(f"reference {mm:g} mm off", *LAY_OFF),
            lambda mm=mm: change(pair, reference=reference.moved(mm, rows)),
        )
    yield kind("own T1w, --no-register", group=RIGHT), lambda: change(pair, register=False)
    for mm, doubts in ((2, (Doubt.DISPLACED, Doubt.MISPLACED)), (5, (Doubt.MISPLACED,))):
        yield (
            kind(f"reference {mm:g} mm off, --no-register", *doubts),
            lambda mm=mm: change(pair, reference=reference.moved(mm, rows), register=False),
        )
    few = Pair(target.few(), reference.few())
    yield kind("own T1w, few slices", group=RIGHT), lambda: few
    yield (
        kind("reference 20 mm off, few slices", Doubt.EDGES),
        lambda: change(few, reference=few.reference.moved(20, rows)),
    )
    if other.voxels.shape == target.voxels.shape:
        stranger = change(other.few(), affine=few.target.affine)
        yield kind("reference of another patient, few slices", Doubt.EDGES), lambda: change(few, reference=stranger)
    empty = change(target, voxels=np.zeros_like(target.voxels))
    yield kind("target of one voxel"), lambda: Pair(empty, reference, (1000, centre(target.middle())))
    yield (
        kind("reference all zero"),
        lambda: change(pair, reference=change(reference, voxels=np.zeros_like(reference.voxels))),
    )
    yield kind("swapped", Doubt.SWAPPED), lambda: Pair(reference, target)
    yield kind("T1w as target and reference", Doubt.NOT_T2W), lambda: Pair(reference, reference)
    if flair is not None:
        yield kind("FLAIR as target", Doubt.NOT_T2W), lambda: Pair(flair, reference)
    yield kind("T2w as reference", Doubt.REFERENCE_T2W), lambda: change(pair, reference=target)
    yield kind("noise of 5% on the target", Doubt.NOISE), lambda: change(pair, target=noisy(target, 0.05))
    yield (
        kind("noise of 10% on the reference", Doubt.NOISE),
        lambda: change(pair, reference=noisy(reference, 0.1)),
    )
    yield (
        kind("brightness of the target to the power of 0.5", Doubt.HISTOGRAM),
        lambda: change(pair, target=change(target, voxels=np.sqrt(target.voxels.clip(min=0)))),
    )
    yield kind("slices 7 mm apart", Doubt.GRID), lambda: Pair(sparse(target), sparse(reference))
    yield (
        kind("header of the reference 300 mm away", Doubt.FAR_APART, group=NO_FAULT),
        lambda: change(pair, reference=change(reference, affine=shifted(reference.affine, 300))),
    )
    yield (
        kind("reference of 70% of the head", Doubt.OUTSIDE, group=NO_FAULT),
        lambda: change(pair, reference=reference.part(0, round(0.62 * reference.voxels.shape[rows]), rows)),
    )
    yield (
        kind("hot voxel in the reference", Doubt.STRAY_VOXELS_OF_REFERENCE, group=NO_FAULT),
        lambda: change(pair, reference=reference.with_value(20 * reference.voxels.max(), centre(reference))),
    )
    yield (
        kind("hot voxel in the target", Doubt.STRAY_VOXELS, group=NO_FAULT),
        lambda: change(pair, mark=(20 * target.voxels.max(), centre(target.middle()))),
    )
    frame = (slice(None),) * rows + (slice(0, 8),)
    yield (
        kind("padding of -1024 in the reference", Doubt.BORDER, group=NO_FAULT),
        lambda: change(pair, reference=reference.with_value(-1024, frame)),
    )
    yield (
        kind("padding of -1024 in the target", Doubt.BORDER, group=NO_FAULT),
        lambda: change(pair, mark=(-1024, frame)),
    )


def centre(volume: Volume) -> tuple[int, ...]:
    """Return the voxel in the middle."""
    return tuple(n // 2 for n in volume.voxels.shape)


def noise_like(volume: Volume) -> np.ndarray:
    """Return noise as bright as a volume."""
    return np.random.default_rng(0).random(volume.voxels.shape, dtype=np.float32) * volume.voxels.max()


def noisy(volume: Volume, share: float) -> Volume:
    """Return a volume with Rician noise of a share of its tissue."""
    level = share * float(np.median(volume.voxels[volume.voxels > tissue_threshold(volume.voxels)]))
    first, second = np.random.default_rng(0).normal(0, level, (2, *volume.voxels.shape)).astype(np.float32)
    return dataclasses.replace(volume, voxels=np.hypot(volume.voxels + first, second))


def sparse(volume: Volume) -> Volume:
    """Return every n-th slice, 7 mm apart or more."""
    axis = volume.slice_axis
    step = int(np.ceil(7 / volume.spacing[axis]))
    affine = volume.affine.copy()
    affine[:3, axis] *= step
    return Volume(volume.voxels[(slice(None),) * axis + (slice(None, None, step),)], affine)


def shifted(affine: np.ndarray, mm: float) -> np.ndarray:
    """Return an affine that puts a volume elsewhere."""
    found = affine.copy()
    found[2, 3] += mm
    return found


def degraded(volume: Volume, name: str) -> Volume:
    """Return a volume as a scanner would have measured it, on its own matrix; its noise was there before."""
    factor, window = DEGRADATIONS[name]
    slices = torch.from_numpy(np.moveaxis(volume.voxels, volume.slice_axis, 0).astype(np.float32))
    settings = Scan(*(KSpaceAxis(n, factor, window) for n in slices.shape[1:]))
    low_res = torch.stack([scan(image, settings) for image in slices])
    return dataclasses.replace(volume, voxels=np.moveaxis(low_res.numpy(), 0, volume.slice_axis))


class Inference:
    """Do with a pair what a run does, up to the network's output."""

    def __init__(self, weights: Path, folder: Path, n_slices: int) -> None:
        given = {"ckpt_path": str(weights), "output_dir": str(folder), "write_doubtful": True, "device": "cpu"}
        files = {name: str(folder / f"{name}.nii") for name in ("image", "reference")}
        given |= files | {"bundle_root": str(ROOT), "mixed_precision": False}
        for name in files:
            nib.save(nib.Nifti1Image(np.ones((20, 20, 2), np.float32), np.eye(4)), files[name])
        self.prepare = {}
        for register in (False, True):
            parser = ConfigParser()
            parser.read_config(ROOT / "configs" / "inference.yaml")
            parser.update(given | ({} if register else {"register": False}))
            get = parser.get_parsed_content
            self.prepare[register] = get("prepare")
        self.network, self.inferer, self.seen = get("network"), get("inferer"), get("record").seen
        self.output_checks = get("postprocessing::transforms::0")
        get("loader").load()
        self.network.eval()
        self.files, self.fewer = files, TissueSlicesd(n_slices)
        self.for_4x = Compose([LoadPaird(check_grid=False), MeasuredBlockd(trained=4.0)])

    def __call__(self, name: str, pair: Pair) -> Row:
        """Return what was told of a pair, and what was measured."""
        for key, volume in (("image", pair.target), ("reference", pair.reference)):
            nib.save(nib.Nifti1Image(volume.voxels, volume.affine), self.files[key])
        case, paths, refused = Case(name), {IMAGE: self.files["image"], REFERENCE: self.files["reference"]}, ""
        row: Row = {}
        try:
            item = self.fewer(self.prepare[pair.register]({**paths, CASE: case}))
            item[PRED] = self.inferer(item[IMAGE][None], self.network)[0]
            case = self.output_checks(item)[CASE]
            at_4x = self.for_4x({**paths, CASE: "4x"})[CASE]
            row["other_factor"] = any(doubt is Doubt.OTHER_FACTOR for doubt, _ in at_4x.doubts)
        except (InputError, RuntimeError) as error:
            if (cause := input_error(error)) is None:
                raise
            refused = str(cause).partition(": ")[2]
        facts = case.facts()
        row |= {key: value for key, value in facts.get("input", {}).items() if isinstance(value, float)}
        row["histogram"] = (
            max(
                (
                    distance_from_training(facts["input"][key], self.seen[key])
                    for key in HISTOGRAMS
                    if facts["input"][key]
                ),
                default=None,
            )
            if "input" in facts
            else None
        )
        registered = facts.get("registration", {})
        row |= {key: registered.get(key) for key in ("sharpness", "apparent_shift_mm", "displacement_mm")}
        doubts = [doubt for doubt, _ in by_gravity(case.doubts)]
        told = {"doubts": " ".join(dict.fromkeys(doubt.name for doubt in doubts)), "refused": refused}
        return told | {"verdict": verdict(doubts, refused)} | row


def verdict(doubts: Sequence[Doubt], refused: str) -> str:
    """Return the verdict of a run by default, which leaves out references in grave doubt."""
    if refused:
        return REFUSED
    grave = {doubt for doubt in doubts if doubt.verdict is Verdict.DO_NOT_USE}
    if grave & LEFT_OUT_FOR:
        return LEFT_OUT
    return str(doubts[0].verdict) if doubts else str(Verdict.FINE)


SESSIONS = {  # patient by session; a session of its own reference's grid, or not
    "open_ms/sub-L01_ses-1": "L01",
    "open_ms/sub-L03_ses-2": "L03",
    "open_ms/sub-L12_ses-1": "L12",
    "open_ms_mni/sub-C07": "C07",
    "open_ms_mni/sub-C19": "C19",
    "tumour_mni/sub-DU7294": "DU7294",
    "tumour_native/sub-FG6692": "FG6692",
    "brainweb_sim/sub-BW05": "BW05",
    "brainweb_sim/sub-BW47": "BW47",
    "open_ms_native/sub-L01_ses-1": "L01",
    "open_ms_native/sub-L12_ses-1": "L12",
    "ixi_slices/sub-IXI": "IXI",
    "spine/sub-S01": "S01",
    "prostate/sub-X0000": "X0000",
}
OTHERS = {  # whose reference stands for another patient's: on the target's own grid where there is one
    "open_ms/sub-L03_ses-2": "open_ms/sub-L12_ses-1",
    "open_ms/sub-L12_ses-1": "open_ms/sub-L03_ses-2",
    "open_ms_mni/sub-C19": "open_ms_mni/sub-C07",
    "tumour_mni/sub-DU7294": "tumour_native/sub-FG6692",
    "tumour_native/sub-FG6692": "tumour_mni/sub-DU7294",
    "brainweb_sim/sub-BW47": "brainweb_sim/sub-BW05",
}
N_OF_REFERENCE = 7  # faults, the first, that concern what the reference shows: all that patients of training get
UNSEEN = {"L12", "C19", "DU7294", "BW05", "BW47", "IXI", "S01", "X0000"}  # that trained nothing


def cases(data: Path) -> Iterator[tuple[str, str, Kind, Pair]]:
    """Yield session, degradation, what is wrong, and the pair."""
    for stem in SESSIONS:
        if not (data / stem).parent.is_dir():
            continue
        pairs = list(own(data, stem))
        yield from ((stem, name, *pairs[0]) for name in DEGRADATIONS)
        yield from ((stem, name, *pair) for name, pair in zip(DEGRADATIONS, pairs[1:], strict=False))
        if stem in OTHERS:
            other = read(data / f"{OTHERS[stem]}_T1w.nii.gz")
            flair = data / f"{stem}_FLAIR.nii.gz"
            faults = spoilt(pairs[0][1], other, read(flair) if flair.is_file() else None)
            turns = itertools.cycle(DEGRADATIONS)
            next(itertools.islice(turns, list(OTHERS).index(stem) % 3, None), None)
            chosen = itertools.islice(faults, None if SESSIONS[stem] in UNSEEN else N_OF_REFERENCE)
            yield from ((stem, name, told, make()) for name, (told, make) in zip(turns, chosen, strict=False))


def measured(arguments: argparse.Namespace) -> pd.DataFrame:
    """Return one row for each case."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        inference = Inference(arguments.weights, Path(folder), arguments.slices)
        for stem, name, told, pair in cases(arguments.data):
            target, reference = pair.target.middle(), pair.reference
            if reference.voxels.shape == pair.target.voxels.shape:
                reference = reference.middle()
            begin = time.perf_counter()
            target = degraded(target, name)
            marked = target.with_value(*pair.mark) if pair.mark else target
            row = inference(stem, Pair(marked, reference, register=pair.register))
            about = {"session": stem, "patient": SESSIONS[stem], "degradation": name}
            about |= {"what": told.name, "group": told.group, "meant": " ".join(doubt.name for doubt in told.meant)}
            seconds = time.perf_counter() - begin
            rows.append(about | row | {"seconds": seconds})
            print(f"{stem} {name} {told.name}: {row['verdict']} {row['doubts']} ({seconds:.1f} s)", file=sys.stderr)
    return pd.DataFrame(rows)


MEASURES = {  # by the CSV's name: what it is, the doubt, its limit, and whether values above are doubted
    "sharpness": ("sharpness", Doubt.OTHER_PATIENT, SAME_HEAD, False),
    "edge_agreement": ("edge agreement", Doubt.EDGES, SHARED_EDGES, False),
    "apparent_shift_mm": ("shift seen, mm", Doubt.MISPLACED, MISPLACED, True),
    "displacement_mm": ("registration's, mm", Doubt.REGISTERED, TOLD_FROM, True),
    "target_fluid": ("fluid of the target", Doubt.NOT_T2W, FLUID_OF_T2W, False),
    "reference_fluid": ("fluid of the reference", Doubt.REFERENCE_T2W, FLUID_OF_T2W, True),
    "target_noise": ("noise of the target", Doubt.NOISE, NOISE_FLOOR, True),
    "histogram": ("distance of histograms", Doubt.HISTOGRAM, LARGEST_DISTANCE, True),
}


def share(rows: pd.DataFrame, told: pd.Series) -> str:
    """Return of how many cases, and in brackets patients, something holds."""
    if rows.empty:
        return "-"
    return f"{told.sum()} of {len(rows)} ({rows.patient[told].nunique()} of {rows.patient.nunique()})"


def has(rows: pd.DataFrame, doubt: Doubt, column: str = "doubts") -> pd.Series:
    """Tell which cases have a doubt."""
    return rows[column].str.split().map(lambda names: doubt.name in names).astype(bool)


def groups(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return right pairs of real heads by whether the patient trained the weights, those of simulated heads, others."""
    right, unseen = rows.group == RIGHT, rows.patient.isin(UNSEEN)
    simulated = rows.session.str.startswith("brainweb")
    return {
        "right, unseen": rows[right & unseen & ~simulated],
        "right, trained": rows[right & ~unseen],
        "right, simulated": rows[right & simulated],
        "harmless": rows[rows.group == NO_FAULT],
        "other data": rows[rows.group == OTHER_DATA],
        "wrong": rows[rows.group == WRONG],
    }


def by_doubt(rows: pd.DataFrame) -> str:
    """Return true and false alarms of each doubt that depends on the images."""
    found, lines = groups(rows), []
    for doubt in Doubt:
        is_meant = rows.meant.str.split().str[0] == doubt.name
        meant = rows[is_meant]
        if not (len(meant) or has(rows, doubt).any()):
            continue
        right = [found[name] for name in ("right, unseen", "right, trained", "right, simulated")]
        rest = rows[(rows.group != RIGHT) & ~is_meant]
        cells = [share(part, has(part, doubt)) for part in (meant, *right, rest)]
        lines.append((doubt.name, str(doubt.verdict), *cells))
    right = rows[rows.group == RIGHT]
    coarse = right[right.degradation != "4x"]
    own = [part[part.degradation == "4x"] for part in list(found.values())[:3]]
    told = [share(part, part.other_factor.astype(bool)) for part in (coarse, *own)]
    lines.append(("OTHER_FACTOR, of weights for 4x", str(Doubt.OTHER_FACTOR.verdict), *told, "-"))
    titles = ("told where meant", "right: unseen", "of training", "simulated", "other faults")
    return markdown_table(("doubt", "verdict", *titles), lines)


def by_fault(rows: pd.DataFrame) -> str:
    """Return for each fault how often a doubt that is meant for it was told, and the verdicts."""
    lines = []
    for what, part in rows.groupby("what", sort=False):
        told = pd.Series(False, part.index)
        for name in part.meant.iloc[0].split():
            told |= has(part, Doubt[name])
        others = pd.Series([n for text in part.doubts for n in text.split() if n not in part.meant.iloc[0].split()])
        besides = ", ".join(f"{name} {count}" for name, count in others.value_counts().items())
        meant = ", ".join(part.meant.iloc[0].split())
        lines.append((str(what), meant, share(part, told) if meant else "", besides))
    return markdown_table(("what", "doubts meant", "told", "other doubts"), lines)


def by_verdict(rows: pd.DataFrame) -> str:
    """Return the verdicts of right and wrong pairs."""
    verdicts = (Verdict.FINE, Verdict.LOOK, LEFT_OUT, Verdict.DO_NOT_USE, REFUSED)
    lines = [
        (name, str(len(part)), str(part.patient.nunique()), *(str((part.verdict == v).sum()) for v in verdicts))
        for name, part in groups(rows).items()
    ]
    wrong = groups(rows)["wrong"]
    lines += [
        (f"- {what}", str(len(part)), str(part.patient.nunique()), *(str((part.verdict == v).sum()) for v in verdicts))
        for what, part in wrong.groupby("what", sort=False)
    ]
    return markdown_table(("pairs", "cases", "patients", *map(str, verdicts)), lines)


def by_measure(rows: pd.DataFrame) -> str:
    """Return what was measured in right pairs, and where the doubt was meant: middle, smallest and largest."""

    def spread(values: pd.Series) -> str:
        values = values.dropna()
        return f"{values.median():.3g} ({values.min():.3g} to {values.max():.3g})" if len(values) else "-"

    lines = []
    for column, (title, doubt, limit, above) in MEASURES.items():
        meant = rows[rows.meant.str.split().str[0] == doubt.name] if doubt else groups(rows)["wrong"]
        right = [part[column] for part in list(groups(rows).values())[:3]]
        lines.append(
            (title, f"{'>' if above else '<'} {limit:g}" if doubt else "", *map(spread, (*right, meant[column])))
        )
    return markdown_table(("measure", "doubted", "right: unseen", "of training", "simulated", "where meant"), lines)


def main() -> None:
    """Measure, write and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", type=Path, default=ROOT / "models" / "model.pt")
    parser.add_argument("--slices", type=int, default=2, help="of each case that go through the network")
    parser.add_argument("--csv", type=Path, help="one line for each case")
    parser.add_argument("--read", type=Path, help="a CSV from before, whose tables are printed")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    begin = time.perf_counter()
    rows = pd.read_csv(arguments.read) if arguments.read else measured(arguments)
    rows = rows.fillna(dict.fromkeys(("doubts", "meant", "refused"), ""))
    if arguments.csv:
        write_csv(arguments.csv, rows)
    print(f"{len(rows)} cases of {rows.patient.nunique()} patients, {time.perf_counter() - begin:.0f} s\n")
    for table in (by_doubt, by_fault, by_verdict, by_measure):
        print(table(rows), end="\n\n")


if __name__ == "__main__":
    main()
