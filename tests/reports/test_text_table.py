# SPDX-License-Identifier: Apache-2.0
import pytest

from bundle.reports.text_table import markdown_table


def test_table_aligns_names_left_and_figures_right() -> None:
    assert markdown_table(["subject", "PSNR"], [["L1", "27.15"], ["mean of 2", "9.00"]]) == (
        "| subject   |  PSNR |\n"
        "| --------- | ----: |\n"
        "| L1        | 27.15 |\n"
        "| mean of 2 |  9.00 |"
    )  # fmt: skip


def test_table_without_rows_is_its_header() -> None:
    assert markdown_table(["a", "b"], []) == "| a   |   b |\n| --- | --: |"


def test_a_name_breaks_no_line() -> None:
    assert markdown_table(["a"], [["b\n\x1b"]]).splitlines()[2] == r"| b\n\x1b |"


def test_table_refuses_a_row_of_another_length() -> None:
    with pytest.raises(ValueError, match="shorter"):
        markdown_table(["a", "b"], [["1"]])
