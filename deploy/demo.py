# SPDX-License-Identifier: Apache-2.0
"""Sharpen a phantom's DICOM study by the MONAI Deploy application and by `mcsr enhance`, and compare."""

import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from bundle.kspace import zero_fill

ROOT = Path(__file__).resolve().parents[1]
OUTPUT = ROOT / "output" / "deploy"
APP_PYTHON = ROOT / ".venv-deploy" / "bin" / "python"
FACTOR = 4


def main() -> None:
    """Do it all, and say how far the results are from each other."""
    shutil.rmtree(OUTPUT, ignore_errors=True)
    run(sys.executable, "-m", "bundle", "phantom", OUTPUT / "phantom", "--subjects", "1", "--seed", "1")
    study = write_study(OUTPUT / "phantom" / "sub-P01" / "anat", OUTPUT / "study")
    run("bash", "-c", f"ulimit -s 32768 && '{APP_PYTHON}' -W ignore deploy/app.py -i '{study}' -o '{OUTPUT / 'app'}'")
    pair = (study / "T2w", "--reference", study / "T1w")
    run(sys.executable, "-W", "ignore", "-m", "bundle", "enhance", *pair, "-o", OUTPUT / "command", "--dicom", "-q")
    first, second = (pixels(OUTPUT / name) for name in ("app", "command"))
    difference = np.abs(first - second).max()
    size = " x ".join(map(str, first.shape))
    say(f"{size} values; largest difference of the two series: {difference}")
    if difference:
        raise SystemExit("the application and mcsr enhance do not agree")


def write_study(anatomy: Path, folder: Path) -> Path:
    """Write a simulated low-res T2w and a T1w as two series of one study, one folder each; return the study's."""
    study, frame = generate_uid(), generate_uid()
    for number, contrast in enumerate(("T2w", "T1w"), start=1):
        image = nib.load(anatomy / f"sub-P01_{contrast}.nii.gz")
        slices = torch.from_numpy(image.get_fdata(dtype=np.float32)).movedim(-1, 0)
        if contrast == "T2w":
            slices = zero_fill(slices, FACTOR)
        write_series(folder / contrast, slices.numpy(), image.affine, contrast, number, study, frame)
    return folder


def write_series(
    folder: Path, slices: np.ndarray, affine: np.ndarray, contrast: str, number: int, study: str, frame: str
) -> None:
    """Write slices (n, i, j) of a NIfTI volume as classic MR images: columns run along i, rows along j."""
    folder.mkdir(parents=True)
    to_lps = np.diag([-1.0, -1.0, 1.0])
    axes, origin = to_lps @ affine[:3, :3], to_lps @ affine[:3, 3]
    spacing = np.linalg.norm(axes, axis=0)
    series = generate_uid()
    for index, pixels_ in enumerate(slices):
        one = Dataset()
        one.file_meta = FileMetaDataset()
        one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        one.SOPClassUID, one.SOPInstanceUID = MRImageStorage, generate_uid()
        one.StudyInstanceUID, one.SeriesInstanceUID, one.FrameOfReferenceUID = study, series, frame
        one.PatientID, one.PatientName, one.Modality = "P01", "Phantom^P01", "MR"
        one.StudyDescription, one.SeriesDescription, one.SeriesNumber = "Simulated head", f"{contrast} phantom", number
        one.ImageType, one.InstanceNumber = ["ORIGINAL", "PRIMARY", "M"], index + 1
        one.Rows, one.Columns = pixels_.shape[1], pixels_.shape[0]
        one.PixelSpacing, one.SliceThickness = [f"{spacing[1]:.6f}", f"{spacing[0]:.6f}"], f"{spacing[2]:.6f}"
        one.ImageOrientationPatient = [f"{x:.6f}" for x in (*axes[:, 0] / spacing[0], *axes[:, 1] / spacing[1])]
        one.ImagePositionPatient = [f"{x:.6f}" for x in origin + index * axes[:, 2]]
        one.SamplesPerPixel, one.PhotometricInterpretation, one.PixelRepresentation = 1, "MONOCHROME2", 0
        one.BitsAllocated, one.BitsStored, one.HighBit = 16, 16, 15
        one.PixelData = np.ascontiguousarray(pixels_.T.round().clip(0, 2**16 - 1)).astype("<u2").tobytes()
        one.save_as(folder / f"{index:03d}.dcm", enforce_file_format=True)


def pixels(folder: Path) -> np.ndarray:
    """Return the values (n, rows, columns) of the one derived series in a folder, in the order of its slices."""
    slices = [dcmread(file) for file in folder.rglob("*.dcm")]
    slices.sort(key=lambda one: int(one.InstanceNumber))
    return np.stack([one.pixel_array * float(one.get("RescaleSlope", 1)) for one in slices])


def run(*words: object) -> None:
    """Run a program in the bundle's folder."""
    subprocess.run([*map(str, words)], cwd=ROOT, check=True)


def say(text: str) -> None:
    """Print at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
