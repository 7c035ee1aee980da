# SPDX-License-Identifier: Apache-2.0
"""A path is a NIfTI file or the folder of a DICOM series, and a header costs no voxels."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bundle.data.reading import read_volume
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


def test_simpleitk_is_loaded_for_dicom_alone(bundle_root: Path) -> None:
    code = "import sys, bundle.dicom.export, bundle.volumes.nifti; print('SimpleITK' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=bundle_root, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
