# SPDX-License-Identifier: Apache-2.0
"""A run works on the one pair that is named, on a whole data set, or on one set of a split."""

import os
from pathlib import Path

import pytest

from bundle.data import find_pairs, pairs_of_subset, requested_cases, split_pairs
from bundle.data.datalist import Pair
from bundle.data.splits import SPLITS, SplitPlan
from bundle.errors import InputError


def people(n: int) -> list[Pair]:
    names = [f"S{index}" for index in range(n)]
    return [{"image": f"{name}.nii", "reference": "r.nii", "subject": name, "case": f"sub-{name}"} for name in names]


@pytest.mark.parametrize(
    ("name", "subject", "case"),
    [
        ("sub-L12_ses-1_T2w.nii.gz", "L12", "sub-L12_ses-1"),
        ("sub-01_T2w.nii", "01", "sub-01"),
        ("IXI002-Guys-0828-T2.nii.gz", "IXI002", "IXI002-Guys-0828"),
        ("brain.nii.gz", "brain", "brain"),
        ("T2.v1.nii", "T2.v1", "T2.v1"),
        ("scan 3 (new).nii.gz", "scan 3 (new)", "scan-3-new"),
        ("sub-1_FLAIR.nii.gz", "sub-1_FLAIR", "sub-1_FLAIR"),
    ],
)
def test_a_named_pair_takes_subject_and_case_from_the_image_name(
    tmp_path: Path, name: str, subject: str, case: str
) -> None:
    image, reference = tmp_path / name, tmp_path / "other" / "sub-9_T1w.nii.gz"
    expected = {"image": str(image), "reference": str(reference), "subject": subject, "case": case}
    assert requested_cases("not looked at", image=image, reference=str(reference)).pairs == [expected]


@pytest.mark.parametrize("name", ["sub-L12_ses-1_T2w.nii.gz", "IXI002-Guys-0828-T2.nii.gz"])
def test_a_named_pair_is_the_one_its_folder_would_give(tmp_path: Path, name: str) -> None:
    reference = name.replace("T2", "T1")
    for file in (name, reference):
        (tmp_path / file).touch()
    named = requested_cases(tmp_path, image=tmp_path / name, reference=tmp_path / reference).pairs
    assert named == find_pairs(tmp_path) == requested_cases(tmp_path).pairs


@pytest.mark.parametrize(("name", "case"), [("p 1/T2", "p-1_T2"), ("sub-1/T2w", "sub-1_T2w")])
def test_a_dicom_folder_is_named_after_its_parent_too(tmp_path: Path, name: str, case: str) -> None:
    (tmp_path / name).mkdir(parents=True)
    (pair,) = requested_cases(".", image=tmp_path / name, reference=tmp_path / "T1").pairs
    assert pair["case"] == case
    assert pair["subject"] == name.replace("/", "_")


def test_a_named_pair_is_absolute_and_its_links_keep_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "here").symlink_to(tmp_path / "store")
    monkeypatch.chdir(tmp_path)
    (pair,) = requested_cases(".", image="here/a.nii", reference=Path("./b.nii")).pairs
    assert pair["image"] == str(tmp_path / "here" / "a.nii")
    assert pair["reference"] == str(tmp_path / "b.nii")


def test_a_named_pair_may_lie_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (pair,) = requested_cases(".", image="~/sub-1_T2w.nii", reference=Path("~") / "r.nii").pairs
    assert (pair["image"], pair["reference"]) == (str(tmp_path / "sub-1_T2w.nii"), str(tmp_path / "r.nii"))
    # A tilde before what is nobody's name is a part of the name.
    (pair,) = requested_cases(".", image="~backup.nii", reference="r.nii").pairs
    assert pair["image"] == str(tmp_path / "~backup.nii")


def test_a_data_set_may_lie_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "data").mkdir()
    for name in ("sub-1_T2w.nii", "sub-1_T1w.nii", "sub-1_PDw.nii"):
        (tmp_path / "data" / name).touch()
    (pair,) = requested_cases("~/data", "T1w").pairs
    assert pair["reference"] == str(tmp_path / "data" / "sub-1_T1w.nii")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"image": "a.nii"}, "^--image is given without its reference; add --reference FILE"),
        ({"reference": "a.nii"}, "^--reference is given without its image; add --image FILE"),
    ],
)
def test_half_a_pair_is_refused_naming_the_other_half(
    tmp_path: Path, given: dict[str, str | os.PathLike[str]], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        requested_cases(tmp_path, **given)


def test_without_a_named_pair_an_empty_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no pairs"):
        requested_cases(tmp_path)


def test_without_a_split_file_every_pair_is_chosen() -> None:
    pairs = people(4)
    chosen = pairs_of_subset(pairs, None, "validate", 7)
    assert chosen == pairs
    assert chosen is not pairs


@pytest.mark.parametrize("subset", SPLITS)
def test_a_subset_is_the_one_that_training_drew(tmp_path: Path, subset: str) -> None:
    pairs = people(9)
    splits = split_pairs(pairs, tmp_path / "splits.json")
    assert pairs_of_subset(pairs, tmp_path / "splits.json", subset) == splits[subset]


def test_a_subset_keeps_only_the_subjects_that_the_data_set_has(tmp_path: Path) -> None:
    splits = split_pairs(people(9), tmp_path / "splits.json")
    known, gone = splits["test"]
    stranger = known | {"subject": "stranger"}
    assert pairs_of_subset([stranger, known], tmp_path / "splits.json") == [known]
    assert gone["subject"] != known["subject"]


def test_a_missing_split_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.json: there is no split file; train first"):
        pairs_of_subset(people(3), tmp_path / "none.json")


def test_an_unknown_subset_is_refused_naming_the_known(tmp_path: Path) -> None:
    split_pairs(people(3), tmp_path / "splits.json")
    with pytest.raises(InputError, match="has no set 'testing'; choose train, validate, test"):
        pairs_of_subset(people(3), tmp_path / "splits.json", "testing")


def test_an_empty_subset_is_refused(tmp_path: Path) -> None:
    split_pairs(people(2), tmp_path / "splits.json", SplitPlan(validate=0))
    with pytest.raises(InputError, match=r"no subject of its validate set \(empty\) is in the data set; check"):
        pairs_of_subset(people(2), tmp_path / "splits.json", "validate")


def test_a_subset_of_another_data_set_is_refused_naming_its_subjects(tmp_path: Path) -> None:
    plan = SplitPlan(test=["S1", "S0"])
    split_pairs(people(4), tmp_path / "splits.json", plan)
    with pytest.raises(InputError, match=r"splits\.json: no subject of its test set \(S0, S1\) is in the data set"):
        pairs_of_subset(people(4)[2:], tmp_path / "splits.json", "test")


def test_each_fold_has_its_own_subset_and_must_be_named(tmp_path: Path) -> None:
    pairs, file = people(6), tmp_path / "splits.json"
    folds = [split_pairs(pairs, file, SplitPlan(n_folds=3, fold=fold))["test"] for fold in range(3)]
    assert [pairs_of_subset(pairs, file, "test", fold) for fold in range(3)] == folds
    assert sorted(pair["subject"] for fold in folds for pair in fold) == [f"S{index}" for index in range(6)]
    for fold in (None, 3):
        with pytest.raises(InputError, match=f"has 3 folds and fold is {fold}; take 0 to 2"):
            pairs_of_subset(pairs, file, "test", fold)
