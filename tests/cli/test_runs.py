# SPDX-License-Identifier: Apache-2.0
"""The command line as its users run it, on small volumes, from a folder that is not the bundle's."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
import torch

from bundle.cli import main
from bundle.networks import Generator

ROOT = Path(__file__).resolve().parents[2]
AS_IT_IS = ["--residual", "true", "--low-res", "zero_filled", "--device", "cpu"]


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Write the weights of an untrained generator that is the identity on its low-res input."""
    torch.save(Generator(residual=True).state_dict(), tmp_path / "model.pt")
    return tmp_path / "model.pt"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def written(folder: Path) -> dict[str, np.ndarray]:
    """Return the voxels of all volumes in a folder, by name."""
    return {str(file.relative_to(folder)): nib.load(file).get_fdata() for file in sorted(folder.rglob("*.nii.gz"))}


def test_one_image_is_enhanced_and_the_screen_holds_nothing_but_messages(
    small_dataset: Path, weights: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    stem = small_dataset / "sub-D" / "anat" / "sub-D"
    pair = [f"{stem}_T2w.nii.gz", "--reference", f"{stem}_PDw.nii.gz"]
    assert main(["enhance", *pair, "-m", "model.pt", "-o", "out", *AS_IT_IS]) == 0
    (voxels,) = written(tmp_path / "out").values()
    before = nib.load(f"{stem}_T2w.nii.gz").get_fdata()
    np.testing.assert_allclose(voxels, before, rtol=0, atol=1e-3 * before.max())
    assert capfd.readouterr().out == ""


def test_what_show_config_prints_does_the_same_when_it_is_run(
    small_dataset: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["enhance", os.path.relpath(small_dataset), "-m", "model.pt", "--degrade", "--device", "cpu"]
    arguments += ["--set", "output_dtype=input", "--residual", "true"]
    assert main([*arguments, "-o", "by command"]) == 0
    capsys.readouterr()
    assert main([*arguments, "-o", "by monai", "--show-config"]) == 0
    script = capsys.readouterr().out
    process = subprocess.run(["sh", "-c", script], capture_output=True, text=True, cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    ours, theirs = written(tmp_path / "by command"), written(tmp_path / "by monai")
    assert len(ours) == 4
    assert "sub-A_sr.nii.gz" in ours
    assert ours.keys() == theirs.keys()
    for name, voxels in ours.items():
        np.testing.assert_array_equal(voxels, theirs[name])


def test_names_are_shown_and_not_obeyed(
    small_dataset: Path, weights: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(small_dataset, tmp_path / "a\x1b[2J\nINFO forged\u202e")
    (folder,) = tmp_path.glob("a*")
    (folder / "sub-A" / "anat" / "sub-A_T2w.nii.gz").write_bytes(b"damaged")
    assert main(["enhance", str(folder), "-o", "out", "-m", "model.pt", "--log", "out.log", *AS_IT_IS]) == 1
    said = [capfd.readouterr().err, *((tmp_path / "out" / name).read_text() for name in ("report.json", "index.html"))]
    for text in (*said, (tmp_path / "out.log").read_text()):
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert not [line for line in text.splitlines() if line.startswith("INFO forged")]
    assert r"a\x1b[2J\nINFO forged\u202e/sub-A/anat/sub-A_T2w.nii.gz: this is not a NIfTI file" in said[0]


def test_a_bids_data_set_becomes_derivatives(small_dataset: Path, weights: Path, tmp_path: Path) -> None:
    shutil.copytree(small_dataset / "sub-D", tmp_path / "bids" / "sub-D")
    (tmp_path / "bids" / "dataset_description.json").write_text('{"Name": "tiny", "BIDSVersion": "1.8.0"}')
    assert main(["enhance", "bids", "-o", "bids/derivatives/mcsr", "-m", "model.pt", *AS_IT_IS]) == 0
    assert list(written(tmp_path / "bids" / "derivatives" / "mcsr")) == ["sub-D/anat/sub-D_desc-sr_T2w.nii.gz"]


def test_a_run_that_cannot_start_ends_with_one_sentence_and_status_2(small_dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_text("no weights")
    stem = small_dataset / "sub-D" / "anat" / "sub-D"
    words = ["enhance", f"{stem}_T2w.nii.gz", "-r", f"{stem}_PDw.nii.gz", "-m", "model.pt", "-o", "out", "-q"]
    process = subprocess.run(
        [sys.executable, "-m", "bundle", *words, "--device", "cpu"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 2, process.stderr
    assert process.stdout == ""
    last = process.stderr.strip().splitlines()[-1]
    assert last.startswith(f"error: {tmp_path / 'model.pt'}: cannot be read as weights")
    assert "Traceback" not in process.stderr


def test_a_dicom_series_becomes_a_nifti_file_named_after_its_folders(
    write_dicom: Any, weights: Path, tmp_path: Path
) -> None:
    voxels = np.random.default_rng(0).integers(1, 999, (3, 24, 20)).astype("u2")
    for name, factor in (("T2", 1), ("T1", 3)):
        write_dicom(tmp_path / "patient 1" / name, voxels * factor, series=f"1.2.{factor}")
    words = ["enhance", "patient 1/T2", "--reference", "patient 1/T1", "-m", "model.pt", "-o", "out"]
    assert main([*words, *AS_IT_IS]) == 0
    found = nib.load(tmp_path / "out" / "patient-1_T2_sr.nii.gz")
    np.testing.assert_allclose(found.get_fdata(), voxels.transpose(2, 1, 0), atol=1)
    np.testing.assert_allclose(found.affine, [[-1, 0, 0, 10], [0, -1, 0, -5], [0, 0, 4, 0], [0, 0, 0, 1]], atol=1e-5)


def test_a_folder_of_dicom_studies_is_paired_by_its_headers(write_dicom: Any, weights: Path, tmp_path: Path) -> None:
    voxels = np.random.default_rng(0).integers(1, 999, (3, 24, 20)).astype("u2")
    for patient in ("a", "b"):
        for number, words in enumerate(("t2_tse_tra", "t1_se_tra", "t2_tirm_tra_dark-fluid")):
            tags = {"SeriesDescription": words, "PatientID": f"known {patient}"}
            folder = tmp_path / "export" / patient / f"{number}"
            write_dicom(folder, voxels * (number + 1), study=f"1.{patient == 'a':d}", series=f"1.2.{number}", **tags)
    assert main(["enhance", "export", "-m", "model.pt", "-o", "out", *AS_IT_IS]) == 0
    assert list(written(tmp_path / "out")) == ["a_0_sr.nii.gz", "b_0_sr.nii.gz"]
    record = (tmp_path / "out" / "a_0_sr.json").read_text()
    assert f"{Path('export') / 'a' / '1'}" in record
    assert "known a" not in record


def test_a_dicom_result_is_of_the_patient_whom_nothing_else_names(
    write_dicom: Any, weights: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    voxels = np.random.default_rng(0).integers(1, 999, (3, 24, 20)).astype("u2")
    person = {"PatientID": "id-4711", "PatientName": "Known^Somebody", "PatientBirthDate": "19700102"}
    for number, words in enumerate(("t2_tse_tra", "t1_se_tra")):
        study = {"StudyInstanceUID": "1.2.826.0.1.3680043.9.1", "AccessionNumber": "acc-12"}
        tags = {"SeriesDescription": words, "SeriesInstanceUID": f"1.2.826.0.1.3680043.8.{number}"} | study | person
        write_dicom(tmp_path / "export" / str(number), voxels * (number + 1), **tags)
    command = ["enhance", "export", "-m", "model.pt", "-o", "out", "--dicom", *AS_IT_IS]
    assert main([*command, "--dry-run"]) == 0
    assert main([*command, "--log", "out.log"]) == 0
    files = sorted((tmp_path / "out" / "0_sr_dicom").iterdir())
    images = [pydicom.dcmread(file) for file in files]
    assert {image.PatientID for image in images} == {"id-4711"}
    found = nib.load(tmp_path / "out" / "0_sr.nii.gz").get_fdata()
    np.testing.assert_allclose(np.stack([image.pixel_array.T for image in images], -1), found, atol=0.5)
    others = [file for file in (tmp_path / "out").rglob("*") if file.is_file() and file not in files]
    said = [capfd.readouterr().err, caplog.text, (tmp_path / "out.log").read_text(), *map(str, files)]
    said += [file.read_bytes().decode("latin-1") + file.name for file in others]
    for secret in ("id-4711", "Known", "19700102", "1.2.826.0.1.3680043.9.1", "acc-12"):
        assert not [text for text in said if secret in text], secret


def test_dicom_of_what_is_no_dicom_is_refused_before_the_first_case(
    small_dataset: Path, weights: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    stem = small_dataset / "sub-D" / "anat" / "sub-D"
    pair = [f"{stem}_T2w.nii.gz", "--reference", f"{stem}_PDw.nii.gz"]
    assert main(["enhance", *pair, "-m", "model.pt", "-o", "out", "--dicom", "--dry-run", *AS_IT_IS]) == 2
    assert "this is no DICOM, so its result cannot become DICOM; leave out --dicom" in capfd.readouterr().err


HOSTILE = "$(touch pwned) #1 @image @#a %output_dir a::b 'q' \"d\" \\ [x], {y} <b>&amp; \n é " + os.fsdecode(b"\xff")


def test_names_of_any_character_work_and_nothing_in_them_is_evaluated(
    small_dataset: Path, weights: Path, tmp_path: Path
) -> None:
    stem = small_dataset / "sub-D" / "anat" / "sub-D"
    place = tmp_path / HOSTILE
    place.mkdir()
    for contrast in ("T2w", "PDw"):
        shutil.copy(f"{stem}_{contrast}.nii.gz", place / f"{HOSTILE} {contrast}.nii.gz")
    weights.rename(place / "$m#1.pt")
    before = sorted(tmp_path.iterdir())
    pair = [f"{HOSTILE}/{HOSTILE} T2w.nii.gz", "-r", f"{HOSTILE}/{HOSTILE} PDw.nii.gz", "-m", f"{HOSTILE}/$m#1.pt"]
    assert main(["enhance", *pair, "-o", f"{HOSTILE}/out #2", *AS_IT_IS]) == 0
    assert len(written(place / "out #2")) == 1
    assert sorted(tmp_path.iterdir()) == before


CODE = ["$__import__('os').mkdir('pwned')", "@output_dir", "%image", "=1+1", "#b"]


@pytest.mark.parametrize("ending", ["csv", "json"])
def test_cells_of_a_list_are_never_evaluated(ending: str, small_dataset: Path, weights: Path, tmp_path: Path) -> None:
    stem = small_dataset / "sub-D" / "anat" / "sub-D"
    rows = [("image", "reference", "subject", "case")]
    for number, cell in enumerate(CODE):
        files = [f"{cell}.nii.gz", f"{cell} reference.nii.gz"]
        for file, contrast in zip(files, ("T2w", "PDw"), strict=True):
            shutil.copy(f"{stem}_{contrast}.nii.gz", tmp_path / file)
        rows.append((*files, cell, f"{cell}{number}"))
    if ending == "csv":
        text = "\n".join(";".join(row) for row in rows)
    else:
        text = json.dumps([dict(zip(rows[0], row, strict=True)) for row in rows[1:]])
    (tmp_path / f"list #1.{ending}").write_text(text)
    before = sorted(tmp_path.iterdir())
    assert main(["enhance", f"list #1.{ending}", "-m", "model.pt", "-o", "out", *AS_IT_IS, "--dry-run"]) == 0
    assert main(["enhance", f"list #1.{ending}", "-m", "model.pt", "-o", "out", *AS_IT_IS]) == 0
    assert len(written(tmp_path / "out")) == len(CODE)
    assert sorted(tmp_path.iterdir()) == sorted([*before, tmp_path / "out"])


def test_folders_whose_names_are_numbers_or_hold_a_hash_are_those_that_are_meant(
    small_dataset: Path, weights: Path, tmp_path: Path
) -> None:
    for folder, subject in (("study", "A"), ("study #2", "B"), ("2024", "C"), ("null", "D")):
        shutil.copytree(small_dataset / f"sub-{subject}", tmp_path / folder / f"sub-{subject}")
    for folder, subject in (("study #2", "B"), ("2024", "C"), ("./null", "D")):
        words = ["--dataset_dir", folder, "--ckpt_path", "model.pt", "--set", f"output_dir=out/{folder} #1", *AS_IT_IS]
        assert main(["enhance", *words]) == 0
        assert list(written(tmp_path / "out" / f"{folder} #1")) == [f"sub-{subject}_sr.nii.gz"]
