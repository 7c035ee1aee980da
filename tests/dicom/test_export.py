# SPDX-License-Identifier: Apache-2.0
"""Series of a study are told apart by what their headers say, and paired where nothing is left to guess."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bundle.data.pairs import find_pairs, survey
from bundle.data.selection import contrast_of
from bundle.dicom.export import Series
from bundle.dicom.headers import Tag
from bundle.errors import InputError

# Python deprecates how ITK is wrapped; as an error, that would end the process.
pytestmark = pytest.mark.filterwarnings("ignore:builtin type:DeprecationWarning")

VOXELS = np.ones((1, 6, 5), dtype="u2")


def series(**tags: str) -> Series:
    """Return a series of a header with some tags."""
    return Series(Path("s"), dict.fromkeys(Tag, "") | tags)


@pytest.mark.parametrize(
    ("words", "contrast"),
    [
        ("t2_tse_tra", "T2w"),
        ("T2 TSE FS cor", "T2w"),
        ("Ax T2 FRFSE", "T2w"),
        ("T2W_TSE", "T2w"),
        ("t2_space_sag", "T2w"),
        ("t1_mprage_sag_p2_iso", "T1w"),
        ("t1_mpr_ns_sag", "T1w"),
        ("MPRAGE", "T1w"),
        ("T1W_3D_TFE", "T1w"),
        ("Sag FSPGR BRAVO", "T1w"),
        ("t1_se_tra +KM", "T1w"),
        ("PD_TSE", "PDw"),
        ("Ax proton density", "PDw"),
        ("t2_tirm_tra_dark-fluid", ""),
        ("T2 FLAIR", ""),
        ("T2FLAIR", ""),
        ("t2_fl2d_tra_hemo", ""),
        ("T2*GRE", ""),
        ("t2star", ""),
        ("ep2d_diff_3scan_trace_ADC", ""),
        ("localizer", ""),
        ("T1 map", ""),
        ("TOF_3D", ""),
        ("UPDATE", ""),  # holds the letters PD
    ],
)
def test_words_of_a_series_tell_its_contrast(words: str, contrast: str) -> None:
    assert series(**{Tag.DESCRIPTION: words}).contrast == contrast
    assert series(**{Tag.PROTOCOL: words}).contrast == contrast


@pytest.mark.parametrize(
    ("repetition", "echo", "inversion", "contrast"),
    [
        ("8178", "100", "", "T2w"),  # IXI's dual echo
        ("8178", "8", "", "PDw"),
        ("9.6", "4.6", "", "T1w"),
        ("600", "12", "0", "T1w"),
        ("2300", "2.98", "900", "T1w"),  # MPRAGE
        ("9000", "110", "2500", ""),  # FLAIR
        ("3000", "55", "", ""),
        ("", "100", "", ""),
    ],
)
def test_times_tell_where_words_are_silent(repetition: str, echo: str, inversion: str, contrast: str) -> None:
    times = {Tag.REPETITION_TIME: repetition, Tag.ECHO_TIME: echo, Tag.INVERSION_TIME: inversion}
    assert series(**times).contrast == contrast
    assert series(**times, **{Tag.DESCRIPTION: "brain"}).contrast == contrast
    assert series(**times, **{Tag.DESCRIPTION: "pd+t2 tse"}).contrast == contrast  # a dual echo
    assert series(**times, **{Tag.DESCRIPTION: "t2 flair"}).contrast == ""


@pytest.mark.parametrize("tags", [{Tag.MODALITY: "CT"}, {Tag.IMAGE_TYPE: "DERIVED\\SECONDARY\\MPR"}])
def test_what_is_no_mr_image_or_was_computed_has_no_contrast(tags: dict[str, str]) -> None:
    assert series(**{Tag.DESCRIPTION: "t2"}).contrast == "T2w"
    assert series(**{Tag.DESCRIPTION: "t2"} | tags).contrast == ""


@pytest.fixture
def write(write_dicom: Any, tmp_path: Path) -> Any:
    """Return a function that writes a series of one slice, given its folder, its description and other tags."""

    def written(folder: str, words: str, study: str = "1.2", **tags: str) -> Path:
        name = {Tag.DESCRIPTION: words}
        return write_dicom(tmp_path / folder, VOXELS, study=study, series=f"1.2.{abs(hash(folder))}", **name | tags)

    return written


def chosen(folder: Path, contrast: str = "auto") -> dict[str, str]:
    """Return the folder of the reference by case."""
    return {pair["case"]: str(Path(pair["reference"]).relative_to(folder)) for pair in find_pairs(folder, contrast)}


def test_series_of_one_study_are_paired_however_their_folders_are_nested(write: Any, tmp_path: Path) -> None:
    write("p1/s1/001", "t2_tse")
    write("p1/s1/002", "t1_se")
    write("p1/s1/003", "t2 flair")
    write("p2/t2", "t2_tse", study="2.1", **{Tag.PATIENT: "P2"})
    write("p2/t1", "t1_se", study="2.1", **{Tag.PATIENT: "P2"})
    write("p2-again/t2", "t2_tse", study="2.2", **{Tag.PATIENT: "P2"})
    write("p2-again/t1", "t1_se", study="2.2", **{Tag.PATIENT: "P2"})
    expected = {"p1_s1_001": "p1/s1/002", "p2_t2": "p2/t1", "p2-again_t2": "p2-again/t1"}
    assert chosen(tmp_path) == expected
    pairs = {pair["case"]: pair for pair in find_pairs(tmp_path)}
    assert pairs["p2_t2"]["subject"] == pairs["p2-again_t2"]["subject"] != pairs["p1_s1_001"]["subject"]
    quick = hashlib.sha256(b"P2").hexdigest()[:12]  # which tells the identifier to whoever tries all
    assert not {"P2", quick} & {pairs["p2_t2"]["subject"]}
    assert contrast_of(list(pairs.values())) == "T1w"


def test_the_reference_is_the_one_of_the_target_s_kind(write: Any, tmp_path: Path) -> None:
    write("t2", "t2", **{Tag.FRAME_OF_REFERENCE: "7"})
    write("after", "t1", **{Tag.AGENT: "Gadovist", Tag.FRAME_OF_REFERENCE: "7"})
    write("before", "t1", **{Tag.FRAME_OF_REFERENCE: "8"})
    assert chosen(tmp_path) == {"t2": "before"}  # without contrast agent comes first
    write("in place", "t1", **{Tag.FRAME_OF_REFERENCE: "7"})
    assert chosen(tmp_path) == {"t2": "in place"}


@pytest.mark.parametrize("contrast", ["auto", "PDw", "T1w"])
def test_one_contrast_serves_the_whole_data_set(contrast: str, write: Any, tmp_path: Path) -> None:
    for name, study in (("a", "1.1"), ("b", "1.2")):
        write(f"{name}/t2", "t2", study=study)
        write(f"{name}/t1", "t1", study=study)
    write("a/pd", "pd", study="1.1")
    cases = {"PDw": {"a_t2": "a/pd"}, "T1w": {"a_t2": "a/t1", "b_t2": "b/t1"}}
    assert chosen(tmp_path, contrast) == cases["PDw" if contrast == "PDw" else "T1w"]


def test_what_leaves_a_guess_is_left_out_by_name(write: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write("a/t2", "t2")
    write("a/t1", "t1")
    write("b/t2", "t2", study="2")
    write("b/t1", "t1", study="2")
    write("b/t1 again", "t1", study="2")
    write("c/t2", "t2", study="3")
    found = survey(tmp_path)
    assert {pair["case"]: "fault" in pair for pair in found.pairs} == {"a_t2": False, "b_t2": True}
    (fault,) = (pair["fault"] for pair in found.pairs if "fault" in pair)
    assert "has two references that fit equally well" in fault
    assert str(tmp_path / "b" / "t1 again") in fault
    assert found.passed_over == {"there is no T1w of its session or study": [str(tmp_path / "c" / "t2")]}
    assert "1 passed over (there is no T1w of its session or study): c/t2" in caplog.text
    alone = survey(tmp_path, needs_reference=False)  # of weights that take none, too
    assert {pair["case"]: ("reference" in pair, "fault" in pair) for pair in alone.pairs} == {
        "a_t2": (True, False),
        "b_t2": (False, True),
        "c_t2": (False, False),
    }
    assert alone.passed_over == {}


def test_series_that_share_a_folder_are_paired_with_each_other(write: Any, tmp_path: Path, write_dicom: Any) -> None:
    for number, words in enumerate(("t2_tse", "t1_se", "localizer")):
        write_dicom(tmp_path / "a", VOXELS, series=f"5.{number}", SeriesDescription=words, SeriesNumber=number)
    write("b/t2", "t2")
    write("b/t1", "t1")
    assert chosen(tmp_path) == {"a_series-0": "a/5.1-0.dcm", "b_t2": "b/t1"}


def test_a_folder_with_a_damaged_file_is_a_case_that_cannot_be_done(write: Any, tmp_path: Path) -> None:
    write("a/t2", "t2")
    write("a/t1", "t1")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "IM1").write_bytes(bytes(128) + b"DICM")
    found = survey(tmp_path)
    faults = {pair["case"]: pair.get("fault", "") for pair in found.pairs}
    assert faults.keys() == {"a_t2", "b"}
    assert faults["a_t2"] == ""
    assert faults["b"].startswith(f"{tmp_path / 'b' / 'IM1'}: this file is cut short or damaged")
    assert found.passed_over == {}
    assert ["fault" in pair for pair in survey(tmp_path / "b").pairs] == [True]  # and nothing else is there


def test_series_that_make_no_pair_are_listed_with_what_they_were_taken_for(write: Any, tmp_path: Path) -> None:
    write("t2", "t2_tse")
    write("flair", "t2 flair")
    with pytest.raises(InputError, match=r"holds 2 DICOM series and no T2w with a PDw or T1w .*no T2w, PDw or T1w: .*"):
        find_pairs(tmp_path)
    with pytest.raises(InputError, match="no T2w with a PDw of the same study"):
        find_pairs(tmp_path, "PDw")


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"SeriesDescription": "t2_tse", "EchoTime": "12"}, "says T2w, but its echo time is 12 ms"),
        ({"SeriesDescription": "t2_tse", "RepetitionTime": "600"}, "says T2w, but its repetition time is 600 ms"),
        ({"SeriesDescription": "t2_tse", "InversionTime": "2500"}, "says T2w, but its inversion time is 2500 ms"),
        ({"SeriesDescription": "AX T2", "ScanningSequence": "GR"}, "says T2w, but it is a gradient echo"),
        ({"SeriesDescription": "t2_tse", "BodyPartExamined": "CSPINE"}, "another part of the body (cspine)"),
        ({"SeriesDescription": "C-SPINE t2 tse"}, "another part of the body (c-spine)"),
        ({"SeriesDescription": "hws t2 tse"}, "another part of the body (hws)"),
        ({"SeriesDescription": "t1_se", "EchoTime": "80"}, "says T1w, but its echo time is 80 ms"),
        ({"SeriesDescription": "pd_tse", "EchoTime": "100"}, "says PDw, but its echo time is 100 ms"),
        ({"SeriesDescription": "T2W_FFE"}, "says t2w_ffe"),
        ({"SeriesDescription": "AX T2 GRE"}, "says t2 gre"),
        ({"SeriesDescription": "t2", "ImageType": "DERIVED\\SECONDARY"}, "computed from other images (DERIVED)"),
        ({"SeriesDescription": "t2", "Modality": "CT"}, "of modality CT"),
        ({"RepetitionTime": "4000", "EchoTime": "100", "BodyPartExamined": "KNEE"}, "another part of the body (knee)"),
        ({"SeriesDescription": "brain"}, "nothing says whether it is T2w, PDw or T1w"),
    ],
)
def test_what_contradicts_its_words_has_no_contrast_and_a_reason(tags: dict[str, str], reason: str) -> None:
    contrast, why = series(**tags).judged
    assert contrast == ""
    assert reason in why


@pytest.mark.parametrize(
    "tags",
    [
        {"SeriesDescription": "t2_tse", "EchoTime": "100", "RepetitionTime": "4000", "ScanningSequence": "SE"},
        {"SeriesDescription": "t2_grase", "ScanningSequence": "SE\\GR", "BodyPartExamined": "HEAD"},
        {"SeriesDescription": "t2_space", "EchoTime": "408", "RepetitionTime": "3200", "InversionTime": "0"},
        {"SeriesDescription": "t2_tse", "BodyPartExamined": "HEADNECK"},
        {"SeriesDescription": "brain t2 and c-spine"},
    ],
)
def test_what_agrees_with_its_words_keeps_its_contrast(tags: dict[str, str]) -> None:
    assert series(**tags).judged == ("T2w", "")


def test_what_is_passed_over_is_told_with_the_reason(
    write: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    write("t2", "t2")
    write("t1", "t1")
    write("mpr", "t1 mpr", ImageType=["DERIVED", "SECONDARY"])
    assert chosen(tmp_path) == {"t2": "t1"}
    assert "1 passed over (it was computed from other images (DERIVED)): mpr" in caplog.text


def test_the_echoes_of_one_series_are_target_and_reference(write_dicom: Any, tmp_path: Path) -> None:
    for echo, name in ((12, "a"), (100, "b")):
        write_dicom(tmp_path / "S1", VOXELS, EchoTime=echo, RepetitionTime=4000, SeriesNumber=3)
        (tmp_path / "S1" / "1.2.3-0.dcm").rename(tmp_path / "S1" / name)
    write_dicom(tmp_path / "S2", VOXELS, series="4", SeriesDescription="t1_se")
    (pair,) = find_pairs(tmp_path)
    assert (pair["image"], pair["reference"]) == (str(tmp_path / "S1" / "b"), str(tmp_path / "S1" / "a"))
    assert (pair["case"], pair["reference_contrast"]) == ("S1_series-3-2", "PDw")


@pytest.mark.parametrize("study", ["", "1.2.3", "1.2.826.0.1.3680043.9.1.1.1.1"])
def test_another_patient_s_reference_is_never_taken(study: str, write: Any, tmp_path: Path) -> None:
    """The smaller pixels of p2's would win otherwise."""
    for number, patient in enumerate(("p1", "p2")):
        spacing = [1 - number / 2] * 2
        write(f"{patient}/t2", "t2", study=study, PatientID=patient)
        write(f"{patient}/t1", "t1", study=study, PatientID=patient, PixelSpacing=spacing)
    write("p3/t2", "t2", study=study, PatientID="p3")
    assert chosen(tmp_path) == {"p1_t2": "p1/t1", "p2_t2": "p2/t1"}


@pytest.mark.parametrize("study", ["", "1.2.3", "1.2.826.0.1.3680043.9.1.1.1.1"])
@pytest.mark.parametrize("patient", ["", "ANON"])
def test_who_is_not_known_is_paired_within_the_folder(study: str, patient: str, write: Any, tmp_path: Path) -> None:
    for folder in ("p1", "p2"):
        write(f"{folder}/t2", "t2", study=study, PatientID=patient)
        write(f"{folder}/t1", "t1", study=study, PatientID=patient)
    write("p3/t2", "t2", study=study, PatientID=patient)
    assert chosen(tmp_path) == {"p1_t2": "p1/t1", "p2_t2": "p2/t1"}


def test_a_directory_of_a_cd_stands_for_its_folder_and_earlier_results_do_not_matter(
    write: Any, tmp_path: Path
) -> None:
    write("a/t2", "t2")
    write("a/t1", "t1")
    for name in ("DICOMDIR", "a_t2_sr.nii.gz"):
        (tmp_path / name).write_bytes(b"")
    assert [pair["case"] for pair in find_pairs(tmp_path / "DICOMDIR")] == ["a_t2"]


WHOLE = "1.2.826.0.1.3680043.9.1.1.1.1"


@pytest.mark.parametrize(
    ("study", "patients", "paired"),
    [
        (WHOLE, ("7", "7"), True),
        (WHOLE, ("", ""), True),
        ("1.2.3", ("7", "7"), False),  # made up for all
        ("", ("7", "7"), False),
        (WHOLE, ("7", "8"), False),
    ],
)
def test_series_of_distant_folders_are_paired_by_a_whole_identifier_of_one_person_alone(
    study: str, patients: tuple[str, str], paired: bool, write: Any, tmp_path: Path
) -> None:
    write("p1/a/t2", "t2", study=study, PatientID=patients[0])
    write("p2/b/t1", "t1", study=study, PatientID=patients[1])
    if paired:
        assert chosen(tmp_path) == {"p1_a_t2": "p2/b/t1"}
    else:
        with pytest.raises(InputError, match="no T2w with a PDw or T1w of the same study"):
            find_pairs(tmp_path)


def test_one_identifier_for_two_folders_with_targets_pairs_within_them(write: Any, tmp_path: Path) -> None:
    for folder in ("p1/t2", "p1/t1", "p2/t2"):
        write(folder, folder[3:], study=WHOLE, PatientID="ANON")
    assert chosen(tmp_path) == {"p1_t2": "p1/t1"}
