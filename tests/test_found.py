# SPDX-License-Identifier: Apache-2.0
"""Whatever lies below a folder is accounted for, and a fault of one case stays with that case."""

import json
import logging
import os
from pathlib import Path

import numpy as np
import pytest

from bundle.data.pairs import survey
from bundle.errors import InputError
from bundle.found import Found, refuse_fault
from bundle.transforms import LoadPaird

RECORD = {"case": "sub-1", "inputs": {}, "settings": {}}


def make_files(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


@pytest.fixture
def others(tmp_path: Path) -> Path:
    """Return a data set of one sound pair, to which others come."""
    make_files(tmp_path, "sub-9/sub-9_T2w.nii.gz", "sub-9/sub-9_T1w.nii.gz")
    return tmp_path


def faults(found: Found) -> dict[str, str]:
    """Return the fault by case, empty where there is none, of all but the sound pair."""
    cases = {pair["case"]: pair.get("fault", "") for pair in found.pairs}
    assert cases.pop("sub-9") == ""
    return cases


def passed_over(found: Found, top: Path) -> dict[str, list[str]]:
    """Return the files by reason, relative to the folder."""
    return {
        reason: [os.path.relpath(path, top) for path in paths]  # a path may hold what pathlib takes away
        for reason, paths in found.passed_over.items()
    }


def test_two_references_that_fit_equally_well_fail_their_case_alone(others: Path) -> None:
    make_files(others, "sub-2_T2w.nii.gz", "sub-2_run-1_T1w.nii.gz", "sub-2_run-2_T1w.nii.gz")
    for needs_reference in (True, False):
        found = survey(others, needs_reference=needs_reference)
        (fault,) = faults(found).values()
        assert "two references that fit equally well" in fault
        assert found.passed_over == {}
        assert "reference" not in found.pairs[0]


@pytest.mark.parametrize(
    "names",
    [
        ("sub-2_T2w.nii.gz", "sub-2_T2w.nii"),
        ("a/sub-2_T2w.nii", "b/sub-2_T2w.nii", "c/sub-2_T2w.nii"),
        ("sub-Zo\u00eb_T2w.nii", "sub-Zoe\u0308_T2w.nii"),  # one letter, stored in two ways
    ],
)
def test_targets_of_one_name_are_one_case_that_cannot_be_done(names: tuple[str, ...], others: Path) -> None:
    make_files(others, *names, *(name.replace("T2w", "T1w") for name in names))
    found = survey(others)
    (fault,) = faults(found).values()
    assert "would both be called sub-" in fault
    assert not any(str(others / name) in path for name in names for path in found.passed_over.values())


def test_what_bids_keeps_beside_raw_data_is_passed_over_unless_it_is_named(others: Path) -> None:
    for folder in ("sourcedata/sub-9", "derivatives/x/sub-9"):
        (others / folder).mkdir(parents=True)
        for contrast in ("T1w", "T2w"):
            (others / folder / f"sub-9_{contrast}.nii.gz").symlink_to("/no/such/.git/annex/x.nii.gz")
    found = survey(others)
    assert faults(found) == {}
    (told,) = passed_over(found, others).values()
    assert sorted(told) == ["derivatives", "sourcedata"]
    assert len(survey(others / "sourcedata").pairs) == 1


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("sub-2_T2w.NII.GZ", "upper and lower case"),
        ("sub-2_t2w.nii.gz", "upper and lower case"),
        ("SUB-2_T2w.nii", "upper and lower case"),
        ("ixi002-Guys-0828-T2.nii.gz", "upper and lower case"),
        ("sub-2_T1w.nii.gz", "no target takes it"),
        ("sub-2_part-phase_T2w.nii.gz", "no magnitude image"),
        ("sub-2_FLAIR.nii.gz", "its name tells none of"),
        ("T2.nii.gz", "its name tells none of"),
        ("sub-2_T2w.mgz", "its format is not read"),
        ("sub-2_T2w.img", "its format is not read"),
        ("old/sub-2_T2w.NRRD", "its format is not read"),
    ],
)
def test_every_image_below_a_folder_is_accounted_for(
    name: str, reason: str, others: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    make_files(others, name, "README", "sub-9/sub-9_T2w.json", ".hidden/sub-3_T2w.nii.gz")
    found = survey(others)
    assert faults(found) == {}
    ((why, files),) = passed_over(found, others).items()
    assert (reason in why, files) == (True, [name])
    (line,) = (record for record in caplog.records if "passed over" in record.getMessage())
    assert line.levelname == ("WARNING" if "upper" in reason else "INFO")
    assert line.getMessage() == f"1 passed over ({why}): {name}"


def test_a_target_without_a_reference_is_told_where_one_is_needed(others: Path) -> None:
    make_files(others, "sub-2_T2w.nii.gz")
    assert passed_over(survey(others), others) == {
        "there is no T1w of its session or study": ["sub-2_T2w.nii.gz"],
    }
    assert faults(survey(others, needs_reference=False)) == {"sub-2": ""}


def test_images_that_a_list_leaves_out_are_told(others: Path) -> None:
    make_files(others, "a.nii.gz", "b.nii.gz", "c.nii.gz")
    (others / "datalist.json").write_text(json.dumps([{"image": "a.nii.gz", "reference": "b.nii.gz"}]))
    (told,) = passed_over(survey(others), others).items()
    assert told == ("datalist.json does not list it", ["c.nii.gz", "sub-9/sub-9_T1w.nii.gz", "sub-9/sub-9_T2w.nii.gz"])


@pytest.mark.parametrize("series", [False, True])
def test_own_results_are_no_targets(series: bool, others: Path, write_dicom) -> None:
    names = ["sr/sub-1/sub-1_desc-sr_T2w.nii.gz", "sr/sub-1/sub-1_desc-sr_T2w_interval.nii.gz"]
    make_files(others, *names)
    if series:
        write_dicom(others / "sr/sub-1/sub-1_desc-sr_T2w_dicom", np.ones((1, 6, 5)))
    (others / "sr/sub-1/sub-1_desc-sr_T2w.json").write_text(json.dumps(RECORD))
    found = survey(others, needs_reference=False)
    assert faults(found) == {}
    dicom = ["sr/sub-1/sub-1_desc-sr_T2w_dicom"] if series else []
    assert passed_over(found, others) == {"a result of an earlier run": [*names, *dicom]}


@pytest.mark.parametrize("content", ["", "[]", '{"inputs": {}}'])
def test_an_image_beside_any_other_json_is_no_own_result(content: str, others: Path) -> None:
    make_files(others, "sub-2_T2w.nii.gz", "sub-2_T1w.nii.gz")
    (others / "sub-2_T2w.json").write_text(content)
    assert faults(survey(others)) == {"sub-2": ""}


def test_dicom_beside_nifti_images_is_told_by_its_folder(others: Path, write_dicom) -> None:
    write_dicom(others / "sub-9" / "scans", np.ones((2, 6, 5)))
    ((reason, folders),) = passed_over(survey(others), others).items()
    assert folders == ["sub-9/scans"]
    assert reason.startswith("DICOM beside NIfTI images")


def test_every_series_of_an_export_is_accounted_for(write_dicom, tmp_path: Path) -> None:
    words = {"a/t2": "t2_tse", "a/t1": "t1_se", "a/t1 again": "t1_se", "a/loc": "localizer", "a/swi": "SWI"}
    for number, (folder, description) in enumerate(words.items()):
        tags = {"SeriesDescription": description, "PixelSpacing": [1 + number] * 2}
        write_dicom(tmp_path / folder, np.ones((1, 6, 5)), series=f"1.2.{number}", **tags)
    report = write_dicom(tmp_path / "a" / "report", np.ones((1, 6, 5)), series="1.3", Modality="SR")
    for file in report.iterdir():
        file.rename(file.with_name("x"))
    make_files(tmp_path, "a/brain.nii.gz")
    assert passed_over(survey(tmp_path), tmp_path) == {
        "its description says localizer": ["a/loc"],
        "its description says swi": ["a/swi"],
        "it is of modality SR": ["a/report"],
        "no target takes it as reference": ["a/t1 again"],
        "its name tells none of T2w, PDw and T1w as BIDS and IXI do": ["a/brain.nii.gz"],
    }


def test_a_folder_that_cannot_be_read_is_told(others: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (others / "locked").mkdir()
    scan = os.scandir

    def refuse(path: str) -> object:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert passed_over(survey(others), others) == {"cannot be read (Permission denied), nor what it holds": ["locked"]}


def test_whoever_reads_a_case_refuses_its_fault() -> None:
    pair = {"case": "a", "image": "a.nii", "fault": "a.nii: it leaves a guess."}
    for read in (refuse_fault, LoadPaird(allow_missing_keys=True)):
        with pytest.raises(InputError, match=r"^a\.nii: it leaves a guess\.$"):
            read(pair)
    refuse_fault({"case": "a"})
