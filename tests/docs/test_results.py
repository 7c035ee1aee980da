# SPDX-License-Identifier: Apache-2.0
"""The page of results says what its scores say."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from bundle.tools.claims import main

SCORES = sorted((Path(__file__).resolve().parents[2] / "docs" / "results").glob("*.csv"))


def test_claims_on_the_page_are_those_of_the_scores(bundle_root, tmp_path) -> None:
    page = bundle_root / "docs" / "results.md"
    shutil.copy(page, tmp_path / "results.md")
    assert main(["--page", str(tmp_path / "results.md"), "--figures", str(tmp_path)]) == 0
    assert (tmp_path / "results.md").read_text() == page.read_text()
    drawn = {path.name for path in tmp_path.glob("*.png")}
    assert drawn == {path.name for path in (bundle_root / "docs" / "images").glob("results_table*.png")}


@pytest.mark.parametrize("path", SCORES, ids=lambda path: path.stem)
def test_scores_are_tidy_and_finite(path) -> None:
    table = pd.read_csv(path, dtype={"row": str, "subject": str})
    assert list(table) == ["study", "row", "subject", "seed", "image", "metric", "value"]
    assert set(table["study"]) == {path.stem}
    assert set(table["image"]) <= {"LR", "SR", "SR + DC"}
    assert table["value"].notna().all()
    assert not table.duplicated(["row", "subject", "seed", "image", "metric"]).any()
