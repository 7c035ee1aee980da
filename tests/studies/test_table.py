# SPDX-License-Identifier: Apache-2.0
"""The table of a study as a reader and as another program see it."""

import csv
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from bundle.errors import InputError
from bundle.studies.comparisons import Comparison
from bundle.studies.statistics import bootstrap_interval
from bundle.studies.table import StudyTable

Evaluation = Callable[..., Path]
LOW_RES = {"low_res": {"psnr": [34.0]}}
PAPER = {"SR1": LOW_RES, "SR4": LOW_RES | {"super_res": {"psnr": (38.513, 1.765), "ssim": [0.976]}}}


def scores(gain: float, n_subjects: int = 2, low_res: float = 30, consistent: bool = True) -> dict:
    """Return three slices a subject; subjects are 2 dB apart, slices 1 dB."""
    found = {}
    for subject in range(n_subjects):
        for index in range(3):
            base = low_res + 2 * subject + index
            images = {"low_res": [base, 0.8], "super_res": [base + gain, 0.9 + gain / 100]}
            found[f"S{subject}", index] = images | (
                {"super_res_dc": [base + gain + 0.1, 0.9 + gain / 100]} if consistent else {}
            )
    return found


@pytest.fixture
def rows(evaluation: Evaluation) -> dict[str, Path]:
    metrics = ["psnr", "ssim"]
    return {
        "SR1": evaluation("one", scores(3, consistent=False), metrics),
        "SR4": evaluation("four", scores(4), metrics),
    }


def cells(markdown: str, label: str, nth: int = 0) -> list[str]:
    """Return the cells of the nth line of a label."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in markdown.splitlines()]
    return [line for line in lines if line[0] == label][nth]


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_table_lists_low_res_rows_and_rows_with_consistency(rows: dict[str, Path]) -> None:
    table = StudyTable(rows, published=PAPER)
    assert [line.label for line in table.lines] == ["LR", "SR1", "SR4", "SR4 + DC"]
    assert cells(table.markdown(), "method") == ["method", "PSNR", "paper", "SSIM", "paper"]
    assert "Mean ± SD over 2 subjects (6 slices), the same in every row" in table.markdown()


def test_table_prints_scores_with_spread_interval_and_the_papers_beside_them(rows: dict[str, Path]) -> None:
    table = StudyTable(rows, published=PAPER)
    text = table.markdown()
    _, psnr, paper_psnr, _, paper_ssim = cells(text, "SR4")
    interval = bootstrap_interval(table.scores.sample("SR4", "super_res", "psnr"))
    assert interval is not None
    assert table.lines[2].summaries["psnr"].interval == interval
    # Subjects' means are 35 and 37.
    assert psnr == f"36.00 ± 1.41 [{interval.low:.2f}, {interval.high:.2f}]\N{DAGGER}"
    assert (paper_psnr, paper_ssim) == ("38.51 ± 1.76", "0.976")
    assert cells(text, "LR")[2] == "34.00"
    assert cells(text, "SR1")[2] == ""


def test_table_without_published_figures_has_no_column_for_them(rows: dict[str, Path]) -> None:
    text = StudyTable({"SR1": rows["SR1"]}).markdown()
    assert cells(text, "method") == ["method", "PSNR", "SSIM"]
    assert "paper" not in text


def test_scores_inside_the_head_have_a_table_of_their_own_and_stand_in_the_files(
    tmp_path: Path, evaluation: Evaluation
) -> None:
    found = {}
    for name, gain in (("a", 1), ("b", 2)):
        images = {
            key: {image: [*cells, cells[0] - 3] for image, cells in of.items()} for key, of in scores(gain).items()
        }
        found[name] = evaluation(name, images, ["psnr", "ssim", "psnr_head"])
    table = StudyTable(found, [Comparison("b", "a")])
    text = table.markdown()
    assert cells(text, "method") == ["method", "PSNR", "SSIM"]
    assert cells(text, "method", 1) == ["method", "PSNR in the head"]
    assert cells(text, "method", 2) == ["method", "PSNR", "SSIM", "PSNR in the head"]  # of a subject
    assert cells(text, "b", 1)[1].startswith("31.00 ± 1.41 [")
    assert text.count("b \N{MINUS SIGN} a") == 2
    table.write(tmp_path / "files")
    summaries, differences = (read_csv(tmp_path / "files" / f"{name}.csv") for name in ("table", "differences"))
    assert [line["mean"] for line in summaries if (line["line"], line["metric"]) == ("b", "psnr_head")] == ["31.0"]
    assert [line["metric"] for line in differences] == ["psnr", "ssim", "psnr_head"]


def test_table_prints_the_best_in_bold(rows: dict[str, Path]) -> None:
    text = StudyTable(rows, published=PAPER).markdown()
    assert cells(text, "SR4 + DC")[1].startswith("**36.10 ± 1.41** [")
    assert "**" not in cells(text, "SR4")[1]
    assert cells(text, "SR4")[3].startswith("**")  # ties in SSIM
    assert cells(text, "SR4 + DC")[3].startswith("**")


def test_table_compares_only_what_was_given_the_same_low_res(evaluation: Evaluation) -> None:
    rows = {
        "a 2x": evaluation("a", scores(3), ["psnr", "ssim"]),
        "b 2x": evaluation("b", scores(2), ["psnr", "ssim"]),
        "a 4x": evaluation("c", scores(1, low_res=25), ["psnr", "ssim"]),
        "b 4x": evaluation("d", scores(2, low_res=25), ["psnr", "ssim"]),
        "8x": evaluation("e", scores(1, low_res=20), ["psnr", "ssim"]),
    }
    table = StudyTable(rows, published=PAPER)
    assert [line.label for line in table.lines] == [
        "LR 2x", "a 2x", "a 2x + DC", "b 2x", "b 2x + DC", "LR 4x", "a 4x", "a 4x + DC",
        "b 4x", "b 4x + DC", "LR 8x", "8x", "8x + DC",
    ]  # fmt: skip
    text = table.markdown()
    best = [line.label for line in table.lines if cells(text, line.label)[1].startswith("**")]
    assert best == ["a 2x + DC", "b 4x + DC"]


def test_table_over_slices_stands_below_the_one_over_subjects(evaluation: Evaluation) -> None:
    text = StudyTable({"SR4": evaluation("four", scores(4, n_subjects=5), ["psnr", "ssim"])}).markdown()
    # Subjects' means are 35 to 43.
    assert cells(text, "SR4")[1].startswith("39.00 ± 3.16 [")
    assert cells(text, "SR4", 1)[1] == "39.00 ± 3.05"
    assert "Over the 15 slices, mean ± SD:" in text


def test_few_subjects_have_a_table_each(rows: dict[str, Path]) -> None:
    # Slices of 34 ... 36 and 36 ... 38.
    text = StudyTable(rows, published=PAPER).markdown()
    assert "Over the" not in text
    assert text.index("Subject S0, mean ± SD over slices:") < text.index("Subject S1, mean ± SD over slices:")
    first, second = (cells(text, "SR4", nth)[1] for nth in (1, 2))
    assert first.startswith("35.00 ± 1.00 [")
    assert second.startswith("37.00 ± 1.00 [")
    assert second.endswith("\N{DAGGER}")


def test_table_of_one_subject_is_over_its_slices(evaluation: Evaluation) -> None:
    table = StudyTable({"SR": evaluation("a", scores(3, n_subjects=1), ["psnr", "ssim"])})
    assert "Mean ± SD over 3 slices of 1 subject, the same in every row" in table.markdown()
    assert cells(table.markdown(), "SR")[1].startswith("34.00 ± 1.00 [")
    assert "Over the" not in table.markdown()


def test_table_of_differences_without_claims_does_not_speak_of_the_paper(rows: dict[str, Path]) -> None:
    text = StudyTable(rows, [Comparison("SR4", "SR1")]).markdown()
    assert cells(text, "difference") == ["difference", "metric", "mean [95 % interval]", "p (Holm)"]
    assert "paper" not in text
    claimed = StudyTable(rows, [Comparison("SR4", "SR1", ("psnr",))]).markdown()
    assert cells(claimed, "difference")[-1] == "the paper's order"
    assert "whether the order that the paper claims held here" in claimed


def test_table_flags_what_rests_on_slices(rows: dict[str, Path], evaluation: Evaluation) -> None:
    text = StudyTable(rows, [Comparison("SR4", "SR1")], PAPER).markdown()
    assert "\N{DAGGER} Interval over slices, since there are fewer than 5 subjects. It is optimistic" in text
    assert "\N{DAGGER} p over slices, since there are fewer than 6 subjects. It is optimistic" in text
    enough = {name: evaluation(name, scores(gain, 7), ["psnr", "ssim"]) for name, gain in (("a", 1), ("b", 2))}
    assert "\N{DAGGER}" not in StudyTable(enough, [Comparison("a", "b")]).markdown()


def test_table_says_so_where_no_difference_could_be_significant(evaluation: Evaluation) -> None:
    rows = {name: evaluation(name, scores(gain, 6), ["psnr", "ssim"]) for name, gain in (("a", 1), ("b", 2))}
    note = "No p can be below 0.062: there are too few subjects for so many differences."
    assert note in StudyTable(rows, [Comparison("b", "a"), Comparison("a", "LR")]).markdown()
    assert "No p can be below" not in StudyTable(rows, [Comparison("b", "a")]).markdown()


def test_table_counts_the_slices_left_out(evaluation: Evaluation) -> None:
    found = scores(3)
    found["S0", 0]["super_res"][0] = math.inf
    text = StudyTable({"SR": evaluation("a", found, ["psnr", "ssim"])}).markdown()
    assert "PSNR: 1 of 6 slices left out of every row" in text
    assert "SSIM: " not in text


def test_table_prints_differences_and_whether_the_order_held(rows: dict[str, Path]) -> None:
    text = StudyTable(rows, [Comparison("SR4", "SR1", ["psnr"]), Comparison("SR4", "LR")], PAPER).markdown()
    first = cells(text, "SR4 \N{MINUS SIGN} SR1")
    assert first[1:3] == ["PSNR", "+1.000 [+1.000, +1.000]\N{DAGGER}"]
    assert first[5].startswith("SR4 > SR1: ")
    assert cells(text, "SR4 \N{MINUS SIGN} SR1", 1)[5] == ""
    assert cells(text, "SR4 \N{MINUS SIGN} LR")[3] == "+4.513"
    assert "Wilcoxon" in text


def test_table_without_pairs_does_not_speak_of_differences(rows: dict[str, Path]) -> None:
    text = StudyTable(rows, protocol="Protocol of the day.").markdown()
    assert "differences" not in text
    assert "Wilcoxon" not in text
    assert text.endswith("\n\nProtocol of the day.")


def test_table_of_a_row_without_scores_says_so(evaluation: Evaluation) -> None:
    broken = {key: images | {"super_res": ["nan", 0.5]} for key, images in scores(3, consistent=False).items()}
    found = {"a": broken, "b": scores(2, consistent=False)}
    rows = {name: evaluation(name, of_row, ["psnr", "ssim"]) for name, of_row in found.items()}
    text = StudyTable(rows).markdown()
    assert cells(text, "a")[1] == "n/a"
    assert cells(text, "b")[1].startswith("**34.00 ± 1.41**")


def test_files_hold_every_figure_in_full_precision(tmp_path: Path, rows: dict[str, Path]) -> None:
    table = StudyTable(rows, [Comparison("SR4", "SR1", ["psnr"])], PAPER)
    table.write(tmp_path / "new")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["differences.csv", "table.csv"]
    lines = read_csv(tmp_path / "new" / "table.csv")
    assert [(line["line"], line["metric"]) for line in lines[:3]] == [("LR", "psnr"), ("LR", "ssim"), ("SR1", "psnr")]
    line = lines[4]
    assert (line["row"], line["image"], line["n_subjects"], line["n_slices"]) == ("SR4", "super_res", "2", "6")
    assert float(line["sd_over_subjects"]) == table.lines[2].summaries["psnr"].subjects.sd
    assert (line["mean"], line["interval_over"], line["paper_mean"], line["paper_sd"]) == (
        "36.0", "slices", "38.513", "1.765",
    )  # fmt: skip
    assert (lines[5]["paper_mean"], lines[5]["paper_sd"], lines[0]["paper_mean"]) == ("0.976", "", "34.0")
    found = read_csv(tmp_path / "new" / "differences.csv")
    assert [line["metric"] for line in found] == ["psnr", "ssim"]
    assert float(found[0]["p_holm"]) == table.differences[0].p_holm
    assert (found[0]["first"], found[0]["difference"], found[0]["n_pairs"], found[0]["pairs_of"]) == (
        "SR4", "1.0", "6", "slices",
    )  # fmt: skip
    assert (found[0]["verdict"], found[1]["verdict"]) == (table.differences[0].verdict, "")


def test_files_of_a_study_without_pairs_have_headers(tmp_path: Path, rows: dict[str, Path]) -> None:
    StudyTable(rows, published=PAPER).write(tmp_path)
    assert read_csv(tmp_path / "differences.csv") == []
    assert (tmp_path / "differences.csv").read_text().startswith("first,second,metric,difference,")


def test_table_is_the_same_each_time(rows: dict[str, Path]) -> None:
    pairs = [Comparison("SR4", "SR1", ["psnr"])]
    assert StudyTable(rows, pairs, PAPER).markdown() == StudyTable(rows, pairs, PAPER).markdown()


def test_folder_that_cannot_be_written_is_named(tmp_path: Path, rows: dict[str, Path]) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot write into this output folder"):
        StudyTable(rows, published=PAPER).write(tmp_path / "file")
