# SPDX-License-Identifier: Apache-2.0
"""Lengths in metres and microns become mm, and those that no patient has are refused."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bundle.data.reading import read_volume
from bundle.errors import InputError
from bundle.volumes.nifti import write_volume

AFFINE = nib.affines.from_matvec(
    nib.eulerangles.euler2mat(0.1, -0.2, 0.3) @ np.diag([-0.6, -0.6, 3.3]), [99.425, 118.858, -41.166]
)
VOXELS = np.arange(20 * 21 * 5).reshape(20, 21, 5).astype("i2")


def saved(path: Path, scale: float, units: str, form: str = "both") -> Path:
    """Write a volume whose header counts in other units."""
    affine = np.diag([scale, scale, scale, 1]) @ AFFINE
    image = nib.Nifti1Image(VOXELS, affine)
    image.header.set_xyzt_units(units, "sec")
    image.set_sform(affine, 1 if form != "qform" else 0)
    image.set_qform(affine, 1 if form != "sform" else 0)
    nib.save(image, path)
    return path


@pytest.mark.parametrize("form", ["both", "qform", "sform"])
@pytest.mark.parametrize(("scale", "units"), [(1000, "micron"), (0.001, "meter"), (1, "mm"), (1, "unknown")])
def test_lengths_become_millimetres_in_the_volume_and_in_what_is_written(
    scale: float, units: str, form: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    volume = read_volume(saved(tmp_path / "a.nii", scale, units, form))
    np.testing.assert_allclose(volume.affine, AFFINE, atol=1e-4)
    assert caplog.text == ""  # the forms agree
    write_volume(tmp_path / "out.nii", volume.voxels, volume)
    written = nib.load(tmp_path / "out.nii")
    np.testing.assert_allclose(written.affine, AFFINE, atol=1e-4)
    np.testing.assert_allclose(written.header.get_zooms(), (0.6, 0.6, 3.3), rtol=1e-5)
    assert written.header.get_xyzt_units() == ("unknown" if units == "unknown" else "mm", "sec")


@pytest.mark.parametrize(("scale", "units"), [(1000, "mm"), (0.001, "unknown"), (1, "micron"), (1, "meter")])
def test_voxels_that_no_patient_has_are_refused_with_the_remedy(scale: float, units: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="which no image of a patient has; correct its units"):
        read_volume(saved(tmp_path / "a.nii", scale, units))
