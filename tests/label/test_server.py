# SPDX-License-Identifier: Apache-2.0
"""MONAI Label's own server, in its own process, asked over HTTP."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from scipy.ndimage import affine_transform

from bundle.kspace import kept_block, zero_fill
from bundle.networks import Generator
from bundle.phantom.dataset import write_phantom
from label.server import ENVIRONMENT, Server, make_app, running

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(
        not (ENVIRONMENT / ".installed").is_file(), reason="MONAI Label is not installed here (make label-demo)"
    ),
]
FACTOR = 4
PAIRS = {  # image: reference, beside it
    "sub-1_T2w": "sub-1_PDw",  # zero-filled, on one grid
    "IXI002-Guys-0828-T2": "IXI002-Guys-0828-PD",  # of few pixels, the reference moved and on a grid of its own
}
"""Names of the studies; besides these, the first under a name for a rule of our own, and without a reference."""


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of low-res images with their references."""
    folder = tmp_path_factory.mktemp("studies")
    image, reference, affine = phantom(tmp_path_factory.mktemp("phantom"))
    slices = torch.from_numpy(image).movedim(-1, 0)
    low_res = zero_fill(slices, FACTOR).movedim(0, -1).numpy()
    for name in ("sub-1_T2w", "patient_t2_tse", "sub-2_T2w"):
        nib.save(nib.Nifti1Image(low_res, affine), folder / f"{name}.nii.gz")
    for name in ("sub-1_PDw", "patient_sharp"):
        nib.save(nib.Nifti1Image(reference, affine), folder / f"{name}.nii.gz")
    nib.save(few_pixels(image, affine), folder / "IXI002-Guys-0828-T2.nii.gz")
    nib.save(moved(reference, affine), folder / "IXI002-Guys-0828-PD.nii.gz")
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return weights that change an image, with their training record."""
    file = tmp_path_factory.mktemp("weights") / "mine.pt"
    torch.manual_seed(0)
    generator = Generator(residual=True)
    torch.nn.init.uniform_(generator.levels[0].decoder.last.weight, 0, 0.02)
    torch.save(generator.state_dict(), file)
    file.with_suffix(".json").write_text(json.dumps({"factor": FACTOR, "residual": True}))
    return file


@pytest.fixture(scope="module")
def server(studies: Path, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Yield a running server, one of whose rules for references is our own."""
    app = make_app(tmp_path_factory.mktemp("server") / "app", weights)
    config = app / "model" / "mcsr" / "configs" / "inference.yaml"
    rule = "reference_names:"
    (line,) = (line for line in config.read_text().splitlines() if line.startswith(rule))
    config.write_text(config.read_text().replace(line, "reference_names: {_t2_tse: [_sharp]}"))
    with running(app, studies) as server:
        yield server


def phantom(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the middle slices of a simulated T2w and PDw, and their affine."""
    write_phantom(folder, n_subjects=1)
    anat = folder / "sub-P01" / "anat"
    images = [nib.load(anat / f"sub-P01_{contrast}.nii.gz").slicer[..., 5:13] for contrast in ("T2w", "PDw")]
    return images[0].get_fdata(dtype=np.float32), images[1].get_fdata(dtype=np.float32), images[0].affine


def few_pixels(image: np.ndarray, affine: np.ndarray) -> nib.Nifti1Image:
    """Return the middle of an image's k-space as an image of a quarter of the rows and columns, centres in place."""
    axes = (0, 1)
    k_space = np.fft.fftshift(np.fft.fft2(image, axes=axes), axes=axes)
    (top, bottom), (left, right) = (kept_block(n, FACTOR) for n in image.shape[:2])
    block = np.fft.ifftshift(k_space[top:bottom, left:right], axes=axes)
    small = np.abs(np.fft.ifft2(block, axes=axes)).astype(np.float32) / FACTOR**2
    scale = np.diag([FACTOR, FACTOR, 1.0, 1.0])
    return nib.Nifti1Image(small, affine @ scale)


def moved(image: np.ndarray, affine: np.ndarray) -> nib.Nifti1Image:
    """Return an image of the head turned by 3 degrees and shifted by 2 mm, on a grid that starts elsewhere."""
    angle = np.deg2rad(3)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    turn[:2, 3] = [2.0, -1.0]
    grid = affine @ np.array([[1, 0, 0, 3.0], [0, 1, 0, -2.0], [0, 0, 1, 0], [0, 0, 0, 1]])
    matrix = np.linalg.inv(affine) @ turn @ grid
    return nib.Nifti1Image(affine_transform(image, matrix, order=1).astype(np.float32), grid)


def enhanced(image: Path, reference: Path, weights: Path, output: Path) -> nib.Nifti1Image:
    """Return what the command line makes of a pair."""
    command = [sys.executable, "-W", "ignore", "-m", "bundle", "enhance", image, "--reference", reference]
    subprocess.run([*map(str, command), "--model", str(weights), "-o", str(output), "--quiet"], check=True)
    (result,) = output.glob("*_sr.nii.gz")
    return nib.load(result)


def served(server: Server, image: str, folder: Path, **params: Any) -> nib.Nifti1Image:
    """Return what the server makes of an image."""
    answer = server.infer(image, **params)
    assert answer.status == 200, answer.body
    folder.mkdir(exist_ok=True)
    (folder / "served.nii.gz").write_bytes(answer.body)
    return nib.load(folder / "served.nii.gz")


def assert_same_image(found: nib.Nifti1Image, expected: nib.Nifti1Image) -> None:
    assert found.shape == expected.shape
    np.testing.assert_allclose(found.affine, expected.affine, rtol=0, atol=1e-4)
    voxels = expected.get_fdata()
    np.testing.assert_allclose(found.get_fdata(), voxels, rtol=0, atol=1e-5 * voxels.max())


@pytest.mark.parametrize("image", PAIRS)
def test_the_server_s_output_is_the_command_line_s(image, server, studies, weights, tmp_path) -> None:
    files = [studies / f"{name}.nii.gz" for name in (image, PAIRS[image])]
    expected = enhanced(*files, weights, tmp_path / "out")
    found = served(server, image, tmp_path, result_dtype="uint8")  # as 3D Slicer asks
    assert_same_image(found, expected)
    assert found.get_data_dtype() == np.float32
    enlarged = FACTOR if image.startswith("IXI") else 1
    low_res = nib.load(files[0])
    assert found.shape == (*(enlarged * n for n in low_res.shape[:2]), low_res.shape[2])


def test_the_answer_in_json_tells_what_was_found(server) -> None:
    found = json.loads(server.infer("IXI002-Guys-0828-T2", output="json").body)
    assert found["case"] == "IXI002-Guys-0828"
    assert "enlarged from" in found["facts"]["low_res"]["said"]
    assert found["facts"]["registration"]["resampled"] is True
    assert found["facts"]["data_consistency"]["restored"] is True  # of the postprocessing, after the network
    assert all(isinstance(warning, str) for warning in found["warnings"])


def test_a_reference_is_found_by_another_rule_or_named_in_the_request(server, studies, tmp_path) -> None:
    elsewhere = tmp_path / "elsewhere.nii.gz"
    shutil.copy(studies / "sub-1_PDw.nii.gz", elsewhere)
    found = served(server, "patient_t2_tse", tmp_path / "rule")
    assert_same_image(found, served(server, "sub-2_T2w", tmp_path / "named", reference=str(elsewhere)))
    assert "reference" in server.get("/info/")["models"]["mcsr"]["config"]  # so that clients show a field for it


@pytest.mark.parametrize(
    ("image", "params", "said"),
    [
        ("sub-2_T2w", {}, "sub-2_T2w.nii.gz: no reference lies beside this image; put sub-2_PDw.nii.gz or"),
        ("sub-2_T2w", {"reference": "gone.nii.gz"}, "gone.nii.gz: there is no such file"),
        ("sub-1_PDw", {}, "which file is the reference of this image?"),
        ("sub-9_T2w", {}, "no image of this name is among the server's studies"),
    ],
)
def test_what_cannot_be_done_is_answered_with_a_sentence(image, params, said, server) -> None:
    answer = server.infer(image, **params)
    assert answer.status == 422
    assert said in answer.detail


def test_the_client_of_3d_slicer_gets_the_same_image_by_upload_and_by_session(server, studies, tmp_path) -> None:
    """The HTTP calls of its module: datastore and session upload, inference with parameters, the multipart answer."""
    image, reference = studies / "sub-1_T2w.nii.gz", studies / "patient_sharp.nii.gz"
    script = Path(__file__).with_name("slicer_client.py")
    words = [ENVIRONMENT / "bin" / "python", "-W", "ignore", script, server.url, image, reference, tmp_path]
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, check=False, env=clean)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["calls"] == [
        ["GET", "/info/", ""],
        ["PUT", "/datastore/?image=uploaded_T2w", "multipart/form-data"],
        ["POST", "/infer/mcsr?image=uploaded_T2w", "multipart/form-data"],
        ["PUT", "/session/", "multipart/form-data"],
        ["POST", "/infer/mcsr?image=&session_id=SESSION", "multipart/form-data"],
    ]
    assert "reference" in told["models"]["mcsr"]["config"]  # so that the module shows a field for it
    expected = served(server, "sub-1_T2w", tmp_path / "plain", reference=str(reference))
    for file, params in told["results"]:
        assert_same_image(nib.load(file), expected)
        assert {"case", "warnings", "facts"} <= params.keys()


def test_of_several_volumes_of_a_study_the_rule_or_the_request_chooses_the_reference(server, studies, tmp_path) -> None:
    """A study with two references, as MONAILabel#241 asks."""
    for name, source in (("T2w", "sub-1_T2w"), ("PDw", "sub-1_PDw"), ("T1w", "sub-1_T2w")):
        shutil.copy(studies / f"{source}.nii.gz", studies / f"sub-5_{name}.nii.gz")
    by_rule = served(server, "sub-5_T2w", tmp_path / "rule")
    assert_same_image(by_rule, served(server, "sub-5_T2w", tmp_path / "pd", reference="sub-5_PDw.nii.gz"))
    by_request = served(server, "sub-5_T2w", tmp_path / "t1", reference="sub-5_T1w.nii.gz")
    assert np.abs(by_request.get_fdata() - by_rule.get_fdata()).max() > 1e-3 * by_rule.get_fdata().max()
