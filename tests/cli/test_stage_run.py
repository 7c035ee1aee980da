# SPDX-License-Identifier: Apache-2.0
"""A stage runs in the bundle's folder, its messages go where they are asked to, and all is as it was afterwards."""

import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigParser
from tqdm import tqdm

from bundle.cli.stage_run import Messages, run_stage
from bundle.config_files import Expression
from bundle.errors import InputError

monai_bundle = pytest.importorskip("monai.bundle")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _loggers_as_they_were() -> Iterator[None]:
    names = ["", "bundle", "ignite"]
    before = {name: (list(logging.getLogger(name).handlers), logging.getLogger(name).level) for name in names}
    yield
    for name, (handlers, level) in before.items():
        for handler in set(logging.getLogger(name).handlers) - set(handlers):
            handler.close()
        logging.getLogger(name).handlers = handlers
        logging.getLogger(name).setLevel(level)


def stage(monkeypatch: pytest.MonkeyPatch, body: Callable[[], None]) -> Callable[[Messages], dict[str, Any]]:
    """Replace MONAI's run, once told to leave logging alone, by a body."""
    called: dict[str, Any] = {}

    def run(run_id: str, config_file: list[str], logging_file: bool, **keys: Any) -> None:
        called.update(run_id=run_id, config_file=config_file, keys=keys, folder=Path.cwd())
        assert logging_file is False
        body()

    def call(messages: Messages) -> dict[str, Any]:
        run_stage(ROOT, "inference", ["configs/inference.yaml"], {"factor": 4}, messages)
        return called

    monkeypatch.setattr(monai_bundle, "run", run)
    return call


def say() -> None:
    logging.getLogger("bundle.data").debug("detail")
    logging.getLogger("bundle.data").info("news of \udcff")  # a name that is no Unicode
    logging.getLogger("bundle.data").warning("warning")
    logging.getLogger("elsewhere").warning("of a library")


def test_a_stage_runs_in_the_bundle_and_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    called = stage(monkeypatch, lambda: None)(Messages())
    assert called == {
        "run_id": "inference",
        "config_file": ["configs/inference.yaml"],
        "keys": {"factor": 4},
        "folder": ROOT,
    }
    assert Path.cwd() == tmp_path


def test_texts_reach_a_stage_such_that_nothing_in_them_is_evaluated(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr(monai_bundle, "run", lambda *_, **keys: given.update(keys))
    keys = {"test_subjects": ["$1", "P#1", "7"], "image": "/a@b", "device": Expression("$torch.device('cpu')")}
    run_stage(ROOT, "training", ["configs/train.yaml"], keys, Messages())
    assert ConfigParser({"image": given["image"]}).get_parsed_content("image") == "/a@b"
    subjects = ConfigParser({"a": given["test_subjects"]}).get_parsed_content("a")
    assert subjects == ["$1", "P#1", "7"]
    assert given["device"] == "$torch.device('cpu')"


@pytest.mark.parametrize(
    ("messages", "shown"),
    [
        (Messages(), ["news", "warning", "of a library"]),
        (Messages(quiet=True), ["warning", "of a library"]),
        (Messages(verbose=True), ["detail", "news", "warning", "of a library"]),
    ],
    ids=["usual", "quiet", "verbose"],
)
def test_messages_go_to_the_error_stream_as_loud_as_asked_for(
    messages: Messages, shown: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sys.stderr.reconfigure(errors="backslashreplace")  # as Python's own
    stage(monkeypatch, say)(messages)
    output = capsys.readouterr()
    assert output.out == ""
    assert [any(text in line for text in shown) for line in output.err.splitlines()] == [True] * len(shown)


@pytest.mark.parametrize("quiet", [False, True])
def test_progress_is_hidden_on_request_whoever_draws_it(
    quiet: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def draw() -> None:
        assert [*tqdm(range(3), disable=False, desc="bar")] == [0, 1, 2]

    stage(monkeypatch, draw)(Messages(quiet=quiet))
    assert ("bar" in capsys.readouterr().err) is not quiet
    draw()
    assert "bar" in capsys.readouterr().err


def test_a_log_holds_all_messages_with_their_date_however_quiet_the_screen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "new folder" / "rün 100%.log"
    for _ in range(2):  # the second run is added
        stage(monkeypatch, say)(Messages(log=log, quiet=True))
    lines = log.read_text(encoding="utf-8").splitlines()
    assert len(lines) == 6
    assert lines[0].endswith("INFO bundle.data: news of \\udcff")
    assert lines[1].endswith("WARNING bundle.data: warning")
    assert lines[2].endswith("WARNING elsewhere: of a library")
    assert all(line[:2] == "20" and line[10] == " " for line in lines)
    assert "news" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "end"),
    [
        (InputError("a.nii: gone."), "error: a.nii: gone."),
        (ZeroDivisionError("a defect"), "ZeroDivisionError: a defect"),
        (KeyboardInterrupt(), "interrupted: nothing is half-written; run the same command again to go on."),
    ],
    ids=["input", "defect", "interruption"],
)
def test_a_log_holds_what_ended_the_run(
    error: BaseException, end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(type(error)):
        stage(monkeypatch, fail)(Messages(log=tmp_path / "run.log"))
    assert (tmp_path / "run.log").read_text().rstrip().endswith(end)


def test_a_log_that_cannot_be_written_is_refused_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"run\.log: this log cannot be written"):
        stage(monkeypatch, pytest.fail)(Messages(log=tmp_path / "file" / "run.log"))


@pytest.mark.parametrize("verbose", [False, True])
def test_warnings_of_libraries_are_shown_to_those_who_ask(verbose: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def warn() -> None:
        warnings.warn("about my code", stacklevel=1)

    if verbose:
        with pytest.raises(UserWarning, match="about my code"):  # an error, in tests
            stage(monkeypatch, warn)(Messages(verbose=True))
    else:
        stage(monkeypatch, warn)(Messages())


@pytest.mark.parametrize("content", ["image,reference\na,b\n", "2026-11-2", "[]"])
def test_a_log_is_added_to_no_other_file(content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "list.csv"
    other.write_text(content)
    with pytest.raises(InputError, match=r"list\.csv: this is another file than a log, which would be spoilt"):
        stage(monkeypatch, say)(Messages(log=other))
    assert other.read_text() == content


def test_a_log_is_added_to_that_of_earlier_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "run.log"
    log.touch()
    lengths = []
    for _ in range(2):
        stage(monkeypatch, say)(Messages(log=log))
        lengths.append(len(log.read_text().splitlines()))
    assert lengths[1] == 2 * lengths[0] > 0


def test_a_pipe_is_no_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="another file than a log"):
        stage(monkeypatch, say)(Messages(log=tmp_path / "pipe"))
