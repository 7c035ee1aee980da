# SPDX-License-Identifier: Apache-2.0
"""Every command sets the keys that its options stand for, and every mistake is told in one sentence."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bundle.cli import main
from bundle.cli.command import build_parser
from bundle.cli.stages import OWN, STAGES
from bundle.config_files import read_config
from bundle.console import error_text
from bundle.errors import InputError, SomeFailedError
from bundle.settings import place_of

ROOT = Path(__file__).resolve().parents[2]
ENHANCE = ("enhance", "t2.nii.gz", "--reference", "t1.nii.gz", "-o", "out")


def sentence(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 2) -> str:
    """Run a command that is to fail, and return the one sentence that it tells."""
    assert main(arguments) == status
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("error: ")
    assert output.err.count("\n") == 1
    return output.err.removeprefix("error: ").rstrip()


@pytest.mark.parametrize("name", STAGES)
def test_every_option_sets_a_key_that_its_config_has(name: str) -> None:
    config = read_config(ROOT / "configs" / STAGES[name].config)
    destinations = {action.dest for action in build_parser()[1][name]._actions} - {"help"}
    unknown = destinations - OWN - config.keys()
    assert [key for key in unknown if not place_of(key, config)] == []


@pytest.mark.parametrize("name", [*STAGES, "phantom", "ixi"])
def test_every_option_is_explained_in_the_help_and_in_the_reference(name: str) -> None:
    reference = (ROOT / "docs" / "command.md").read_text(encoding="utf-8")
    for action in build_parser()[1][name]._actions:
        assert action.help
        if action.dest == "help":
            continue
        long = [option for option in action.option_strings if option.startswith("--")]
        for word in long or [str(action.metavar)]:
            assert f"`{word}" in reference or f"[{word}" in reference or f"mcsr {name} {word}" in reference, word


@pytest.mark.parametrize("name", STAGES)
def test_every_stage_is_defined_by_its_config(name: str) -> None:
    assert STAGES[name].run_id in read_config(ROOT / "configs" / STAGES[name].config)


@pytest.mark.parametrize("name", STAGES)
def test_the_example_of_every_stage_is_understood(
    name: str, here: Path, recorder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = STAGES[name].example.split()
    for word in words:
        if word.endswith(".nii.gz"):
            (here / word).touch()
        elif word in ("FOLDER", "output/mine"):
            (here / word).mkdir(parents=True, exist_ok=True)
    assert main(words[1:]) == 0
    assert recorder.runs[0][0] == STAGES[name].run_id


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["t2.nii.gz", "-r", "t1.nii.gz"], {"image": "t2.nii.gz", "reference": "t1.nii.gz"}),
        (["ä b.nii", "--reference=t1.nii.gz"], {"image": "ä b.nii", "reference": "t1.nii.gz"}),
        (["data", "--reference", "data"], {"image": "data", "reference": "data"}),  # two DICOM series
        (["data"], {"dataset_dir": "data"}),
        (["pairs.csv"], {"dataset_dir": "pairs.csv"}),
        (["--dataset_dir", "data"], {"dataset_dir": "data"}),
        (["--set", "dataset_dir=data"], {"dataset_dir": "data"}),
        (["--image", "t2.nii.gz", "-r", "t1.nii.gz"], {"image": "t2.nii.gz", "reference": "t1.nii.gz"}),
    ],
    ids=str,
)
def test_enhance_tells_one_image_from_many(
    arguments: list[str], expected: dict[str, str], here: Path, recorder: Any
) -> None:
    found = recorder.keys_of("enhance", *arguments, "-o", "out")
    assert found == {key: str(here / value) for key, value in (expected | {"output_dir": "out"}).items()}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--model", "model.pt"], {"ckpt_path": "{here}/model.pt"}),
        (["--device", "cpu"], {"device": "$torch.device('cpu')"}),
        (["--device", "cuda:1"], {"device": "$torch.device('cuda:1')"}),
        (["--device", "$torch.device('cpu')"], {"device": "$torch.device('cpu')"}),
        (["--factor", "3"], {"factor": 3}),
        (["--factor", "2.5"], {"factor": 2.5}),
        (["--factor", "4,2"], {"factor": [4, 2]}),
        (["--factor", "[4, 1]"], {"factor": [4, 1]}),
        (["--factor", "4,4"], {"factor": 4}),
        (["--degrade"], {"degrade": True}),
        (["--degrade", "true"], {"degrade": True}),
        (["--register", "false", "--resume", "false"], {"register": False, "resume": False}),
        (["--json", "r.json"], {"report": "{here}/r.json"}),
        (["--dry-run", "--no-resume", "--threads", "2"], {"dry_run": True, "resume": False, "threads": 2}),
        (["--dicom"], {"dicom": True}),
        (["--share", "2/8", "--low-res", "small"], {"share": "2/8", "low_res": "small"}),
        (["--interval", "--on-bad-reference", "skip"], {"interval": True, "on_bad_reference": "skip"}),
        (["--write-doubtful"], {"write_doubtful": True}),
        (["--no-register"], {"register": False}),
        (["--no-data-consistency"], {"data_consistency": False}),
        (["--data_consistency", "false"], {"data_consistency": False}),
        (["--reference-contrast", "T1w"], {"reference_contrast": "T1w"}),
        (
            ["--set", "output_dtype=input", "--set", "slices_per_batch=2"],
            {"output_dtype": "input", "slices_per_batch": 2},
        ),
        (["--output_ext=.nii"], {"output_ext": ".nii"}),
        (["--output_dtype", "in #put", "--output_ext='.nii #'"], {"output_dtype": "in #put", "output_ext": ".nii #"}),
        (["--report", "study #2", "--ckpt_path=2024"], {"report": "{here}/study #2", "ckpt_path": "{here}/2024"}),
        (["--report", "'$a'", "--ckpt_path", "./$m"], {"report": "{here}/$a", "ckpt_path": "{here}/$m"}),
        (["--report", "null", "--set", "ckpt_path=010"], {"report": None, "ckpt_path": "{here}/010"}),
        (["--inferer#progress", "false"], {"inferer::progress": False}),
        (["--set", "factor=2", "--factor", "4"], {"factor": 2}),  # the more particular wins
    ],
    ids=str,
)
def test_options_of_enhance_set_keys(arguments: list[str], expected: dict[str, Any], here: Path, recorder: Any) -> None:
    usual = recorder.keys_of(*ENHANCE)
    found = recorder.keys_of(*ENHANCE, *arguments)
    filled = {k: v.replace("{here}", str(here)) if isinstance(v, str) else v for k, v in expected.items()}
    assert found == usual | filled


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["train", "data", "-o", "out", "--epochs", "3"], {"dataset_dir": "{here}/data", "max_epochs": 3}),
        (["train", "-o", "out", "--test-subjects", "L12, L03"], {"test_subjects": ["L12", "L03"]}),
        (["train", "-o", "out", "--test-subjects", "01"], {"test_subjects": ["01"]}),
        (["train", "-o", "out", "--validate-subjects", "0.3"], {"validate_subjects": 0.3}),
        (["train", "-o", "out", "--validate-subjects", "0"], {"validate_subjects": 0.0}),
        (["train", "-o", "out", "--no-resume", "--levels", "2"], {"resume": False, "levels": 2}),
        (["train", "-o", "out", "--learning_rate", "2e-5"], {"learning_rate": 2e-5}),
        (["train", "-o", "out", "--train::trainer::max_epochs=4"], {"train::trainer::max_epochs": 4}),
        (["train", "-o", "out", "--initial-weights", "model.pt"], {"initial_weights": "{here}/model.pt"}),
        (["train", "-o", "out", "--initial_weights", "model.pt"], {"initial_weights": "{here}/model.pt"}),
        (["train", "-o", "out", "--initial-weights", "T1w_3x"], {"initial_weights": "{root}/models/T1w_3x.pt"}),
        (["train", "-o", "out", "--initial_weights", "$@mine"], {"initial_weights": "$@mine"}),
        (["train", "-o", "out", "--tracking", "mlflow"], {"tracking": "mlflow"}),
        (["evaluate", "-t", "data", "-o", "out", "--all"], {"training_dir": "{here}/data", "split_file": None}),
        (
            ["evaluate", "-t", "data", "-o", "out", "--subset", "validate"],
            {"training_dir": "{here}/data", "subset": "validate"},
        ),
        (["evaluate", "--ckpt_path", "null", "-o", "out"], {"ckpt_path": None}),
        (["study", "table1", "-o", "out", "--folds", "10"], {"plan": "table1", "n_folds": 10}),
        (["study", "table4", "-o", "out", "--scale", "paper"], {"plan": "table4", "scale": "paper"}),
    ],
    ids=str,
)
def test_options_of_the_other_stages_set_keys(
    arguments: list[str], expected: dict[str, Any], here: Path, recorder: Any
) -> None:
    places = {"here": here, "root": ROOT}
    filled = {k: v.format(**places) if isinstance(v, str) else v for k, v in expected.items()}
    assert recorder.keys_of(*arguments) == filled | {"output_dir": str(here / "out")}


def test_every_key_of_a_path_is_made_absolute(here: Path, recorder: Any) -> None:
    found = recorder.keys_of("train", "-o", "out", "--split_file", "s.json", "--cache_dir", "@output_dir")
    assert (found["split_file"], found["cache_dir"]) == (str(here / "s.json"), "@output_dir")


def test_a_config_may_be_a_file_or_the_name_of_a_variant(here: Path, recorder: Any) -> None:
    (here / "mine.yaml").write_text("batch_size: 4\ntrain::trainer::max_epochs: 2\n")
    recorder.keys_of("train", "-o", "out", "--config", "quick", "--config", "mine.yaml")
    assert recorder.runs[0][1] == ["configs/train.yaml", "configs/variants/quick.yaml", str(here / "mine.yaml")]


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ([], "COMMAND; 'mcsr --help' explains"),
        (["enhanc"], "invalid choice: 'enhanc'"),
        (["enhance", "t2.nii.gz", "-r", "t1.nii.gz"], "where are the results to go? Add -o FOLDER"),
        (["enhance", "-o", "out"], "what is to be sharpened?"),
        (["enhance", "t3.nii.gz", "-o", "out"], "t3.nii.gz does not exist (is {here}/t2.nii.gz meant?)"),
        (
            [*ENHANCE, "--model", "none.pt"],
            "none.pt: there are no weights here; give a .pt file, or one of the",
        ),
        ([*ENHANCE, "--no-registr", "x"], "did you mean --no-register?"),
        ([*ENHANCE, "--no-registr"], "--no-registr is no option that stands alone; did you mean --no-register?"),
        ([*ENHANCE, "--no-registr", "--degrade"], "--no-registr is no option that stands alone"),
        ([*ENHANCE, "--data_consistensy", "false"], "did you mean data_consistency?"),
        (
            [*ENHANCE, "--set", "fator=2"],
            "fator: inference.yaml has no key fator, so it would change nothing; did you mean",
        ),
        ([*ENHANCE, "--set", "factor"], "write --set KEY=VALUE"),
        ([*ENHANCE, "--set", "factor=[1"], "cannot be read as YAML"),
        ([*ENHANCE, "--factor", "1"], "1 is no number above 1"),
        ([*ENHANCE, "--factor", "true"], "true is no number above 1"),
        ([*ENHANCE, "--factor", "4,2,2"], "4,2,2 is no number above 1; write 4, or 4,2 for rows and columns"),
        ([*ENHANCE, "--factor", "4,"], "4, is no number above 1"),
        ([*ENHANCE, "--threads", "0"], "0 is no whole number above 0"),
        ([*ENHANCE, "--threads", "two"], "two is no whole number above 0"),
        ([*ENHANCE, "--device", "gpu"], "gpu is no device; choose cpu, cuda or cuda:1"),
        ([*ENHANCE, "--share", "5/4"], "5/4 is no share; write 1/4"),
        ([*ENHANCE, "--share", "4"], "4 is no share; write 1/4"),
        ([*ENHANCE, "--low-res", "big"], "invalid choice: 'big'"),
        ([*ENHANCE, "--json", "-", "--dry-run"], "--dry-run does none; leave out one of them"),
        ([*ENHANCE, "more"], "unrecognized arguments: more"),
        (["train"], "where are the weights to go? Add -o FOLDER"),
        (
            ["train", "-o", "out", "--set", "trian::max_epochs=1"],
            "has no key trian, so it would change nothing; did you mean train?",
        ),
        (["train", "-o", "out", "--train::trainr", "1"], "did you mean train::trainer?"),
        (["train", "-o", "out", "--set", "max_epochs::x=1"], "max_epochs of train.yaml is one value (50)"),
        (["train", "-o", "out", "--set", "register::levels=2"], "register of train.yaml is one value (grid"),
        (["train", "-o", "out", "--set", "train::handlers::99=2"], "train::handlers of train.yaml is a list of"),
        (
            ["train", "-o", "out", "--config", "quik"],
            "--config quik: there is no such file, nor a variant of that name; is quick meant?",
        ),
        (["train", "-o", "out", "--config", "nothing.yaml"], "the variants are adv_per_2x, "),
        (["train", "-o", "out", "--config", "wrong.yaml"], "batch_siez: train.yaml has no key batch_siez"),
        (
            ["train", "-o", "out", "--config", "below.yaml"],
            "has no key trian, so it would change nothing; did you mean train?",
        ),
        (
            ["train", "-o", "out", "--config", "nested.yaml"],
            "has no key trainr, so it would change nothing; did you mean",
        ),
        (["train", "-o", "out", "--config", "broken.yaml"], "broken.yaml: this config is no YAML"),
        (["train", "-o", "out", "--config", "list.yaml"], "list.yaml: this config is no mapping"),
        (["train", "-o", "out", "--initial-weights", "nowhere/model.pt"], "give a .pt file, or one of the bundle's: "),
        (["evaluate", "data"], "which weights are to be scored? Add --training FOLDER"),
        (["study", "tabel1"], "tabel1: there is no such study; did you mean table1?"),
        (["phantom"], "FOLDER; 'mcsr phantom --help' explains"),
        (["phantom", "new", "--subj", "2"], "unrecognized arguments: --subj 2"),
        (["ixi", "data", "--no-check"], "unrecognized arguments: --no-check"),
        (["ixi", "data", "--contrasts", "T3"], "invalid choice: 'T3'"),
    ],
    ids=str,
)
def test_a_mistake_is_told_in_one_sentence_and_nothing_runs(
    arguments: list[str], part: str, here: Path, recorder: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "wrong.yaml").write_text("batch_siez: 4\n")
    (here / "below.yaml").write_text("trian::max_epochs: 4\n")
    (here / "nested.yaml").write_text("train:\n  trainr: 4\n")
    (here / "broken.yaml").write_text("a: [1\n")
    (here / "list.yaml").write_text("- a\n")
    assert part.replace("{here}", str(here)) in sentence(capsys, *arguments)
    assert recorder.runs == []


def wrapped() -> RuntimeError:
    """Return an input error as MONAI hands it on."""
    error = RuntimeError("Failed to parse")
    error.__cause__ = InputError("a.nii: there is no such file; check the path.")
    return error


def test_an_input_error_of_the_run_is_told_in_its_sentence(
    here: Path, recorder: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder.error = wrapped()
    assert sentence(capsys, *ENHANCE) == "a.nii: there is no such file; check the path."


def test_some_cases_that_failed_have_a_status_of_their_own(
    here: Path, recorder: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder.error = RuntimeError("as MONAI hands it on")
    recorder.error.__cause__ = SomeFailedError("1 of 2 cases were left out, the others are done. b: gone.")
    assert sentence(capsys, *ENHANCE, status=1).startswith("1 of 2 cases were left out")


def write_report(folder: Path, text: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "report.json").write_text(text, encoding="utf-8")


@pytest.mark.parametrize("error", [None, SomeFailedError("1 of 2 cases were left out."), KeyboardInterrupt()], ids=repr)
def test_the_report_is_printed_alone_however_the_batch_ends(
    error: BaseException | None, here: Path, recorder: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder.error = error
    recorder.effect = lambda: write_report(here / "out", '{"cases": ["ä"]}')
    main([*ENHANCE, "--json", "-"])
    assert capsys.readouterr().out == '{"cases": ["ä"]}'
    assert "report" not in recorder.runs[0][2]


def test_a_report_that_cannot_be_printed_is_told_with_its_place(
    here: Path, recorder: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    recorder.effect = lambda: write_report(here / "out", "{}")
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert main([*ENHANCE, "--json", "-"]) == 2
    assert "the report cannot be printed (No space left on device); it is in " in capsys.readouterr().err


@pytest.mark.parametrize("closed", [(0, 1, 2), (2,)], ids=str)
def test_no_file_takes_the_place_of_a_closed_stream(closed: tuple[int, ...], bundle_root: Path, tmp_path: Path) -> None:
    """What libraries write as errors would go into a result."""
    program = "import bundle.cli as c; status = c.main(['no']); raise SystemExit(10 * open('a', 'w').fileno() + status)"
    close = "".join(f"{descriptor}>&- " for descriptor in closed)
    words = ["sh", "-c", f'exec "$0" -c "$1" {close}', sys.executable, program]
    environment = os.environ | {"PYTHONPATH": str(bundle_root)}
    descriptor, status = divmod(subprocess.run(words, cwd=tmp_path, env=environment, check=False).returncode, 10)
    assert descriptor > 2
    assert status == 2


def test_the_report_of_an_earlier_batch_is_not_printed(
    here: Path, recorder: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    write_report(here / "out", "{}")
    recorder.error = InputError("nothing could be done.")
    assert main([*ENHANCE, "--json", "-"]) == 2
    assert capsys.readouterr().out == ""


def test_verbose_shows_where_an_input_error_came_from(
    here: Path, recorder: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder.error = wrapped()
    assert main([*ENHANCE, "-v"]) == 2
    text = capsys.readouterr().err
    assert "Traceback" in text
    assert text.endswith("error: a.nii: there is no such file; check the path.\n")


def test_an_interruption_has_a_status_of_its_own(here: Path, recorder: Any, capsys: pytest.CaptureFixture[str]) -> None:
    recorder.error = KeyboardInterrupt()
    assert main(ENHANCE) == 130
    assert capsys.readouterr().err == error_text(KeyboardInterrupt())


def test_a_defect_keeps_its_traceback_and_has_a_status_of_its_own(
    here: Path, recorder: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder.error = ZeroDivisionError("a defect")
    assert main(ENHANCE) == 70
    assert "Traceback" in capsys.readouterr().err


def test_messages_are_as_they_are_asked_for(here: Path, recorder: Any) -> None:
    recorder.keys_of(*ENHANCE)
    assert (recorder.messages.log, recorder.messages.quiet, recorder.messages.verbose) == (None, False, False)
    recorder.keys_of(*ENHANCE, "--log", "run.log", "-q", "-v")
    assert (recorder.messages.log, recorder.messages.quiet, recorder.messages.verbose) == (here / "run.log", True, True)
    recorder.keys_of(*ENHANCE, "-q", "--dry-run")
    assert not recorder.messages.quiet  # the plan is a message


def test_a_phantom_is_written_where_and_as_large_as_asked_for(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Any, ...]] = []
    monkeypatch.setattr("bundle.phantom.dataset.write_phantom", lambda *arguments: calls.append(arguments))
    assert main(["phantom", "new", "--subjects", "2", "--seed", "5"]) == 0
    assert calls == [(str(here / "new"), 2, 5)]


def test_ixi_is_downloaded_as_asked_for(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Any, ...]] = []
    monkeypatch.setattr("bundle.tools.ixi.download_ixi", lambda *a, **k: calls.append((*a, k)))
    assert main(["ixi", "data", "--contrasts", "T2", "--no-checksum", "--base-url", "https://mirror"]) == 0
    assert calls == [(str(here / "data"), ["T2"], "https://mirror", {}, {"keep_archives": False})]
    assert main(["ixi", "data"]) == 0
    assert calls[1][1] == ["T2", "PD"]
    assert calls[1][3]["PD"]


def test_a_package_apart_from_its_bundle_is_told_where_it_lies_by_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(ROOT / "configs", tmp_path / "moved" / "configs")
    monkeypatch.setattr("bundle.config_files.__file__", str(tmp_path / "site-packages" / "bundle" / "config_files.py"))
    asked = ("train", "-o", "out", "--show-config")
    monkeypatch.delenv("MCSR_BUNDLE", raising=False)
    assert "MCSR_BUNDLE is not set; set it to the folder that holds them" in sentence(capsys, *asked)
    monkeypatch.setenv("MCSR_BUNDLE", str(tmp_path / "nowhere"))
    assert "nowhere; set it" in sentence(capsys, *asked)
    monkeypatch.setenv("MCSR_BUNDLE", str(tmp_path / "moved"))
    assert main(asked) == 0
    assert str(tmp_path / "moved") in capsys.readouterr().out


def module(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run ``python -m bundle`` in a folder."""
    command = [sys.executable, "-X", "importtime", "-m", "bundle", *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("arguments", "status"), [(["--help"], 0), (["enhance", "--help"], 0), (["enhance", "-o", "x", "--fcator", "2"], 2)]
)
def test_help_and_mistakes_need_neither_pytorch_nor_monai(arguments: list[str], status: int, tmp_path: Path) -> None:
    process = module(*arguments, folder=tmp_path)
    assert process.returncode == status
    loaded = {line.split("|")[-1].strip() for line in process.stderr.splitlines() if "|" in line}
    assert "bundle.cli.command" in loaded
    assert loaded.isdisjoint({"torch", "monai", "numpy", "nibabel", "itk"})


def test_threads_wait_without_spinning_and_pytorch_comes_later() -> None:
    """OpenMP reads it when PyTorch is imported, so the command has to be there first."""
    code = "import os, sys, bundle.cli as c; assert 'torch' not in sys.modules; c.main(['x']); print(os.environ)"
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert "'OMP_WAIT_POLICY': 'PASSIVE'" in done.stdout
