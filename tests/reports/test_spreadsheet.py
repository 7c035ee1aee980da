# SPDX-License-Identifier: Apache-2.0
import csv
from pathlib import Path

import pandas as pd
import pytest

from bundle.reports.spreadsheet import write_csv


def rows_of(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.reader(stream))


@pytest.mark.parametrize("name", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "=", "--1"])
def test_a_text_that_would_be_a_formula_is_a_text(name: str, tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", pd.DataFrame({"subject": [name]}))
    assert rows_of(tmp_path / "a.csv") == [["subject"], [f"'{name}"]]


def test_line_breaks_and_escape_sequences_are_shown(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", pd.DataFrame({"subject": ["a\r=1\n\x1b[2J"]}))
    assert rows_of(tmp_path / "a.csv") == [["subject"], [r"a\r=1\n\x1b[2J"]]


@pytest.mark.parametrize("cell", ["-1.25", "+1", "-inf", "nan", "sub-1", "a=b", "", "'=1", -1.25, -3])
def test_numbers_and_other_texts_stay_as_they_are(cell: object, tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", pd.DataFrame({"subject": ["a"], "cell": [cell]}))
    assert rows_of(tmp_path / "a.csv")[1][1] == str(cell)
