# SPDX-License-Identifier: Apache-2.0
"""Super-resolve a phantom by MONAI Label over HTTP and by the command line, and compare: `make label-demo`."""

import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from server import ROOT, make_app, running

from bundle.kspace import zero_fill

OUTPUT = ROOT / "output" / "label"
WEIGHTS = ROOT / "models" / "model.pt"
FACTOR = 4
IMAGE = "sub-P01_T2w"
REFERENCE = "sub-P01_PDw"


def main() -> None:
    """Do it all, and print a table."""
    say(f"weights: {WEIGHTS.relative_to(ROOT)}")
    truth = write_studies(OUTPUT / "studies")
    by_command = enhance()
    app = make_app(OUTPUT / "app", WEIGHTS)
    say(f"starting MONAI Label; its messages go to {(app / 'server.log').relative_to(ROOT)}")
    with running(app, OUTPUT / "studies") as server:
        say(f"POST {server.url}/infer/mcsr?image={IMAGE}&output=image")
        answer = server.infer(IMAGE)
        if answer.status != 200:
            raise SystemExit(f"the server refused: {answer.detail}")
        by_label = OUTPUT / f"{IMAGE}_sr.nii.gz"
        by_label.write_bytes(answer.body)
        refusal = server.infer(REFERENCE)
        say(f"asked for an image without a reference, it answers {refusal.status}: {refusal.detail}")
    say("the server is stopped\n")
    report(truth, by_command, by_label)


def write_studies(folder: Path) -> Path:
    """Write a phantom that no training saw, its T2w low-res, into the folder of the server; return the truth."""
    phantom = OUTPUT / "phantom"
    for old in (folder, phantom):
        shutil.rmtree(old, ignore_errors=True)
    run("-m", "bundle", "phantom", phantom, "--subjects", "1", "--seed", "1")
    folder.mkdir(parents=True)
    truth, reference = (phantom / "sub-P01" / "anat" / f"{name}.nii.gz" for name in (IMAGE, REFERENCE))
    shutil.copy(reference, folder)
    image = nib.load(truth)
    slices = torch.from_numpy(image.get_fdata(dtype=np.float32)).movedim(-1, 0)
    low_res = zero_fill(slices, FACTOR).movedim(0, -1).numpy()
    nib.save(nib.Nifti1Image(low_res, image.affine), folder / truth.name)
    return truth


def enhance() -> Path:
    """Super-resolve the study by the command line, which takes the same weights by the reference's contrast."""
    image, reference = (OUTPUT / "studies" / f"{name}.nii.gz" for name in (IMAGE, REFERENCE))
    arguments = [image, "--reference", reference, "-o", OUTPUT / "command_line", "--quiet"]
    run("-m", "bundle", "enhance", *arguments)
    return OUTPUT / "command_line" / "sub-P01_sr.nii.gz"


def report(truth: Path, by_command: Path, by_label: Path) -> None:
    """Print how far the outputs are from each other and from the truth."""
    files = {"low-res": OUTPUT / "studies" / truth.name, "mcsr enhance": by_command, "MONAI Label": by_label}
    images = {name: nib.load(file) for name, file in files.items()}
    expected = nib.load(truth).get_fdata()
    say("| image | file | PSNR |\n| --- | --- | --- |")
    for name, file in files.items():
        error = np.mean(np.square(images[name].get_fdata() - expected)) / expected.max() ** 2
        say(f"| {name} | {file.relative_to(ROOT)} | {-10 * np.log10(error):.2f} dB |")
    first, second = images["mcsr enhance"], images["MONAI Label"]
    voxels = np.abs(first.get_fdata() - second.get_fdata()).max() / expected.max()
    affine = np.abs(first.affine - second.affine).max()
    say(f"\nMONAI Label and the command line differ by {voxels:.1e} of the maximum, their affines by {affine:.1e} mm.")


def run(*arguments: str | Path) -> None:
    """Run Python in the bundle's folder."""
    subprocess.run([sys.executable, "-W", "ignore", *map(str, arguments)], cwd=ROOT, check=True)


def say(text: str) -> None:
    """Print at once, before what other programs print."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
