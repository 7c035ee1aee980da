# SPDX-License-Identifier: Apache-2.0
"""The batch as ``inference.yaml`` puts it together."""

import itertools
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigWorkflow, run

from bundle.batch.locks import Lock
from bundle.errors import InputError, input_error
from bundle.networks import Generator

CONFIG = "configs/inference.yaml"


@pytest.fixture(autouse=True)
def _in_bundle_root(monkeypatch: pytest.MonkeyPatch, bundle_root: Path) -> None:
    monkeypatch.chdir(bundle_root)


@pytest.fixture
def keys(small_dataset: Path, tmp_path: Path) -> dict[str, Any]:
    """Return keys of a run over one small case with a network that is the identity on its low-res input."""
    torch.save(Generator(residual=True).state_dict(), tmp_path / "w.pt")
    return {
        "image": str(small_dataset / "sub-A" / "anat" / "sub-A_T2w.nii.gz"),
        "reference": str(small_dataset / "sub-A" / "anat" / "sub-A_PDw.nii.gz"),
        "ckpt_path": str(tmp_path / "w.pt"),
        "residual": True,
        "low_res": "zero_filled",
        "quality_page": False,
    }


def test_monai_s_evaluator_writes_what_the_batch_writes(keys, tmp_path) -> None:
    run("inference", config_file=CONFIG, output_dir=str(tmp_path / "batch"), **keys)
    workflow = ConfigWorkflow(
        config_file=CONFIG, workflow_type="infer", output_dir=str(tmp_path / "evaluator"), bundle_root=".", **keys
    )
    workflow.initialize()
    workflow.evaluator.run()
    volumes = [nib.load(tmp_path / by / "sub-A_sr.nii.gz") for by in ("batch", "evaluator")]
    assert np.array_equal(volumes[0].get_fdata(), volumes[1].get_fdata())
    assert volumes[0].header == volumes[1].header


def test_a_second_run_does_nothing_and_a_changed_setting_does_all(keys, tmp_path) -> None:
    output = tmp_path / "out"
    times = []
    for changed in ({}, {}, {"data_consistency": False}):
        run("inference", config_file=CONFIG, output_dir=str(output), **keys, **changed)
        times.append([path.stat().st_mtime_ns for path in sorted(output.glob("*.nii.gz"))])
    assert times[0] == times[1]
    assert not set(times[1]) & set(times[2])
    record = json.loads((output / "sub-A_sr.json").read_text())
    assert record["settings"]["data_consistency"] is False
    assert record["settings"]["trained"]["factor"] == 4


def without_times(value: Any) -> Any:
    """Leave out of JSON values when something was done, and how long it took."""
    if isinstance(value, dict):
        return {key: without_times(v) for key, v in value.items() if key not in ("started", "finished", "time")}
    return [without_times(one) for one in value] if isinstance(value, list) else value


def contents(folder: Path) -> dict[str, Any]:
    """Return all that a run has written, by name, apart from times."""
    found: dict[str, Any] = {}
    for file in filter(Path.is_file, folder.rglob("*")):
        found[str(file.relative_to(folder))] = content = file.read_bytes()
        if file.suffix == ".json":
            found[str(file.relative_to(folder))] = without_times(json.loads(content))
        if file.suffix == ".html":
            found[str(file.relative_to(folder))] = re.sub(rb"<time .*?</time>|<td[^>]*>[^<]* s</td>", b"", content)
    return found


@pytest.mark.parametrize("kind", ["NIfTI", "NIfTI with all that can be asked for", "DICOM"])
def test_two_runs_of_a_case_give_equal_bytes(kind, keys, write_dicom, tmp_path) -> None:
    expected = {"NIfTI": 1}.get(kind, 2)
    settings: dict[str, Any] = {"quality_page": True}
    if expected == 2:  # with error bars, which the bundle's own weights predict
        settings |= {"interval": True, "ckpt_path": "models/model.pt", "residual": False, "factor": 4}
    if kind == "DICOM":
        voxels = np.random.default_rng(0).integers(1, 999, (3, 24, 20)).astype("u2")
        for number, key in enumerate(("image", "reference")):
            folder = write_dicom(tmp_path / key, voxels * (number + 1), series=f"1.2.826.0.1.3680043.8.{number}")
            settings |= {key: str(folder), "dicom": True}
    elif expected == 2:
        settings |= {"low_res": "auto", "degrade": True}
    for by in ("first", "second"):
        run("inference", config_file=CONFIG, output_dir=str(tmp_path / by), **keys | settings)
    first, second = contents(tmp_path / "first"), contents(tmp_path / "second")
    assert sum(name.endswith(".nii.gz") for name in first) == expected
    assert sum(name.endswith(".dcm") for name in first) == (3 if kind == "DICOM" else 0)
    assert sum(name.endswith((".json", ".html")) for name in first) == 4
    assert first == second


def test_a_stray_voxel_and_borders_change_nothing_beside_them_and_borders_come_back(keys, tmp_path) -> None:
    image, reference = (nib.load(keys[key]) for key in ("image", "reference"))
    plain, guide = (np.asarray(loaded.dataobj).copy() for loaded in (image, reference))
    plain[:4] = guide[:4] = 0  # as air
    spoilt, spoilt_guide = plain.copy(), guide.copy()
    spoilt[:4], spoilt_guide[:4], spoilt_guide[20, 20, 2] = -1024, 3000, 32767
    outputs = []
    for by, voxels in (("plain", (plain, guide)), ("spoilt", (spoilt, spoilt_guide))):
        paths = {key: str(tmp_path / f"{by}_{key}.nii.gz") for key in ("image", "reference")}
        for path, one in zip(paths.values(), voxels, strict=True):
            nib.save(nib.Nifti1Image(one, image.affine, image.header), path)
        run("inference", config_file=CONFIG, output_dir=str(tmp_path / by), **keys | paths)
        outputs.append(nib.load(tmp_path / by / f"{by}_image_sr.nii.gz").get_fdata())
    assert (outputs[1][:4] == -1024).all()
    np.testing.assert_array_equal(outputs[1][4:], outputs[0][4:])
    record = json.loads((tmp_path / "spoilt" / "spoilt_image_sr.json").read_text())
    told = [
        said.partition("spoilt_")[2].partition(" throughout")[0]
        for said in record["warnings"]
        if ": its border" in said
    ]
    assert told == ["image.nii.gz: its border is -1024", "reference.nii.gz: its border is 3000"]
    assert any("spoilt_reference.nii.gz: a single voxel is far out of range" in said for said in record["warnings"])


def test_a_dry_run_writes_nothing(keys, tmp_path, capsys) -> None:
    run("inference", config_file=CONFIG, output_dir=str(tmp_path / "out"), dry_run=True, **keys)
    assert not (tmp_path / "out").exists()
    table = [line for line in capsys.readouterr().err.splitlines() if line.startswith("| sub-")]
    assert [line.split("|")[1].strip() for line in table] == ["sub-A"]
    assert "sub-A_T2w.nii.gz" in table[0]


def test_weights_that_need_a_reference_are_not_run_without_one(keys, tmp_path) -> None:
    with pytest.raises(RuntimeError) as caught:
        run(
            "inference",
            config_file=CONFIG,
            output_dir=str(tmp_path),
            on_bad_reference="single_contrast",
            **keys,
        )
    assert "these weights need a reference" in str(input_error(caught.value))
    assert not list(tmp_path.glob("*.json"))


@pytest.mark.parametrize("threads", [0, "many", 10**5])
def test_a_number_of_threads_that_makes_no_sense_is_refused(threads, keys, tmp_path) -> None:
    with pytest.raises((RuntimeError, InputError)) as caught:
        run("inference", config_file=CONFIG, output_dir=str(tmp_path), threads=threads, **keys)
    assert "give 1 or more, or null for all" in str(input_error(caught.value))


@pytest.mark.long
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_to_the_command_line_leaves_whole_files_and_its_status(
    number, status, keys, small_dataset, tmp_path
) -> None:
    """One case is done; another, which this test has, cannot be: there is something left to interrupt."""
    output = tmp_path / "out"
    command = [sys.executable, "-W", "ignore", "-m", "monai.bundle", "run", "inference", "--config_file", CONFIG]
    settings = keys | {"image": "null", "reference": "null", "dataset_dir": small_dataset, "output_dir": output}
    for key, value in settings.items():
        command += [f"--{key}", str(value)]
    environment = os.environ | {"PYTHONPATH": "."}
    last = Lock(output, "sub-D_sr.nii.gz")
    assert last.acquire()
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, env=environment) as process:
        before = list(itertools.takewhile(lambda line: b"sub-A done in" not in line, process.stderr))
        process.send_signal(number)
        _, errors = process.communicate()
    last.release()
    assert process.returncode == status, before
    assert b"Traceback" not in errors
    assert b"interrupted: nothing is half-written" in errors
    assert not [path for path in output.iterdir() if path.name.startswith(".")]
    assert (output / "sub-A_sr.nii.gz").is_file()
    assert not (output / "sub-D_sr.nii.gz").exists()
    for path in output.glob("*.nii.gz"):
        nib.load(path).get_fdata()
    assert json.loads((output / "report.json").read_text())["interrupted"]
    subprocess.run(command, check=True, capture_output=True, env=environment)
    assert len(list(output.glob("*.nii.gz"))) == 4
