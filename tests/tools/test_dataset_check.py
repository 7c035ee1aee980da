# SPDX-License-Identifier: Apache-2.0
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bundle.cli import main


def cells(text: str) -> dict[str, list[str]]:
    """Return the cells of each row by its case."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    return {first: rest for first, *rest in rows[2:]}


def change(folder: Path, subject: str, contrast: str, affine=None, voxels=None) -> None:
    file = folder / f"sub-{subject}" / "anat" / f"sub-{subject}_{contrast}.nii.gz"
    image = nib.load(file)
    content = np.asarray(image.dataobj) if voxels is None else voxels
    nib.save(nib.Nifti1Image(content, image.affine if affine is None else affine), file)


@pytest.fixture
def dataset(small_dataset, tmp_path) -> Path:
    return shutil.copytree(small_dataset, tmp_path / "data")


def test_a_good_data_set_is_told_row_by_row(dataset, capsys) -> None:
    assert main(["check", str(dataset)]) == 0
    text = capsys.readouterr().out
    words = "few slices; narrower than a patch: train with --patch_size 40"
    assert cells(text) == {f"sub-{name}": ["4", "48 x 40", "0.9 x 0.9 x 3", "same grid", words] for name in "ABCD"}
    assert text.endswith("\n\n4 of 4 pairs of 4 subjects can train.\n")


def test_what_is_unusual_or_of_no_use_is_told_with_the_reason(dataset, capsys, caplog) -> None:
    change(dataset, "A", "PDw", affine=np.diag([0.9, 0.9, 3, 1]))
    change(dataset, "B", "T2w", affine=np.diag([1.0, 1.0, 1.2, 1]))
    change(dataset, "C", "T2w", affine=np.diag([0.8, 1.2, 5, 1]))
    change(dataset, "D", "T2w", voxels=np.zeros((48, 40, 4), np.int16))
    assert main(["check", str(dataset)]) == 1
    told = capsys.readouterr()
    rows = cells(told.out)
    assert rows["sub-A"][3] == "other grid: registered"
    assert "nearly cubic voxels: no natural slices" in rows["sub-B"][4]
    assert "voxels not square in the plane" in rows["sub-C"][4]
    assert rows["sub-D"][4] == "cannot be used, see above"
    assert "3 of 4 pairs of 3 subjects can train." in told.out
    assert "sub-D: " in told.err
    assert "every voxel is 0" in told.err


def test_too_few_subjects_are_told(dataset, capsys) -> None:
    assert main(["check", str(dataset / "sub-A")]) == 0
    assert capsys.readouterr().out.endswith("one to train, one to validate, one to test.\n")
    assert main(["check", str(dataset / "nowhere")]) == 2
