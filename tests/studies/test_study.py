# SPDX-License-Identifier: Apache-2.0
"""A study runs what is missing, once, and reports what it has."""

import csv
import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from fire.parser import DefaultParseValue
from monai.bundle import ConfigParser, run

from bundle.errors import InputError
from bundle.studies import Row, Study, StudyPlan, StudyRunner, data_fingerprint, runner
from bundle.studies.comparisons import Comparison

ROOT = Path(__file__).resolve().parents[2]
ROWS = [Row("one", "one_level_2x"), Row("two", "sr1_2x"), Row("zero", "zero_filling", {"factor": 2}, train=False)]

Call = tuple[str, list[str]]


def value(arguments: Sequence[str], key: str) -> str:
    return arguments[list(arguments).index(f"--{key}") + 1]


def write_scores(folder: Path, subjects: str, gain: float) -> None:
    """Write what an evaluation leaves: scores of two slices a subject, and the slices to show."""
    (folder / "panels").mkdir(parents=True, exist_ok=True)
    with (folder / "slices.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["subject", "case", "slice", "image", "psnr", "ssim"])
        for number, subject in enumerate(subjects):
            for index in (3, 4):
                writer.writerow([subject, f"sub-{subject}", index, "low_res", 30 + number + index / 10, 0.8])
                writer.writerow([subject, f"sub-{subject}", index, "super_res", 30 + number + gain, 0.9])
    images = {name: np.full((2, 20, 20), 0.5, np.float32) for name in ("low_res", "super_res", "high_res")}
    for subject in subjects:
        np.savez(folder / "panels" / f"sub-{subject}.npz", slices=[3, 4], aspect=1.0, edges=["R", "A"], **images)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    """Replace the processes by what they would leave behind, and list them."""
    made: list[Call] = []

    def call(root: Path, stage: str, arguments: Sequence[str], folder: Path) -> float:
        made.append((stage, list(arguments)))
        if stage == "training":
            (folder / "model.pt").touch()
            (folder / "model.json").write_text(json.dumps({"iterations": 6, "epochs": 2, "batch_size": 4}))
        else:
            fold = int(value(arguments, "fold")) if "--fold" in arguments else 0
            write_scores(folder / "evaluation", "ABCDEF"[2 * fold : 2 * fold + 2], gain=len(made))
        return 60.0

    monkeypatch.setattr(runner, "run_in_subprocess", call)
    ticks = iter(range(1000))  # two trainings in one second would otherwise have one time
    monkeypatch.setattr(runner.time, "strftime", lambda _: str(next(ticks)))
    return made


def study_runner(folder: Path, n_folds: int | None = None, **training: object) -> StudyRunner:
    return StudyRunner(ROOT, folder / "runs", "small", {"seed": 0, **training}, {"slices_per_volume": 2}, n_folds)


def study(folder: Path, rows: Sequence[Row] = ROWS, n_folds: int | None = None, **training: object) -> Study:
    plan = StudyPlan("mine", "My study", rows, [Comparison("one", "two", ("psnr",))], ["panels"], {"psnr": (27.0, 1.0)})
    return Study(plan, study_runner(folder, n_folds, **training), [{"case": "sub-A"}], folder / "report", "How.")


def test_every_row_is_trained_where_it_can_be_and_evaluated(calls, tmp_path) -> None:
    study(tmp_path).run()
    assert [(stage, value(a, "training_dir" if stage == "evaluating" else "output_dir")) for stage, a in calls] == [
        ("training", str(tmp_path / "runs" / "one_level_2x")),
        ("evaluating", str(tmp_path / "runs" / "one_level_2x")),
        ("training", str(tmp_path / "runs" / "sr1_2x")),
        ("evaluating", str(tmp_path / "runs" / "sr1_2x")),
        ("evaluating", str(tmp_path / "runs" / "zero_filling_factor=2")),
    ]


def test_folders_of_any_name_reach_the_stages(calls, tmp_path) -> None:
    study(tmp_path / "runs #1 @here").run()
    given = [value(a, "training_dir" if stage == "evaluating" else "output_dir") for stage, a in calls[:2]]
    read = [ConfigParser({"a": DefaultParseValue(text)}).get_parsed_content("a") for text in given]
    assert read == [str(tmp_path / "runs #1 @here" / "runs" / "one_level_2x")] * 2


def test_trainings_lay_scale_and_variant_over_the_paper_s_settings(calls, tmp_path) -> None:
    study(tmp_path, max_epochs=3).run()
    arguments = calls[0][1]
    assert value(arguments, "config_file") == repr(
        ["configs/train.yaml", "configs/scales/small.yaml", "configs/variants/one_level_2x.yaml"]
    )
    assert value(arguments, "max_epochs") == "3"


def test_a_baseline_is_evaluated_without_weights_and_with_its_own_network(calls, tmp_path) -> None:
    study(tmp_path).run()
    arguments = calls[-1][1]
    assert value(arguments, "ckpt_path") == "null"
    assert "bundle.baselines.ZeroFilling" in value(arguments, "network_def")
    assert value(arguments, "factor") == "2"


def test_what_is_done_is_not_done_again_unless_its_settings_changed(calls, tmp_path) -> None:
    study(tmp_path).run()
    study(tmp_path).run()
    assert len(calls) == 5
    study(tmp_path, max_epochs=9).run()
    assert [stage for stage, _ in calls[5:]] == ["training", "evaluating", "training", "evaluating"]


def test_other_data_or_a_lost_result_make_a_stage_run_again(calls, tmp_path) -> None:
    study(tmp_path, ROWS[:1]).run()
    (tmp_path / "runs" / "one_level_2x" / "evaluation" / "slices.csv").unlink()
    study(tmp_path, ROWS[:1]).run()
    assert [stage for stage, _ in calls[2:]] == ["evaluating"]
    other = replace(study_runner(tmp_path), data="another split")
    other.run(ROWS[:1])
    assert [stage for stage, _ in calls[3:]] == ["training", "evaluating"]


def test_shared_settings_cannot_make_a_row_another_one(calls, tmp_path) -> None:
    with pytest.raises(InputError, match="fusion tells the rows apart; leave it out of training_settings"):
        study(tmp_path, ROWS[1:2], fusion="image").run()


def test_rows_may_have_seeds_of_their_own(calls, tmp_path) -> None:
    shared = yaml.safe_load((ROOT / "configs" / "study.yaml").read_text())["training"]
    assert shared["split_seed"] == shared["seed"] == "@seed"  # so that all rows have one split
    study(tmp_path, [Row("again", "one_level_2x", {"seed": 1})]).run()
    assert value(calls[0][1], "seed") == "1"
    assert "--seed" not in calls[1][1]


def test_data_fingerprint_changes_with_files_and_split(tmp_path) -> None:
    pair = {"image": str(tmp_path / "a.nii"), "reference": str(tmp_path / "b.nii"), "case": "a"}
    (tmp_path / "a.nii").write_text("1")
    before = data_fingerprint([pair], {"train": [pair]})
    assert before == data_fingerprint([pair], {"train": [pair]})
    assert before != data_fingerprint([pair], {"train": [], "test": [pair]})
    (tmp_path / "a.nii").write_text("12")
    assert before != data_fingerprint([pair], {"train": [pair]})


def test_rows_of_one_run_run_it_once(calls, tmp_path) -> None:
    study(tmp_path, [Row("one", "one_level_2x"), Row("two", "one_level_2x")]).run()
    assert len(calls) == 2
    assert "| two " in (tmp_path / "report" / "table.md").read_text()


def test_a_row_that_fails_is_named_and_the_others_are_reported(calls, tmp_path, monkeypatch) -> None:
    healthy = runner.run_in_subprocess

    def call(root: Path, stage: str, arguments: Sequence[str], folder: Path) -> float:
        if "sr1_2x" in " ".join(arguments):
            raise InputError("training failed: no luck")
        return healthy(root, stage, arguments, folder)

    monkeypatch.setattr(runner, "run_in_subprocess", call)
    with pytest.raises(InputError, match="1 of 3 rows failed: training failed: no luck"):
        study(tmp_path).run()
    text = (tmp_path / "report" / "table.md").read_text()
    assert "| one " in text
    assert "| two " not in text
    assert [stage for stage, _ in calls] == ["training", "evaluating", "evaluating"]


def test_folds_are_trained_apart_and_scored_together(calls, tmp_path) -> None:
    study(tmp_path, ROWS[:1], n_folds=3).run()
    assert [value(arguments, "fold") for _, arguments in calls] == ["0", "0", "1", "1", "2", "2"]
    assert "6 subjects (12 slices)" in (tmp_path / "report" / "table.md").read_text()


def test_scores_of_subjects_are_kept_in_tidy_form(calls, tmp_path) -> None:
    rows = [ROWS[0], replace(ROWS[1], settings={"seed": 3})]
    study(tmp_path, rows, seed=1).run()
    header, *lines = (tmp_path / "report" / "scores.csv").read_text().splitlines()
    assert header == "study,row,subject,seed,image,metric,value"
    assert "mine,one,A,1,LR,psnr,30.35000" in lines  # the mean of its two slices
    assert "mine,two,B,3,SR,ssim,0.90000" in lines
    assert len(lines) == 2 * 2 * 2 * 2  # rows, subjects, images that have scores, metrics


def test_report_holds_table_figures_scale_and_what_it_took(calls, tmp_path) -> None:
    study(tmp_path).run()
    names = {path.name for path in (tmp_path / "report").iterdir()}
    assert names == {"table.md", "table.csv", "differences.csv", "scores.csv", "sub-A.png"}
    text = (tmp_path / "report" / "table.md").read_text()
    assert text.startswith("# My study\n")
    for part in ("one > two", "How.", "configs/scales/small.yaml", "| one    |", "MSE alone", "1.0 |", "27.00"):
        assert part in text


def test_progress_names_the_row_and_estimates_what_is_left(calls, tmp_path, caplog) -> None:
    caplog.set_level(logging.INFO, "bundle")
    study_runner(tmp_path).run(ROWS)
    lines = [record.message for record in caplog.records if record.message.startswith("[")]
    assert lines[0] == "[1/5] one: training"
    assert lines[3].startswith("[4/5] two: evaluating (about 2 min left")


def test_a_study_runs_as_users_run_it(small_dataset, tmp_path, monkeypatch) -> None:
    """Table III at a toy size, with real processes: two baselines' worth of time."""
    monkeypatch.chdir(ROOT)
    plan = tmp_path / "toy.yaml"
    plan.write_text(
        "title: Toy\nrows:\n  - {label: zero, variant: zero_filling, train: false, settings: {factor: 4}}\n"
        "  - {label: PRO-C, variant: pro_c_4x}\norderings: [[PRO-C, LR]]\nfigures: [curves, panels, levels]\n"
    )
    toy = {"max_epochs": 2, "epoch_length": 2, "patch_size": 24, "batch_size": 2, "validate_slices": 1}
    run(
        "study",
        config_file="configs/study.yaml",
        study_plan=f"$studies.read_study('{plan}', '{ROOT / 'configs'}')",
        plan="toy",
        dataset_dir=str(small_dataset),
        output_dir=str(tmp_path / "studies"),
        test_subjects=["D"],
        validate_subjects=["C"],
        training_settings=toy,
        evaluation_settings={"slices_per_volume": 1},
    )
    (report,) = (tmp_path / "studies").glob("*_small/reports/toy")
    names = {path.name for path in report.iterdir()}
    assert names >= {"table.md", "curves.png", "sub-D.png", "sub-D_levels_pro_c_4x.png"}
    assert "PRO-C + DC" in (report / "table.md").read_text()
