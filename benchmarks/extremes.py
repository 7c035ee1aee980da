# SPDX-License-Identifier: Apache-2.0
"""Measure what values that are no signal cost the output: hot voxels, and constant borders, in either image.

    python benchmarks/extremes.py DATA/open_ms/sub-L12_ses-1_T2w.nii.gz DATA/open_ms/sub-L12_ses-1_T1w.nii.gz

Eight slices of a pair on one grid are zero-filled, spoilt in one way each, and sharpened by ``configs/inference.yaml``.
PSNR is over what lies at least 24 pixels inside the field of view, and no wider than the circle.
"""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from monai.bundle import run

from bundle import kspace
from bundle.metrics import psnr

ROOT = Path(__file__).resolve().parents[1]
N_SLICES, FACTOR, FRAME = 8, 4, 10


def spoilt(voxels: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yield ways to spoil a volume (X, Y, Z) of int16, by name."""
    middle = tuple(n // 2 for n in voxels.shape)
    rows, columns = (np.linspace(-1, 1, n) for n in voxels.shape[:2])
    frame = np.ones(voxels.shape, dtype=bool)
    frame[FRAME:-FRAME, FRAME:-FRAME] = False
    corners = np.repeat((rows[:, None] ** 2 + columns**2 > 1)[..., None], voxels.shape[2], axis=2)
    peak = int(voxels.max())
    hot = {"one voxel of 5 times the maximum": 5 * peak, "one voxel of 32767": 32767}
    places = [(name, middle, value) for name, value in hot.items()]
    places += [
        ("a frame of -1024", frame, -1024),
        ("corners of -2000", corners, -2000),
        ("corners of 4095", corners, 4095),
    ]
    for name, place, value in places:
        changed = voxels.copy()
        changed[place] = value
        yield name, changed


def main() -> None:
    """Print a row of a table for each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", type=Path)
    parser.add_argument("reference", type=Path)
    options = parser.parse_args()
    target, reference = (nib.load(path) for path in (options.target, options.reference))
    first = target.shape[2] // 2 - N_SLICES // 2
    truth, guide = (np.asarray(i.dataobj)[..., first : first + N_SLICES].astype(np.int16) for i in (target, reference))
    slices = kspace.zero_fill(torch.from_numpy(truth).float().movedim(-1, 0)[:, None], FACTOR)
    low_res = np.rint(slices[:, 0].movedim(0, -1).numpy()).astype(np.int16)
    ways = [("nothing", low_res, guide)]
    ways += [(f"reference: {name}", low_res, changed) for name, changed in spoilt(guide)]
    ways += [(f"target: {name}", changed, guide) for name, changed in spoilt(low_res)]
    rows, columns = (np.linspace(-1, 1, n) for n in truth.shape[:2])
    seen = torch.from_numpy(rows[:, None] ** 2 + columns**2 < 0.9**2)
    seen[:24] = seen[-24:] = seen[:, :24] = seen[:, -24:] = False
    for name, *images in ways:
        with tempfile.TemporaryDirectory() as folder:
            paths = [Path(folder) / f"{key}.nii.gz" for key in ("image", "reference")]
            for path, voxels in zip(paths, images, strict=True):
                nib.save(nib.Nifti1Image(voxels, target.affine), path)
            print(f"| {name} | {score(paths, truth, seen)} |", flush=True)


def score(paths: list[Path], truth: np.ndarray, seen: torch.Tensor) -> str:
    """Sharpen a pair and return the PSNR of the output in dB, or that there was none."""
    folder, config = paths[0].parent, str(ROOT / "configs" / "inference.yaml")
    keys = {"image": str(paths[0]), "reference": str(paths[1]), "output_dir": str(folder), "register": False}
    try:
        run("inference", config_file=config, bundle_root=str(ROOT), quality_page=False, **keys)
    except Exception:  # refused, and said in the log
        return "refused"
    output = nib.load(folder / "image_sr.nii.gz").get_fdata()
    pair = [torch.from_numpy(v.astype(np.float32) / truth.max())[seen][None, None] for v in (truth, output)]
    return f"{float(psnr(*pair)):.2f}"


if __name__ == "__main__":
    main()
