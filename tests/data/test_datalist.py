# SPDX-License-Identifier: Apache-2.0
"""A datalist is found by its content, read whole, and every refusal names the remedy."""

import json
from pathlib import Path

import pytest

from bundle.data.datalist import read_datalist
from bundle.data.pairs import find_pairs, survey
from bundle.errors import InputError


def make_files(folder: Path, *names: str) -> Path:
    """Make empty files: only names matter here."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def write_datalist(folder: Path, content: object, name: str = "datalist.json") -> Path:
    (folder / name).write_text(json.dumps(content), encoding="utf-8")
    return folder / name


def matched(source: Path) -> dict[str, str]:
    """Return target name -> reference name."""
    return {Path(pair["image"]).name: Path(pair["reference"]).name for pair in find_pairs(source)}


def test_a_datalist_is_read_from_its_folder_or_its_path(tmp_path: Path) -> None:
    make_files(tmp_path, "a/one.nii.gz", "b/one.nii.gz", "sub-9_T2w.nii.gz", "sub-9_T1w.nii.gz")
    entry = {"image": "a/one.nii.gz", "reference": str(tmp_path / "b/one.nii.gz"), "subject": 7, "case": "x/y", "n": 1}
    path = write_datalist(tmp_path, [entry])
    expected = {
        "image": str(tmp_path / "a/one.nii.gz"),
        "reference": str(tmp_path / "b/one.nii.gz"),
        "subject": "7",
        "case": "x-y",
    }
    assert find_pairs(path) == find_pairs(tmp_path) == [expected]


def test_a_datalist_without_subjects_takes_them_from_names(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    names = ["sub-1_ses-2_T2w.nii", "IXI002-HH-1-T2.nii.gz", "p1/T2.nii", "p2/T2.nii", "odd.nii.gz"]
    make_files(tmp_path, "reference.nii", *names)
    write_datalist(tmp_path, [{"image": name, "reference": "reference.nii"} for name in names])
    found = {Path(pair["image"]).relative_to(tmp_path): pair for pair in find_pairs(tmp_path)}
    assert [found[Path(name)]["subject"] for name in names] == ["1", "IXI002", "p1_T2", "p2_T2", "odd"]
    assert [found[Path(name)]["case"] for name in names] == ["sub-1_ses-2", "IXI002-HH-1", "p1_T2", "p2_T2", "odd"]
    assert "3 entries name no subject" in caplog.text


def test_a_datalist_of_equal_bids_names_gets_distinct_cases(tmp_path: Path) -> None:
    names = ["a/sub-1_T2w.nii", "b/sub-1_T2w.nii"]
    make_files(tmp_path, "a/sub-1_T1w.nii", *names)
    write_datalist(tmp_path, [{"image": name, "reference": "a/sub-1_T1w.nii"} for name in names])
    pairs = find_pairs(tmp_path)
    assert [(pair["subject"], pair["case"]) for pair in pairs] == [("1", "a_sub-1_T2w"), ("1", "b_sub-1_T2w")]


def test_sections_of_a_datalist_are_flattened_and_remembered(tmp_path: Path) -> None:
    make_files(tmp_path, *[f"sub-{index}_{contrast}.nii" for index in range(3) for contrast in ("T2w", "T1w")])
    entries = [{"image": f"sub-{index}_T2w.nii", "reference": f"sub-{index}_T1w.nii"} for index in range(3)]
    content = {"name": "mine", "training": entries[:1], "validation": entries[1:2], "test": entries[2:]}
    write_datalist(tmp_path, content, "dataset_0.json")
    sections = {pair["subject"]: pair["section"] for pair in find_pairs(tmp_path)}
    assert sections == {"0": "train", "1": "validate", "2": "test"}


def test_only_a_json_that_lists_pairs_is_taken_for_a_datalist(tmp_path: Path) -> None:
    make_files(tmp_path, "sub-1_T2w.nii", "sub-1_T1w.nii", "other.nii")
    write_datalist(tmp_path, {"Name": "mine", "BIDSVersion": "1.8"}, "dataset_description.json")
    write_datalist(tmp_path, {"EchoTime": 0.1}, "sub-1_T2w.json")
    write_datalist(tmp_path, [{"image": "a.nii", "label": "b.nii"}], "labels.json")
    (tmp_path / "dataset_cut.json").write_text('[{"image":', encoding="utf-8")
    assert matched(tmp_path) == {"sub-1_T2w.nii": "sub-1_T1w.nii"}
    write_datalist(tmp_path, [{"image": "sub-1_T2w.nii", "reference": "other.nii"}], "mine.json")
    assert matched(tmp_path) == {"sub-1_T2w.nii": "other.nii"}
    write_datalist(tmp_path, [{"image": "sub-1_T2w.nii", "reference": "other.nii"}], "yours.json")
    with pytest.raises(InputError, match=r"several datalists, mine\.json and yours\.json"):
        find_pairs(tmp_path)


def write_table(folder: Path, text: str, name: str = "list.csv", encoding: str = "utf-8") -> Path:
    (folder / name).write_bytes(text.encode(encoding))
    return folder / name


@pytest.mark.parametrize(
    ("text", "name", "encoding"),
    [
        ("image,reference\na.nii,b/c d.nii\n", "list.csv", "utf-8"),
        ("image,reference\r\na.nii,b/c d.nii\r\n\r\n,\r\n", "list.CSV", "utf-8-sig"),  # as Excel saves it
        (" Reference ; IMAGE;note\nb/c d.nii; a.nii;x,y\n", "list.csv", "utf-8"),
        ("image\treference\na.nii\tb/c d.nii", "list.tsv", "utf-8"),
        ('image,reference,subject\n"a.nii","b/c d.nii",\n', "list.csv", "utf-8"),
    ],
)
def test_a_table_is_read_as_spreadsheets_save_it(text: str, name: str, encoding: str, tmp_path: Path) -> None:
    make_files(tmp_path, "a.nii", "b/c d.nii")
    (pair,) = find_pairs(write_table(tmp_path, text, name, encoding))
    expected = {"image": "a.nii", "reference": "b/c d.nii"}
    assert pair == {key: str(tmp_path / file) for key, file in expected.items()} | {"subject": "a", "case": "a"}


def test_a_table_may_name_subject_and_case_and_equals_the_same_datalist(tmp_path: Path) -> None:
    make_files(tmp_path, "t2/ä.nii", "t1/ä.nii", "p2/T2/IM1", "p2/T1/IM1")
    table = write_table(tmp_path, "subject,case,image,reference\n7,first,t2/ä.nii,t1/ä.nii\n8,,p2/T2,p2/T1\n")
    entries = [
        {"subject": 7, "case": "first", "image": "t2/ä.nii", "reference": "t1/ä.nii"},
        {"subject": "8", "image": "p2/T2", "reference": "p2/T1"},
    ]
    pairs = find_pairs(table)
    assert pairs == find_pairs(write_datalist(tmp_path, entries, "same.json"))
    assert [(pair["subject"], pair["case"]) for pair in pairs] == [("7", "first"), ("8", "T2")]


def test_dicom_folders_of_one_name_get_distinct_cases(tmp_path: Path) -> None:
    make_files(tmp_path, *[f"p{index}/{name}/IM1" for index in (1, 2) for name in ("T2", "T1")])
    table = write_table(tmp_path, "image,reference\np1/T2,p1/T1\np2/T2,p2/T1\n")
    assert [pair["case"] for pair in find_pairs(table)] == ["p1_T2", "p2_T2"]


@pytest.mark.parametrize(
    ("text", "encoding", "message"),
    [
        ("", "utf-8", "its first line is empty; name columns image and reference"),
        ("a.nii,b.nii\n", "utf-8", "its first line is a.nii, b.nii; name columns image and reference"),
        ("image,reference\n", "utf-8", "lists no pairs"),
        ("image,reference,Image \na.nii,b.nii,b.nii\n", "utf-8", "its first line names image more than once"),
        ("image,reference\na.nii,b.nii\nb.nii\n", "utf-8", "line 3: reference is missing; name one file"),
        ("image,reference\na.nii,c.nii\n", "utf-8", r"line 2: .*c\.nii does not exist; paths count from"),
        ("image,reference\nä.nii,b.nii\n", "latin-1", "cannot be read as a table .*save it as CSV UTF-8"),
    ],
)
def test_a_bad_table_is_refused(text: str, encoding: str, message: str, tmp_path: Path) -> None:
    make_files(tmp_path, "a.nii", "b.nii")
    with pytest.raises(InputError, match=message) as caught:
        find_pairs(write_table(tmp_path, text, encoding=encoding))
    assert str(tmp_path / "list.csv") in str(caught.value)


def test_a_datalist_that_mixes_contrasts_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make_files(tmp_path, "sub-1_T2w.nii", "sub-1_T1w.nii", "sub-2_T2w.nii", "sub-2_PDw.nii")
    listed = {"sub-1_T2w.nii": "sub-1_T1w.nii", "sub-2_T2w.nii": "sub-2_PDw.nii"}
    path = write_datalist(tmp_path, [{"image": image, "reference": reference} for image, reference in listed.items()])
    assert matched(path) == listed
    assert "mixes references of several contrasts: PDw, T1w" in caplog.text
    with pytest.raises(InputError, match="entry 2: the reference is PDw where reference_contrast is T1w; change the"):
        find_pairs(path, "T1w")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[", "cannot be read as a JSON datalist"),
        ("3", "is no datalist"),
        ("[]", "lists no pairs"),
        ('{"test": {}}', "is no datalist"),
        ('[{"image": "a.nii"}]', "entry 1: reference is missing; name one file"),
        ('[{"image": ["a.nii"], "reference": "a.nii"}]', "one file name each"),
        ('["a.nii"]', 'entry 1: it reads "a.nii"; each entry needs image and reference'),
        ('[{"image": "a.nii", "reference": "b.nii"}]', r"entry 1: .*b\.nii does not exist; paths count from"),
        ('[{"image": "a.nii", "reference": "a.nii"}, {"image": "a.nii", "reference": "a.nii"}]', "both be called a"),
    ],
)
def test_a_bad_datalist_is_refused(tmp_path: Path, content: str, message: str) -> None:
    make_files(tmp_path, "a.nii")
    (tmp_path / "datalist.json").write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        find_pairs(tmp_path)


def test_one_bad_row_of_a_list_is_a_case_that_cannot_be_done(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make_files(tmp_path, "a.nii", "r.nii", "b.nii")
    rows = ["a.nii,r.nii,", "gone.nii,r.nii,", "a.nii,gone.nii,x", ",r.nii,", "b.nii,,", f"{'n' * 300}.nii,r.nii,long"]
    table = write_table(tmp_path, "\n".join(["image,reference,case", *rows]))
    faults = {pair["case"]: pair.get("fault", "") for pair in survey(table, needs_reference=False).pairs}
    assert "2 entries name no subject" in caplog.text
    assert {case for case, fault in faults.items() if not fault} == {"a", "b"}
    assert {case: fault.split(": ", 1)[1] for case, fault in faults.items() if fault} == {
        "gone": f"{tmp_path}/gone.nii does not exist; paths count from the folder of the list.",
        "x": f"{tmp_path}/gone.nii does not exist; paths count from the folder of the list.",
        "line-5": "image is missing; name one file.",
        "long": f"{tmp_path}/{'n' * 300}.nii does not exist; paths count from the folder of the list.",
    }
    assert faults["line-5"].startswith(f"{table}, line 5: ")
    needed = {pair["case"]: pair.get("fault", "") for pair in survey(table).pairs}
    assert needed["b"] == f"{table}, line 6: reference is missing; name one file."


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("list.json", "[" * 5000 + "]" * 5000),
        ("list.json", '[{"image": "a", "reference": ' + "[" * 99 + "]" * 99 + "}]"),
        ("list.csv", "image,reference\n" + "a" * 200_000 + ",b\n"),
    ],
    ids=["deep", "deep entry", "wide"],
)
def test_a_list_beyond_use_is_refused_in_a_sentence(name: str, content: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=name):
        read_datalist(tmp_path / name, "auto")
