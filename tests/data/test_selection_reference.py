# SPDX-License-Identifier: Apache-2.0
"""The reference beside an image."""

from pathlib import Path

import pytest

from bundle.data import reference_beside
from bundle.errors import InputError


@pytest.mark.parametrize(
    ("image", "others", "contrast", "expected"),
    [
        ("sub-1_T2w.nii.gz", ["sub-1_T1w.nii.gz", "sub-1_PDw.nii.gz"], None, "sub-1_PDw.nii.gz"),
        ("sub-1_T2w.nii.gz", ["sub-1_T1w.nii.gz", "sub-1_PDw.nii.gz"], "T1w", "sub-1_T1w.nii.gz"),
        ("sub-1_T2w.nii.gz", ["sub-1_PDw.nii.gz"], "T1w", "sub-1_PDw.nii.gz"),  # to be told by the weights' check
        ("sub-1_T2w.nii.gz", ["sub-1_T1w.nii", "sub-2_PDw.nii.gz"], None, "sub-1_T1w.nii"),
        ("IXI002-Guys-0828-T2.nii.gz", ["IXI002-Guys-0828-PD.nii.gz"], "PDw", "IXI002-Guys-0828-PD.nii.gz"),
        ("patient_T2w.nii", ["patient_T1w.nii.gz"], None, "patient_T1w.nii.gz"),
    ],
)
def test_the_reference_is_the_one_that_the_rule_names(image, others, contrast, expected, tmp_path) -> None:
    for name in (image, *others):
        (tmp_path / name).touch()
    assert reference_beside(tmp_path / image, contrast=contrast) == tmp_path / expected


def test_further_rules_may_be_given_and_come_first(tmp_path) -> None:
    for name in ("t1_mprage.nii.gz", "sub-1_PDw.nii.gz", "sub-1_sharp.nii.gz"):
        (tmp_path / name).touch()
    names = {"t2_tse": ["t1_mprage"], "1_T2w": ["1_sharp"]}
    assert reference_beside(tmp_path / "t2_tse.nii.gz", names) == tmp_path / "t1_mprage.nii.gz"
    assert reference_beside(tmp_path / "sub-1_T2w.nii.gz", names) == tmp_path / "sub-1_sharp.nii.gz"


def test_a_missing_reference_is_told_with_the_names_it_may_have(tmp_path) -> None:
    Path(tmp_path / "sub-1_T1w.nii.gz").mkdir()  # a folder is no volume
    with pytest.raises(InputError, match=r"sub-1_T2w\.nii\.gz: no reference .* sub-1_PDw\.nii\.gz or sub-1_T1w\.nii"):
        reference_beside(tmp_path / "sub-1_T2w.nii.gz")


def test_an_image_that_no_rule_knows_is_told_with_the_rules(tmp_path) -> None:
    with pytest.raises(InputError, match=r"sub-1_FLAIR\.nii\.gz: .* none of _T2w, -T2"):
        reference_beside(tmp_path / "sub-1_FLAIR.nii.gz", {})
