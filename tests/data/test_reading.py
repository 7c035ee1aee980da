# SPDX-License-Identifier: Apache-2.0
"""A path is a NIfTI file or the folder of a DICOM series, and a header costs no voxels."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bundle.data.reading import files_of, read_volume
from bundle.errors import InputError

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


def test_the_files_of_a_volume_are_those_of_its_folder(write_dicom: Callable[..., Path], tmp_path: Path) -> None:
    folder = write_dicom(tmp_path / "T2", VOXELS)
    files = sorted(folder.iterdir())
    for path in (folder, files[1], files[1] / "2"):
        assert sorted(files_of(path)) == files
    (tmp_path / "a.nii").write_bytes(b"")
    assert files_of(tmp_path / "a.nii") == [tmp_path / "a.nii"]


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
