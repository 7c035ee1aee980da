# SPDX-License-Identifier: Apache-2.0
import itertools
from pathlib import Path

import pytest

from bundle.tools.claims import main

ROOT = Path(__file__).resolve().parents[2]
PAGE = "# Results\n\n<!-- claims -->\nold\n<!-- end of claims -->\n\nMore.\n"
MEANS = {"SR1": 34.0, "SR2": 30.0, "SR3": 36.0, "SR4": 36.5}


def write_scores(path: Path, means: dict[str, float], n_subjects: int = 7, seeds: tuple[int, ...] = (0,)) -> None:
    """Write a table of PSNR, in which subjects differ by whole dB and rows by the same in each."""
    lines = ["study,row,subject,seed,image,metric,value"]
    for (row, mean), subject, seed in itertools.product(means.items(), range(n_subjects), seeds):
        lines.append(f"{path.stem},{row},S{subject},{seed},LR,psnr,{33 + subject}")
        lines.append(f"{path.stem},{row},S{subject},{seed},SR,psnr,{mean + subject + seed}")
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture
def written(tmp_path: Path):
    """Return a function that writes the page for scores of Table I and returns its lines about the claims."""

    def write(means: dict[str, float], **more: object) -> dict[str, list[str]]:
        write_scores(tmp_path / "scores" / "table1_PDw.csv", means, **more)
        (tmp_path / "page.md").write_text(PAGE)
        given = {"--scores": "scores", "--page": "page.md", "--figures": "images"}
        assert main([part for key, name in given.items() for part in (key, str(tmp_path / name))]) == 0
        rows = [line.strip("| ").split("|") for line in (tmp_path / "page.md").read_text().splitlines() if "|" in line]
        return {name.strip(): [cell.strip() for cell in cells] for name, *cells in rows[2:]}

    return write


def test_claims_are_told_with_interval_p_and_the_papers_difference(written, tmp_path) -> None:
    claims = written(MEANS)
    assert list(claims) == ["I: SR4 > SR3", "I: SR3 > SR1", "I: SR1 > SR2"]
    # seven differences of one sign have p = 2 / 2^7, times three by Holm's correction
    assert claims["I: SR4 > SR3"][1] == "+0.50 [+0.50, +0.50], 7 of 7, p 0.047 (paper +0.29)"
    assert [cells[-1] for cells in claims.values()] == ["**holds**"] * 3
    assert (tmp_path / "images" / "results_table1.png").is_file()
    page = (tmp_path / "page.md").read_text()
    assert page.startswith("# Results\n\n<!-- claims -->\n| claim")
    assert page.endswith("<!-- end of claims -->\n\nMore.\n")


def test_a_reversed_order_and_one_that_few_subjects_cannot_tell(written) -> None:
    assert written({**MEANS, "SR4": 35.5})["I: SR4 > SR3"][-1] == "**reversed**"
    for n_subjects in (4, 6):  # too few for a test, and for a p below 0.05 of three claims
        assert written(MEANS, n_subjects=n_subjects)["I: SR4 > SR3"][-1] == "**undecided**"


def test_seeds_are_averaged_and_no_subjects_of_their_own(written) -> None:
    assert "7 of 7" in written(MEANS, seeds=(0, 1))["I: SR4 > SR3"][1]


def test_rows_that_are_missing_leave_their_claims_out(written) -> None:
    assert list(written({key: MEANS[key] for key in ("SR1", "SR3")})) == ["I: SR3 > SR1"]


def test_a_folder_without_scores_and_a_page_without_place_are_named(tmp_path, capsys) -> None:
    assert main(["--scores", str(tmp_path), "--page", str(tmp_path / "page.md")]) == 2
    assert "there are no scores here" in capsys.readouterr().err
    write_scores(tmp_path / "table1_PDw.csv", MEANS)
    (tmp_path / "page.md").write_text("# Results\n")
    assert main(["--scores", str(tmp_path), "--page", str(tmp_path / "page.md"), "--figures", str(tmp_path)]) == 2
    assert "page.md: no place for claims" in capsys.readouterr().err


def test_damaged_scores_are_named(tmp_path, capsys) -> None:
    (tmp_path / "table1_PDw.csv").write_text("study,row\n")
    assert main(["--scores", str(tmp_path)]) == 2
    assert "table1_PDw.csv: these are no scores" in capsys.readouterr().err
