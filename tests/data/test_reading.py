# SPDX-License-Identifier: Apache-2.0
"""A path is a NIfTI file or the folder of a DICOM series, and a header costs no voxels."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bundle.data.reading import read_volume, source_of
from bundle.errors import InputError
from bundle.files import fingerprint
from bundle.volumes.geometry import Volume
from bundle.volumes.nifti import read_nifti

VOXELS = np.random.default_rng(0).integers(1, 1000, (3, 20, 24))


def test_the_header_of_a_series_is_read_without_decoding_an_image(
    write_dicom: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_dicom(tmp_path / "T2", VOXELS)
    volume = read_volume(folder)
    monkeypatch.setattr("bundle.dicom.series._read_voxels", None)
    header = read_volume(folder, with_voxels=False)
    np.testing.assert_array_equal(volume.voxels, VOXELS.T)
    assert header.voxels.shape == volume.voxels.shape
    assert not any(header.voxels.strides)
    np.testing.assert_array_equal(header.affine, volume.affine)
    assert header.header.binaryblock == volume.header.binaryblock


def test_a_series_of_one_value_is_refused_as_a_file_is(write_dicom: Callable[..., Path], tmp_path: Path) -> None:
    folder = write_dicom(tmp_path / "T2", np.ones_like(VOXELS))
    with pytest.raises(InputError, match="every voxel is 1"):
        read_volume(folder)


def test_the_home_folder_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(InputError, match=str(tmp_path / "a.nii")):
        read_volume("~/a.nii")


def test_reading_loads_no_simpleitk(bundle_root: Path) -> None:
    code = "import sys, bundle.data.reading; print('SimpleITK' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=bundle_root, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_the_source_of_a_volume_is_its_file_or_the_folder_of_its_series(
    write_dicom: Callable[..., Path], tmp_path: Path
) -> None:
    folder = write_dicom(tmp_path / "T2", VOXELS)
    files = sorted(folder.iterdir())
    for path in (folder, files[1], files[1] / "2"):
        assert source_of(path) == folder
    (tmp_path / "a.nii").write_bytes(b"")
    assert source_of(tmp_path / "a.nii") == tmp_path / "a.nii"


@pytest.mark.parametrize(
    ("sidecar", "refused"),
    [
        ({"SliceThickness": 4}, False),
        ({"SliceThickness": 2}, True),
        ({"SliceThickness": 2, "SpacingBetweenSlices": 4}, False),
        ({"SpacingBetweenSlices": 2}, True),
        ({"SliceThickness": 1.5}, False),  # resampled
        ({"SliceThickness": "thin"}, False),
        ({}, False),
    ],
)
def test_every_other_slice_missing_is_seen_by_the_sidecar(
    sidecar: dict[str, object], refused: bool, tmp_path: Path
) -> None:
    nib.save(nib.Nifti1Image(VOXELS.T.astype("i2"), np.diag([1, 1, 4, 1])), tmp_path / "a.nii.gz")
    (tmp_path / "a.json").write_text(json.dumps(sidecar))
    if refused:
        with pytest.raises(InputError, match=r"4 mm apart where .* 2 mm: every other one seems to be missing"):
            read_volume(tmp_path / "a.nii.gz")
    else:
        assert read_volume(tmp_path / "a.nii.gz").spacing == (1, 1, 4)


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.nii"
    nib.save(nib.Nifti1Image(VOXELS.T.astype("i2"), np.eye(4)), path)

    def read_slowly(found: Path, with_voxels: bool = True) -> Volume:
        volume = read_nifti(found, with_voxels)
        with found.open("ab") as stream:
            stream.write(b"more")
        return volume

    monkeypatch.setattr("bundle.data.reading.read_nifti", read_slowly)
    with pytest.raises(InputError, match=r"a\.nii: this changed while it was read"):
        read_volume(path)


def test_what_was_read_has_its_fingerprint(tmp_path: Path, write_dicom: Callable[..., Path]) -> None:
    path = tmp_path / "a.nii"
    nib.save(nib.Nifti1Image(VOXELS.T.astype("i2"), np.eye(4)), path)
    source = read_volume(path).source
    assert source is not None
    assert source == fingerprint(path)
    assert source["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert read_volume(path, with_voxels=False).source is None


def test_the_fingerprint_of_a_folder_is_that_of_what_its_files_hold(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).write_text(name)
    before = fingerprint(tmp_path)
    assert (before["n_files"], before["bytes"]) == (2, 2)
    (tmp_path / "a").write_text("c")
    os.utime(tmp_path / "a", ns=(before["modified"], before["modified"]))
    os.utime(tmp_path / "b", ns=(before["modified"], before["modified"]))
    after = fingerprint(tmp_path)
    assert {key for key in before if before[key] != after[key]} == {"sha256"}
