# SPDX-License-Identifier: Apache-2.0
"""Rows of a study are compared on the same slices, or not at all."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bundle.errors import InputError
from bundle.studies.scores import StudyScores, case_scores, low_res_title, read_scores, same_inputs

Evaluation = Callable[..., Path]


def row(*scores: object, low_res: float = 20.0) -> dict[tuple[str, int], dict[str, list[object]]]:
    """Return scores of slices of subject A, one each."""
    return {("A", index): {"low_res": [low_res + index], "super_res": [score]} for index, score in enumerate(scores)}


def test_scores_are_read_by_row_image_and_metric(evaluation: Evaluation) -> None:
    scores = {
        ("B", 4): {"low_res": [25, 0.6], "super_res": [31.5, 0.9]},
        ("A", 12): {"low_res": [22, 0.4], "super_res": [33, 0.7]},
        ("A", 7): {"low_res": [20, 0.5], "super_res": [30, 0.8]},
    }
    study = StudyScores({"SR": evaluation("a", scores, ["psnr", "ssim"])})
    assert (study.labels, study.metrics, study.subjects, study.n_slices) == (["SR"], ["psnr", "ssim"], ["A", "B"], 3)
    ssim = study.sample("SR", "super_res", "ssim")
    assert (ssim["A"].tolist(), ssim["B"].tolist()) == ([0.8, 0.7], [0.9])
    assert study.sample("SR", "low_res", "psnr").tolist() == [20, 22, 25]


@pytest.mark.parametrize("bad", ["inf", "nan", "-inf", ""])
def test_slice_without_a_finite_score_is_left_out_of_all_rows(evaluation: Evaluation, bad: str) -> None:
    folders = {"a": evaluation("a", row(30, bad, 32)), "b": evaluation("b", row(40, 41, 42))}
    study = StudyScores(folders)
    for label, image, values in [
        ("a", "super_res", [30, 32]),
        ("b", "super_res", [40, 42]),
        ("b", "low_res", [20, 22]),
    ]:
        np.testing.assert_array_equal(study.sample(label, image, "psnr"), values)
    assert (study.n_left_out("psnr"), study.n_slices) == (1, 3)


def test_slice_without_a_line_for_one_image_is_left_out(evaluation: Evaluation) -> None:
    scores = row(30, 31)
    del scores["A", 1]["low_res"]
    assert StudyScores({"a": evaluation("a", scores)}).n_left_out("psnr") == 1


def test_slice_left_out_of_one_metric_counts_in_the_others(evaluation: Evaluation) -> None:
    scores = {("A", 0): {"super_res": [30, 0.5]}, ("A", 1): {"super_res": ["inf", 0.6]}}
    study = StudyScores({"a": evaluation("a", scores, ["psnr", "ssim"])})
    assert study.sample("a", "super_res", "ssim").size == 2
    assert (study.n_left_out("psnr"), study.n_left_out("ssim")) == (1, 0)


def test_image_without_any_score_leaves_no_slice_out(evaluation: Evaluation) -> None:
    folders = {"a": evaluation("a", row("nan", "", "nan")), "b": evaluation("b", row(40, 41, 42))}
    study = StudyScores(folders)
    assert not study.has("a", "super_res")
    assert study.sample("a", "super_res", "psnr").size == 0
    assert study.sample("b", "super_res", "psnr").size == 3
    assert study.n_left_out("psnr") == 0


def test_image_that_is_no_part_of_a_study_is_not_looked_at(evaluation: Evaluation) -> None:
    scores = {("A", 0): {"super_res": [30], "level_1": ["nan"]}, ("A", 1): {"super_res": [31], "level_1": [5]}}
    assert StudyScores({"a": evaluation("a", scores)}).n_left_out("psnr") == 0


def test_rows_given_the_same_low_res_are_found_but_for_rounding(evaluation: Evaluation) -> None:
    study = StudyScores({
        "a 2x": evaluation("a", row(30, 31)),
        "b 4x": evaluation("b", row(30, 31, low_res=15)),
        "c 2x": evaluation("c", row(35, 36, low_res=20.0002)),
    })  # fmt: skip
    assert study.low_res_groups() == [["a 2x", "c 2x"], ["b 4x"]]


def test_inputs_of_another_shape_or_with_missing_values_are_told_apart() -> None:
    arrays = {"a": np.array([1, np.nan]), "b": np.array([1, np.nan]), "c": np.array([1.0, 2.0])}
    assert same_inputs(arrays) == [["a", "b"], ["c"]]


@pytest.mark.parametrize(
    ("rows", "n_groups", "title"),
    [
        (["SR1", "SR2"], 1, "LR"),
        (["Zeng 2x", "one-level 2x"], 3, "LR 2x"),
        (["2x"], 3, "LR 2x"),
        (["PRO-C", "one-level"], 2, "LR of PRO-C"),
    ],
)
def test_low_res_is_named_after_what_its_rows_have_in_common(rows: list[str], n_groups: int, title: str) -> None:
    assert low_res_title(rows, n_groups) == title


def test_rows_of_different_slices_are_refused(evaluation: Evaluation) -> None:
    folders = {"a": evaluation("first", row(1, 2)), "b": evaluation("second", row(1, 2, 3, 4))}
    with pytest.raises(
        InputError,
        match=r"first and .*second: these rows were evaluated on different slices \(2 are in one only, such as subject "
        r"A, case sub-A, slice 2\)",
    ):
        StudyScores(folders)


def test_rows_of_different_metrics_are_refused(evaluation: Evaluation) -> None:
    folders = {"a": evaluation("a", row(1)), "b": evaluation("b", {("A", 0): {"super_res": [1, 2]}}, ["psnr", "ifc"])}
    with pytest.raises(InputError, match="scored by different metrics; evaluate both again"):
        StudyScores(folders)


def test_scores_inside_the_head_count_where_all_rows_have_them(evaluation: Evaluation) -> None:
    new, too = (evaluation(name, {("A", 0): {"super_res": [30, 27]}}, ["psnr", "psnr_head"]) for name in ("new", "too"))
    older = evaluation("older", {("A", 0): {"super_res": [29]}})
    assert StudyScores({"a": new, "b": too}).metrics == ["psnr", "psnr_head"]
    assert StudyScores({"a": new, "b": older}).metrics == StudyScores({"b": older, "a": new}).metrics == ["psnr"]


def test_row_that_was_not_evaluated_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"here/slices.csv: cannot read the scores .*; evaluate this row first"):
        read_scores(tmp_path / "here")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "this is no table of scores"),
        ("person,case,slice,image,psnr\n", "this is no table of scores"),
        ("subject,case,slice,image\n", "there is no score of super_res"),
        ("subject,case,slice,image,psnr\n", "there is no score of super_res"),
        ("subject,case,slice,image,psnr\nA,a,0,low_res,5\n", "there is no score of super_res"),
        ("subject,case,slice,image,psnr\nA,a,0,super_res,high\n", "could not convert string to float: 'high'"),
        ("subject,case,slice,image,psnr\nA,a,x,super_res,1\n", "this is no table of scores"),
        ("subject,case,slice,image,psnr\nA,a\n", "this is no table of scores"),
        (
            "subject,case,slice,image,psnr\nA,a,0,super_res,1\nA,a,0,super_res,2\n",
            "two lines are of A, a, 0, super_res",
        ),
        ('subject,case,slice,image,psnr\nA,a,0,super_res,"1', "this is no table of scores"),
    ],
)
def test_file_that_no_evaluation_wrote_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "slices.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_scores(tmp_path)


def test_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "slices.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="this is no table of scores"):
        read_scores(tmp_path)


def test_names_of_subjects_stay_text(evaluation: Evaluation) -> None:
    scores = {("NA", 0): {"super_res": [30]}, ("007", 0): {"super_res": [31]}}
    assert StudyScores({"a": evaluation("a", scores)}).subjects == ["007", "NA"]


def test_scores_of_a_case_are_those_of_its_slices(evaluation: Evaluation) -> None:
    scores = row(30, 31) | {("B", 0): {"super_res": [10]}}
    assert case_scores(evaluation("a", scores), "sub-A") == {
        0: {"low_res": {"psnr": 20}, "super_res": {"psnr": 30}},
        1: {"low_res": {"psnr": 21}, "super_res": {"psnr": 31}},
    }
