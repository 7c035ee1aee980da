# SPDX-License-Identifier: Apache-2.0
import csv
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bundle.errors import InputError
from bundle.metrics.score_text import Spread
from bundle.reports.score_sheet import ScoreSheet, SubjectScores

LOW_PSNR, GAIN = ("psnr", "low_res", False), ("psnr", "super_res", True)


def tensor(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.fixture
def sheet() -> ScoreSheet:
    """Two subjects: A with two sessions of 2 and 1 slices, B with one of 1."""
    sheet = ScoreSheet()
    for subject, case, slices, low, high in [
        ("B", "sub-B", [4], [30.0], [30.5]),
        ("A", "sub-A_ses-1", [7, 8], [20.0, 22.0], [23.0, 23.0]),
        ("A", "sub-A_ses-2", [7], [27.0], [29.0]),
    ]:
        ssim = torch.tensor(high, dtype=torch.float64) / 40
        scores = {"psnr": tensor(*low), "ssim": ssim - 0.1}, {"psnr": tensor(*high), "ssim": ssim}
        sheet.add(subject, case, slices, dict(zip(("low_res", "super_res"), scores, strict=True)))
    return sheet


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def written(sheet: ScoreSheet, folder: Path) -> list[list[dict[str, str]]]:
    sheet.write(folder)
    return [read_csv(folder / name) for name in ("slices.csv", "subjects.csv")]


def of(sheet: ScoreSheet, subject: str) -> SubjectScores:
    return {scores.subject: scores for scores in sheet.subjects()}[subject]


def test_subject_figure_pools_the_slices_of_all_sessions(sheet: ScoreSheet) -> None:
    assert of(sheet, "A").spreads[LOW_PSNR] == Spread(23.0, pytest.approx(math.sqrt(13)), 3)


def test_gain_is_paired_slice_by_slice(sheet: ScoreSheet) -> None:
    assert of(sheet, "A").spreads[GAIN] == Spread(2.0, pytest.approx(1.0), 3)


def test_total_counts_each_subject_once(sheet: ScoreSheet) -> None:
    assert of(sheet, "all").spreads[LOW_PSNR].mean == pytest.approx((23.0 + 30.0) / 2)
    assert of(sheet, "all").spreads[LOW_PSNR].sd == pytest.approx(7 / math.sqrt(2))
    assert of(sheet, "all").spreads[LOW_PSNR].n == 2


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.floats(10, 50), min_size=1, max_size=6), min_size=1, max_size=5))
def test_total_equals_numpy_over_subject_means(scores: list[list[float]]) -> None:
    sheet = ScoreSheet()
    for number, values in enumerate(scores):
        sheet.add(str(number), str(number), range(len(values)), {"low_res": {"psnr": tensor(*values)}})
    means = [np.mean(values) for values in scores]
    assert of(sheet, "all").spreads[LOW_PSNR].mean == pytest.approx(np.mean(means))
    if len(scores) > 1:
        assert of(sheet, "all").spreads[LOW_PSNR].sd == pytest.approx(np.std(means, ddof=1), abs=1e-9)


@pytest.mark.parametrize("bad", [math.inf, math.nan, -math.inf])
def test_score_that_is_not_finite_leaves_its_slice_out_for_both_images_and_says_so(bad: float) -> None:
    sheet = ScoreSheet()
    sheet.add("A", "a", [0, 1], {"low_res": {"psnr": tensor(20, 30), "ssim": tensor(0.5, 0.7)}})
    sheet.add("A", "a", [0, 1], {"super_res": {"psnr": tensor(24, bad), "ssim": tensor(0.6, 0.8)}})
    assert of(sheet, "A").spreads[LOW_PSNR].mean == 20.0
    assert of(sheet, "A").spreads[GAIN].mean == 4.0
    assert of(sheet, "A").spreads["ssim", "super_res", False].n == 2
    assert "PSNR: 1 of 2 slices left out, their score is not finite" in sheet.table()
    assert "SSIM: " not in sheet.table()


def test_subject_without_any_finite_score_is_shown_and_left_out_of_the_total(tmp_path: Path, sheet: ScoreSheet) -> None:
    before = of(sheet, "all").spreads[LOW_PSNR]
    sheet.add("C", "c", [0], {"low_res": {"psnr": tensor(math.inf)}})
    assert of(sheet, "all").spreads[LOW_PSNR] == before
    assert "| C                  |      1 |    LR |          n/a |" in sheet.table()
    rows = written(sheet, tmp_path)[1]
    assert rows[2]["low_res_psnr_mean"] == ""
    assert rows[2]["psnr_n_left_out"] == "1"


def test_table_lists_each_image_of_each_subject_with_its_gain_over_the_low_res(sheet: ScoreSheet) -> None:
    header, rule, *rows, blank, footnote = sheet.table("Protocol of the day.").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in (header, *rows)]
    assert cells[0] == ["subject", "slices", "image", "PSNR", "gain", "SSIM", "gain"]
    assert cells[1][:5] == ["A", "3", "LR", "23.00 ± 3.61", ""]
    assert cells[2][:5] == ["A", "3", "SR", "25.00 ± 3.46", "+2.00 ± 1.00"]
    assert cells[3][:5] == ["B", "1", "LR", "30.00", ""]
    assert cells[4][:5] == ["B", "1", "SR", "30.50", "+0.50"]
    assert cells[5][:4] == ["mean of 2 subjects", "4", "LR", "26.50 ± 4.95"]
    assert cells[6][2] == "SR"
    assert len({len(line) for line in (header, rule, *rows)}) == 1
    assert blank == ""
    assert footnote.endswith("Protocol of the day.")


def test_table_takes_any_image_and_metric_in_the_order_given() -> None:
    sheet = ScoreSheet()
    sheet.add("A", "a", [0], {"consistent": {"ifc": tensor(2.5)}})
    sheet.add("A", "a", [0], {"low_res": {"ifc": tensor(1.5), "psnr": tensor(30)}})
    header, _, first, second, *_ = sheet.table().splitlines()
    assert [cell.strip() for cell in header.split("|")[4:-1]] == ["IFC", "gain", "PSNR", "gain"]
    assert [cell.strip() for cell in first.split("|")[3:-1]] == ["LR", "1.500", "", "30.00", ""]
    assert [cell.strip() for cell in second.split("|")[3:-1]] == ["consistent", "2.500", "+1.000", "n/a", "n/a"]


def test_table_inside_the_head_stands_below_that_of_whole_slices() -> None:
    sheet = ScoreSheet()
    for image, psnr in (("low_res", 30), ("super_res", 32)):
        sheet.add("A", "a", [0], {image: {"psnr": tensor(psnr), "psnr_head": tensor(psnr - 3)}})
    whole, inside, _ = ([line.split("|") for line in part.splitlines()] for part in sheet.table().split("\n\n"))
    assert [cell.strip() for cell in whole[0][4:-1]] == ["PSNR", "gain"]
    assert [cell.strip() for cell in inside[0][4:-1]] == ["PSNR in the head", "gain"]
    assert [cell.strip() for cell in inside[3][1:-1]] == ["A", "1", "SR", "29.00", "+2.00"]


def test_table_without_the_baseline_shows_no_gain() -> None:
    sheet = ScoreSheet()
    sheet.add("A", "a", [0], {"super_res": {"psnr": tensor(30)}})
    assert "gain" not in sheet.table()


def test_scores_may_come_metric_by_metric() -> None:
    sheet = ScoreSheet()
    sheet.add("A", "a", [0], {"low_res": {"psnr": tensor(30)}})
    sheet.add("A", "a", [0], {"low_res": {"ssim": tensor(0.8)}})
    assert of(sheet, "all").n_slices == 1
    assert list(of(sheet, "all").n_left_out) == ["psnr", "ssim"]


def test_slices_file_holds_every_score_as_it_is(tmp_path: Path, sheet: ScoreSheet) -> None:
    sheet.add("A", "sub-A_ses-3", [9], {"super_res": {"psnr": tensor(math.inf)}})
    rows = written(sheet, tmp_path)[0]
    assert list(rows[0]) == ["subject", "case", "slice", "image", "psnr", "ssim"]
    assert list(rows[0].values()) == ["A", "sub-A_ses-1", "7", "low_res", "20.000000", "0.475000"]
    assert [(row["case"], row["slice"], row["image"]) for row in rows[3:5]] == [
        ("sub-A_ses-1", "8", "super_res"),
        ("sub-A_ses-2", "7", "low_res"),
    ]
    assert list(rows[6].values()) == ["A", "sub-A_ses-3", "9", "super_res", "inf", ""]
    assert len(rows) == 9


def test_subjects_file_holds_each_subject_and_the_total(tmp_path: Path, sheet: ScoreSheet) -> None:
    first, second, total = written(sheet, tmp_path / "new" / "folder")[1]
    assert [first["subject"], second["subject"], total["subject"]] == ["A", "B", "all"]
    assert first["super_res_psnr_gain_mean"] == "2.000000"
    assert first["n_slices"] == "3"
    assert second["low_res_psnr_sd"] == ""
    assert total["low_res_psnr_mean"] == "26.500000"
    assert total["low_res_psnr_sd"] == "4.949747"


def test_written_files_replace_older_ones_and_leave_nothing_else(tmp_path: Path, sheet: ScoreSheet) -> None:
    (tmp_path / "slices.csv").write_text("old")
    sheet.write(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["slices.csv", "subjects.csv"]
    assert (tmp_path / "slices.csv").read_text().startswith("subject,case,")


def test_sheet_refuses_scores_that_are_not_one_a_slice() -> None:
    with pytest.raises(ValueError, match=r"psnr has shape \(2,\) for 1 slices; pass one value a slice"):
        ScoreSheet().add("A", "a", [0], {"low_res": {"psnr": tensor(1, 2)}})
    with pytest.raises(ValueError, match=r"psnr has shape \(1, 1\)"):
        ScoreSheet().add("A", "a", [0], {"low_res": {"psnr": tensor(1)[None]}})


def test_sheet_refuses_the_same_score_twice_and_keeps_the_first(sheet: ScoreSheet) -> None:
    with pytest.raises(ValueError, match="sub-B: a slice has a psnr score of low_res already; add each slice once"):
        sheet.add("B", "sub-B", [3, 4], {"low_res": {"psnr": tensor(99, 99)}})
    assert of(sheet, "B").n_slices == 1
    assert of(sheet, "B").spreads[LOW_PSNR].mean == 30.0


def test_sheet_refuses_a_slice_twice_in_one_call() -> None:
    with pytest.raises(ValueError, match="a: a slice has a psnr score of low_res already"):
        ScoreSheet().add("A", "a", [5, 5], {"low_res": {"psnr": tensor(1, 2)}})


def test_empty_sheet_cannot_be_reported(tmp_path: Path) -> None:
    for report in (ScoreSheet().table, lambda: ScoreSheet().write(tmp_path)):
        with pytest.raises(ValueError, match="the score sheet is empty"):
            report()


def test_sheet_names_an_output_folder_that_cannot_be_made(tmp_path: Path, sheet: ScoreSheet) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write into this output folder"):
        sheet.write(tmp_path / "file" / "reports")


def test_a_case_that_two_processes_evaluated_counts_once(sheet: ScoreSheet) -> None:
    other = ScoreSheet()
    other.add("B", "sub-B", [4], {"low_res": {"psnr": tensor(30)}})
    other.add("C", "sub-C", [1], {"low_res": {"psnr": tensor(40)}})
    joined = ScoreSheet([sheet, other])
    assert [scores.n_slices for scores in joined.subjects()] == [3, 1, 1, 5]
