# SPDX-License-Identifier: Apache-2.0
"""Do a night in a hospital in small: a folder of studies with every kind of fault, and what becomes of each.

    python benchmarks/night.py FOLDER --cases 200 --data DATA...      # pairs of real volumes, else those of the phantom
    python benchmarks/night.py FOLDER --kills 50 --cases 20           # end the batch at random moments, and go on

Cases are crops of the volumes with a degradation and an orientation of their own; every fourth is a DICOM study. Every
other case has a fault, of each kind in turn. Prints what was expected and what was found of every kind, the time and
the largest memory, and exits with 1 unless every case is accounted for and every output overlays its input.
"""

import argparse
import filecmp
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from bundle.acquisition import KSpaceAxis, Scan, scan
from bundle.data import find_pairs
from bundle.data.reading import read_volume
from bundle.phantom.scanner import simulate_subject
from bundle.reports.text_table import markdown_table

SIZE, SLICES = 112, 12  # voxels of a crop in plane, and its slices
DONE, FAILED, PASSED = "done", "failed", "passed over"
EITHER = "done or failed"  # with a warning, or a reason
Volume = tuple[np.ndarray, np.ndarray]  # voxels and affine


@dataclass
class Study:
    """One case: its T2w and its reference, the files they become, and what should become of it."""

    key: str  # sub-NNN
    target: Volume
    reference: Volume | None
    folder: Path
    fault: str = "none"
    expected: str = DONE
    name: str = ""  # what its files are called, where not by its key

    def path(self, contrast: str) -> Path:
        """Return the file of a volume."""
        return self.folder / f"{self.name or self.key}_{contrast}.nii.gz"


def cut_short(study: Study, contrast: str) -> None:
    """Leave half of a file."""
    path = study.path(contrast)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def changed(study: Study, contrast: str, change: Callable[[np.ndarray], np.ndarray], **header: Any) -> None:
    """Write a volume anew with other voxels or header fields."""
    voxels, affine = study.target if contrast == "T2w" or study.reference is None else study.reference
    image = nib.Nifti1Image(change(voxels.copy()), affine)
    for name, value in header.items():
        image.header[name] = value
    nib.save(image, study.path(contrast))


def with_value(value: float, where: Any) -> Callable[[np.ndarray], np.ndarray]:
    """Return what sets some voxels."""

    def change(voxels: np.ndarray) -> np.ndarray:
        voxels[where] = value
        return voxels

    return change


def pipe(study: Study) -> None:
    """Put a named pipe in the place of a target."""
    study.path("T2w").unlink()
    os.mkfifo(study.path("T2w"))


def dead_link(study: Study) -> None:
    """Put a link to nothing in the place of a reference."""
    study.path("T1w").unlink()
    study.path("T1w").symlink_to("gone.nii.gz")


def renamed(study: Study, name: str) -> None:
    """Give both files of a study another name."""
    for contrast in ("T2w", "T1w"):
        study.path(contrast).rename(study.folder / f"{name}_{contrast}.nii.gz")
    study.name = name


def second_run(study: Study) -> None:
    """Put two equally close references beside a target."""
    for run in ("run-1", "run-2"):
        shutil.copy(study.path("T1w"), study.folder / f"{study.key}_{run}_T1w.nii.gz")
    study.path("T1w").unlink()


def loud_ending(study: Study) -> None:
    """Write the ending of a target in capitals."""
    study.path("T2w").rename(study.folder / f"{study.key}_T2w.NII.GZ")


def other_head(study: Study) -> None:
    """Give a reference that shows something else: noise in a box."""
    middle = tuple(slice(n // 4, n - n // 4) for n in study.target[0].shape)
    box = np.zeros_like(study.target[0])
    box[middle] = np.random.default_rng(0).random(box[middle].shape) * 900
    nib.save(nib.Nifti1Image(box, study.target[1]), study.path("T1w"))


NIFTI_FAULTS: dict[str, tuple[str, Callable[[Study], Any]]] = {
    "target cut short": (FAILED, lambda s: cut_short(s, "T2w")),
    "reference cut short": (FAILED, lambda s: cut_short(s, "T1w")),
    "empty target": (FAILED, lambda s: s.path("T2w").write_bytes(b"")),
    "NaN in the target": (FAILED, lambda s: changed(s, "T2w", with_value(np.nan, np.s_[5, 5, 2]))),
    "target of one value": (FAILED, lambda s: changed(s, "T2w", with_value(7, np.s_[:]))),
    "four volumes in a file": (FAILED, lambda s: changed(s, "T2w", lambda v: np.stack([v] * 4, -1))),
    "text in the place of an image": (FAILED, lambda s: s.path("T2w").write_text("no image")),
    "named pipe": (FAILED, pipe),
    "dead link as reference": (EITHER, dead_link),
    "no reference": (DONE, lambda s: s.path("T1w").unlink()),
    "reference of something else": (EITHER, other_head),
    "hot voxel in the reference": (DONE, lambda s: changed(s, "T1w", with_value(3e4, np.s_[4, 9, 3]))),
    "hot voxel in the target": (DONE, lambda s: changed(s, "T2w", with_value(3e4, np.s_[4, 9, 3]))),
    "padding of -1024": (EITHER, lambda s: changed(s, "T1w", with_value(-1024, np.s_[:3]))),
    "two references alike": (EITHER, second_run),
    "ending in capitals": (PASSED, loud_ending),
    "a name of 200 letters": (EITHER, lambda s: renamed(s, f"{s.key}{'x' * 190}")),
    "blanks, # and % in the name": (DONE, lambda s: renamed(s, f"{s.key}#a 100%")),
}


def dicom_slice(voxels: np.ndarray, affine: np.ndarray, index: int, **tags: Any) -> Dataset:
    """Return one slice of voxels (X, Y, Z) as a classic MR image."""
    one = Dataset()
    one.file_meta = FileMetaDataset()
    one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    one.SOPClassUID, one.SOPInstanceUID, one.Modality = MRImageStorage, generate_uid(), "MR"
    one.ImageType, one.InstanceNumber = ["ORIGINAL", "PRIMARY", "M"], index + 1
    lps = np.diag([-1, -1, 1, 1]) @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    one.PixelSpacing, one.SliceThickness = [float(round(n, 6)) for n in spacing[1::-1]], float(round(spacing[2], 6))
    one.ImagePositionPatient = [round(float(x), 6) for x in (lps @ [0, 0, index, 1])[:3]]
    one.ImageOrientationPatient = [round(float(x), 9) for x in (lps[:3, :2] / spacing[:2]).T.ravel()]
    pixels = voxels[..., index].T
    one.Rows, one.Columns = pixels.shape
    one.SamplesPerPixel, one.PhotometricInterpretation, one.PixelRepresentation = 1, "MONOCHROME2", 0
    one.BitsAllocated, one.BitsStored, one.HighBit = 16, 16, 15
    one.PixelData = np.rint(pixels.clip(0)).astype("<u2").tobytes()
    for keyword, value in tags.items():
        setattr(one, keyword, value)
    return one


def write_dicom(study: Study, fault: str) -> None:
    """Write a study of two series, the target's with a fault."""
    ids = {"PatientID": study.key, "StudyInstanceUID": generate_uid(), "FrameOfReferenceUID": generate_uid()}
    contrasts = {
        "t2": (study.target, {"SeriesDescription": "AX T2 TSE", "EchoTime": "100", "RepetitionTime": "5000"}),
        "t1": (study.reference, {"SeriesDescription": "AX T1 SE", "EchoTime": "10", "RepetitionTime": "500"}),
    }
    for name, (volume, tags) in contrasts.items():
        if volume is None:
            continue
        folder = study.folder / study.key / name
        folder.mkdir(parents=True)
        series = generate_uid()
        for index in range(volume[0].shape[2]):
            one = dicom_slice(*volume, index, SeriesInstanceUID=series, ScanningSequence="SE", **ids | tags)
            if name == "t2" and DICOM_FAULTS[fault][1](one, index):
                continue
            one.save_as(folder / f"{index:03d}.dcm", enforce_file_format=True)


def _short(one: Dataset, index: int) -> bool:
    if index == 3:
        one.PixelData = one.PixelData[: len(one.PixelData) // 2]
    return False


def _gradient_echo(one: Dataset, _: int) -> bool:
    one.ScanningSequence, one.SeriesDescription, one.EchoTime = "GR", "AX T2 GRE", "20"
    return False


def _spine(one: Dataset, _: int) -> bool:
    one.BodyPartExamined, one.SeriesDescription = "CSPINE", "SAG T2 C-SPINE"
    return False


def _no_study(one: Dataset, _: int) -> bool:
    one.StudyInstanceUID = ""
    return False


DICOM_FAULTS: dict[str, tuple[str, Callable[[Dataset, int], bool]]] = {
    "none": (DONE, lambda *_: False),
    "DICOM: a slice is missing": (FAILED, lambda _, index: index == 5),
    "DICOM: pixels cut short": (FAILED, _short),
    "DICOM: T2* gradient echo": (PASSED, _gradient_echo),
    "DICOM: another part of the body": (PASSED, _spine),
    "DICOM: no identity of the study": (EITHER, _no_study),
}


def sources(folders: list[Path]) -> list[tuple[Volume, Volume]]:
    """Return pairs on one grid, slices last."""
    if not folders:
        made = [simulate_subject(index, 0) for index in (1, 2)]
        return [((v["T2w"].astype(np.float32), a), (v["T1w"].astype(np.float32), a)) for v, a in made]
    found = []
    for pair in (pair for folder in folders for pair in find_pairs(folder, "auto")):
        target, reference = (read_volume(pair[key]) for key in ("image", "reference"))
        if target.voxels.shape == reference.voxels.shape:
            found.append(((target.voxels, target.affine), (reference.voxels, reference.affine)))
    return found


def crop(pair: tuple[Volume, Volume], generator: np.random.Generator) -> tuple[Volume, Volume]:
    """Cut a block with most of a head out of both, and make the target coarse in plane."""
    (target, affine), (reference, _) = pair
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    step = max(1, round(3 * spacing[0] / spacing[2]))  # of isotropic volumes every third slice
    sizes = [min(SIZE, target.shape[0]), min(SIZE, target.shape[1]), min(SLICES, target.shape[2] // step)]
    room = [n - size * each for n, size, each in zip(target.shape, sizes, (1, 1, step), strict=True)]
    start = [int(r * generator.uniform(0.35, 0.65)) for r in room]
    block = tuple(slice(s, s + n * each, each) for s, n, each in zip(start, sizes, (1, 1, step), strict=True))
    moved = affine @ np.diag([1, 1, step, 1])
    moved[:3, 3] = (affine @ [*start, 1])[:3]
    factors = generator.uniform(1.6, 4, 2)
    axes = [KSpaceAxis(n, f, str(generator.choice(["box", "hann"]))) for n, f in zip(sizes, factors, strict=False)]  # type: ignore[arg-type]
    slices = torch.from_numpy(np.moveaxis(target[block], -1, 0).copy())
    coarse = np.stack([scan(one, Scan(axes[0], axes[1])).numpy() for one in slices], axis=-1)
    return (coarse.astype(np.float32), moved), (reference[block].astype(np.float32), moved)


def turned(volume: Volume, axes: str) -> Volume:
    """Store a volume in another orientation."""
    image = nib.Nifti1Image(*volume)
    orientation = nib.orientations.ornt_transform(
        nib.orientations.io_orientation(volume[1]), nib.orientations.axcodes2ornt(tuple(axes))
    )
    image = image.as_reoriented(orientation)
    return np.asarray(image.dataobj, dtype=np.float32), image.affine


def build(folder: Path, n_cases: int, pairs: list[tuple[Volume, Volume]], faulty: bool) -> list[Study]:
    """Write all studies: NIfTI into one folder, DICOM into another."""
    generator = np.random.default_rng(0)
    studies = []
    kinds = {"nifti": list(NIFTI_FAULTS), "dicom": list(DICOM_FAULTS)[1:]}
    counts: Counter[str] = Counter()
    for number in range(n_cases):
        form = "dicom" if number % 4 == 3 else "nifti"
        target, reference = crop(pairs[number % len(pairs)], generator)
        axes = "RAS" if form == "dicom" else str(generator.choice(["RAS", "LPS", "PIR", "ASL"]))
        (folder / form).mkdir(parents=True, exist_ok=True)
        study = Study(f"sub-{number:03d}", turned(target, axes), turned(reference, axes), folder / form)
        has_fault = faulty and counts[form] % 2 == 1
        study.fault = kinds[form][counts[form] // 2 % len(kinds[form])] if has_fault else "none"
        counts[form] += 1
        if form == "dicom":
            study.expected = DICOM_FAULTS[study.fault][0]
            write_dicom(study, study.fault)
        else:
            for contrast, volume in (("T2w", study.target), ("T1w", study.reference)):
                image = nib.Nifti1Image(*volume)
                image.header.set_xyzt_units("mm")
                nib.save(image, study.path(contrast))
            if study.fault != "none":
                study.expected, spoil = NIFTI_FAULTS[study.fault]
                spoil(study)
        studies.append(study)
    return studies


def command(folder: Path, form: str, output: Path) -> list[str]:
    """Return the command that does all studies of one form."""
    return [sys.executable, "-W", "ignore", "-m", "bundle", "enhance", str(folder / form), "-o", str(output / form)]


def outcome(study: Study, output: Path) -> tuple[str, str]:
    """Return what became of a study, and why, by the report."""
    form = study.folder.name
    report = json.loads((output / form / "report.json").read_text())
    for entry in report["cases"]:
        if study.key in entry["case"]:
            return entry["status"], entry.get("reason") or "; ".join(entry.get("warnings", [])[:1])
    for group in report.get("passed_over", []):
        if any(study.key in name for name in group["files"]):
            return PASSED, group["reason"]
    return "not accounted for", ""


def misplaced(study: Study, output: Path) -> bool:
    """Tell whether a result does not overlay its input."""
    results = [path for path in (output / "nifti").glob("*_sr.nii.gz") if path.name.startswith(study.key)]
    if study.folder.name != "nifti" or not results:
        return False
    result, before = nib.load(results[0]), study.target
    return result.shape != before[0].shape or not np.allclose(result.affine, before[1], atol=1e-3)


def night(folder: Path, studies: list[Study]) -> bool:
    """Do all studies and tell what became of them; true where all is as it should be."""
    start = time.monotonic()
    output = folder / "out"
    for form in sorted({study.folder.name for study in studies}):
        with (folder / f"{form}.log").open("wb") as log:
            subprocess.run(command(folder, form, output), stdout=log, stderr=log, check=False)
    seconds = time.monotonic() - start
    kinds: dict[tuple[str, str], Counter[str]] = {}
    reasons, well = {}, True
    for study in studies:
        found, reason = outcome(study, output)
        reasons.setdefault(study.fault, reason)
        if misplaced(study, output):
            found = "does not overlay its input"
        kinds.setdefault((study.fault, study.expected), Counter())[found] += 1
        well &= found in study.expected
    rows = [
        (fault, expected, ", ".join(f"{n} {what}" for what, n in found.items()), (reasons[fault] or "-")[:110])
        for (fault, expected), found in kinds.items()
    ]
    print(markdown_table(("kind", "expected", "found", "said"), rows))
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
    print(f"\n{len(studies)} cases in {seconds:.0f} s, {seconds / len(studies):.1f} s a case; {memory:.1f} GB at most")
    return well


def files_below(folder: Path) -> dict[str, Path]:
    """Return the results below a folder."""
    return {str(path.relative_to(folder)): path for path in sorted(folder.rglob("[!.]*.nii.gz"))}


def kills(folder: Path, studies: list[Study], n_kills: int) -> bool:
    """End the batch at random moments until it is done, as often as asked for, and compare with one left alone."""
    chance, whole, well = random.Random(0), folder / "whole", True
    start = time.monotonic()
    subprocess.run(command(folder, "nifti", whole), capture_output=True, check=True)
    longest = time.monotonic() - start
    expected, done, rounds = files_below(whole), 0, 0
    while done < n_kills:
        output, rounds = folder / f"cut-{rounds}", rounds + 1
        while done < n_kills:
            job = subprocess.Popen(
                command(folder, "nifti", output), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, process_group=0
            )
            try:
                job.wait(chance.uniform(0.3, 1.0) * longest)
                break
            except subprocess.TimeoutExpired:
                os.killpg(job.pid, signal.SIGKILL)
                job.wait()
                done += 1
                found = files_below(output) if output.is_dir() else {}
                well &= all(filecmp.cmp(path, expected[name], shallow=False) for name, path in found.items())
        finished = subprocess.run(command(folder, "nifti", output), capture_output=True, check=False)
        found = files_below(output)
        same = found.keys() == expected.keys() and all(filecmp.cmp(found[n], expected[n], shallow=False) for n in found)
        left = [path.name for path in output.rglob("*") if path.name.endswith((".partial", ".lock"))]
        totals = json.loads((output / "nifti" / "report.json").read_text())["totals"]
        all_told = sum(totals[name] for name in ("done", "skipped")) == len(studies)
        print(f"{done} kills: exit {finished.returncode}, outputs equal {same}, left {left}, report {totals}")
        well &= same and not left and all_told and finished.returncode == 0
        shutil.rmtree(output)
    return well


def main() -> int:
    """Build, do, and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where to write; emptied first")
    parser.add_argument("--cases", type=int, default=48)
    parser.add_argument("--data", type=Path, nargs="*", default=[], help="folders of pairs on one grid")
    parser.add_argument("--kills", type=int, default=0)
    options = parser.parse_args()
    shutil.rmtree(options.folder, ignore_errors=True)
    studies = build(options.folder, options.cases, sources(options.data), faulty=not options.kills)
    if options.kills:
        return 0 if kills(options.folder, [s for s in studies if s.folder.name == "nifti"], options.kills) else 1
    return 0 if night(options.folder, studies) else 1


if __name__ == "__main__":
    sys.exit(main())
