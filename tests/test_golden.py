# SPDX-License-Identifier: Apache-2.0
"""Outputs of every shipped weights file stay what they are: a phantom, and a slice of a patient.

``tests/golden/outputs.json`` holds voxels of the NIfTI outputs at fixed places, relative to the largest, as
``python -m tests.test_golden`` writes them: those of the default weights of version 0.11.0, of the others of 0.8.0.
"""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from monai.bundle import run

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = ROOT / "tests" / "golden" / "outputs.json"
WEIGHTS = {
    "model": "PDw",
    "T1w_4x": "T1w",
    "T1w_3x": "T1w",
    "T1w_2x": "T1w",
}
N_VOXELS = 60


def slab(file: Path, folder: Path, first: int) -> Path:
    """Write two slices of a volume."""
    image = nib.load(file).slicer[:, :, first : first + 2]
    nib.save(image, folder / file.name)
    return folder / file.name


def sharpened(weights: str, image: Path, reference: Path, output: Path) -> np.ndarray:
    """Return voxels of the output for a sharp image that is made low-res first."""
    run(
        "inference",
        config_file=str(ROOT / "configs" / "inference.yaml"),
        bundle_root=str(ROOT),
        image=str(image),
        reference=str(reference),
        ckpt_path=str(ROOT / "models" / f"{weights}.pt"),
        output_dir=str(output),
        degrade=True,
        mixed_precision=False,
        quality_page=False,
    )
    (file,) = output.glob("*_sr.nii.gz")
    voxels = nib.load(file).get_fdata()
    places = np.random.default_rng(0).integers(0, voxels.size, N_VOXELS)
    return voxels.reshape(-1)[places] / voxels.max()


def cases(folder: Path, phantom: Path, real: Path | None) -> Iterator[tuple[str, str, Path, Path]]:
    """Yield name, weights, image and reference."""
    sources = {"phantom": (phantom, "sub-P01/anat/sub-P01", 8)}
    if real is not None:
        sources["L12"] = (real / "open_ms", "sub-L12_ses-1", 22)
    for source, (top, stem, first) in sources.items():
        below = folder / "slabs" / source
        below.mkdir(parents=True)
        there = [c for c in ("T2w", "T1w", "PDw") if (top / f"{stem}_{c}.nii.gz").exists()]
        files = {c: slab(top / f"{stem}_{c}.nii.gz", below, first) for c in there}
        for weights, contrast in WEIGHTS.items():
            if contrast in files or weights == "model":  # whose reference may be of any contrast
                contrast = contrast if contrast in files else "T1w"
                yield f"{source} {weights}", weights, files["T2w"], files[contrast]


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a phantom data set of one subject."""
    from bundle.phantom import write_phantom

    folder = tmp_path_factory.mktemp("golden") / "phantom"
    write_phantom(folder, 1)
    return folder


def test_outputs_are_what_they_were(phantom, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(ROOT)
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    real = ROOT.parent / "shared" / "data"
    compared = 0
    for name, weights, image, reference in cases(tmp_path, phantom, real if real.is_dir() else None):
        found = sharpened(weights, image, reference, tmp_path / name)
        np.testing.assert_allclose(found, golden[name], rtol=0, atol=1e-5, err_msg=name)
        compared += 1
    assert compared >= len(WEIGHTS)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        from bundle.phantom import write_phantom

        write_phantom(Path(temporary) / "phantom", 1)
        real_data = ROOT.parent / "shared" / "data"
        outputs = {
            name: [round(float(v), 7) for v in sharpened(weights, image, reference, Path(temporary) / name)]
            for name, weights, image, reference in cases(Path(temporary), Path(temporary) / "phantom", real_data)
        }
        GOLDEN.write_text(json.dumps(outputs) + "\n", encoding="utf-8")
