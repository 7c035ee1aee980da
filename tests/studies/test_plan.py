# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from bundle.errors import InputError
from bundle.studies import Row, read_study
from bundle.studies.comparisons import Comparison

GOOD = """
title: A study
low_res: {PDw: {psnr: [27.151]}}
rows:
  - {label: one, variant: mine, paper: {PDw: {psnr: [33.3, 2.1]}, T1w: {psnr: [28.2, 1.2]}}}
  - {label: two, variant: mine, settings: {factor: 3}}
  - {label: three, variant: mine, sweep: {mse_weight: 0.1}}
  - {label: four, variant: theirs, train: false}
orderings: [[two, one], [one, LR, [ssim]]]
figures: [panels]
"""


@pytest.fixture
def configs(tmp_path: Path) -> Path:
    """A folder of configs with one variant and one baseline."""
    for folder, name in (("variants", "mine"), ("baselines", "theirs")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{name}.yaml").write_text("factor: 2\n")
    (tmp_path / "studies").mkdir()
    return tmp_path


def study(configs: Path, text: str) -> Path:
    path = configs / "studies" / "mine.yaml"
    path.write_text(text)
    return path


def test_study_file_holds_rows_claims_and_published_numbers(configs) -> None:
    plan = read_study(study(configs, GOOD))
    assert [row.label for row in plan.rows] == ["one", "two", "three", "four"]
    assert plan.rows[0].paper == {"psnr": (33.3, 2.1)}
    assert plan.low_res == {"psnr": (27.151,)}
    assert plan.orderings == [Comparison("two", "one", ("psnr", "ssim", "ifc")), Comparison("one", "LR", ("ssim",))]


def test_orderings_may_be_grouped(configs) -> None:
    grouped = GOOD.replace("[[two, one], [one, LR, [ssim]]]", "{a: [[two, one]], b: [[one, LR]]}")
    plan = read_study(study(configs, grouped))
    assert [(one.first, one.group) for one in plan.orderings] == [("two", "a"), ("one", "b")]


def test_published_numbers_are_those_of_the_contrast_or_what_there_is(configs) -> None:
    plan = read_study(study(configs, GOOD), contrast="T1w")
    assert plan.name == "mine_T1w"
    assert plan.rows[0].paper == {"psnr": (28.2, 1.2)}
    assert plan.low_res == {"psnr": (27.151,)}


def test_sweep_sets_the_weight_that_it_varies(configs) -> None:
    row = read_study(study(configs, GOOD)).rows[2]
    assert row.sweep == ("mse_weight", 0.1)
    assert row.settings == {"mse_weight": 0.1}


def test_rows_that_are_the_same_share_a_run_and_others_do_not() -> None:
    rows = [Row("a", "x"), Row("b", "x"), Row("c", "x", {"factor": 2}), Row("d", "y")]
    assert rows[0].run == rows[1].run
    assert len({row.run for row in rows}) == 3


def test_a_setting_that_the_variant_has_anyway_makes_no_other_run(configs) -> None:
    text = GOOD.replace("settings: {factor: 3}", "settings: {factor: 2}")
    rows = read_study(study(configs, text)).rows
    assert rows[0].run == rows[1].run


def test_outputs_with_data_consistency_can_be_compared(configs) -> None:
    plan = read_study(study(configs, GOOD.replace("[two, one]", "[two + DC, two]")))
    assert plan.orderings[0].first == "two + DC"


def test_a_row_without_training_is_a_baseline(configs) -> None:
    assert [row.file for row in read_study(study(configs, GOOD)).rows[2:]] == [
        "variants/mine.yaml",
        "baselines/theirs.yaml",
    ]


@pytest.mark.parametrize(
    ("wrong", "right", "message"),
    [
        ("variant: mine,", "variant: yours,", "variants variants/yours.yaml do not exist"),
        ("[two, one]", "[two, twenty]", "labels twenty do not exist"),
        ("figures: [panels]", "figures: [pannels]", "figures pannels do not exist"),
        ("label: two", "label: one", "two rows have the same label"),
        ("title:", "titel:", "cannot be read"),
        ("rows:", "row:", "cannot be read"),
        ("train: false", "trian: false", "cannot be read"),
        ("[ssim]]", "[sism]]", "metrics sism do not exist"),
        ("[ssim]]", "ssim]", "metrics i, m, s do not exist"),
    ],
)
def test_a_damaged_study_is_refused_with_its_file(configs, wrong, right, message) -> None:
    path = study(configs, GOOD.replace(wrong, right))
    with pytest.raises(InputError, match=message) as caught:
        read_study(path)
    assert str(path) in str(caught.value)


def test_a_missing_study_names_those_that_there_are(configs) -> None:
    study(configs, GOOD)
    with pytest.raises(InputError, match="choose one of mine"):
        read_study(configs / "studies" / "yours.yaml")
