# SPDX-License-Identifier: Apache-2.0
"""Real processes on one folder: no case twice, and whatever ends one of them, nothing half-written."""

import json
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from bundle.batch import Batch, batch

CONTEXT = multiprocessing.get_context("fork")  # what is imported is there at once


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "POLL_SECONDS", 0.02)


def start(one: Batch) -> BaseProcess:
    process = CONTEXT.Process(target=one.run)
    process.start()
    return process


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it never came to pass"
        time.sleep(0.01)


def statuses(folder: Path) -> list[str]:
    return [entry["status"] for entry in json.loads((folder / "report.json").read_text())["cases"]]


def test_processes_on_one_folder_never_treat_a_case_twice(make_pairs, make_batch, treated, tmp_path) -> None:
    pairs = make_pairs(*(f"case{i}" for i in range(12)))
    processes = [start(make_batch(pairs, seconds=0.05)) for _ in range(3)]
    for process in processes:
        process.join(30)
        assert process.exitcode == 0
    cases = treated()
    assert sorted(cases) == sorted(pair["case"] for pair in pairs)
    for pair in pairs:
        assert (tmp_path / "out" / f"{pair['case']}_sr.nii.gz").read_text() == pair["case"]
    assert set(statuses(tmp_path / "out")) <= {"done", "skipped"}
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]


def test_a_case_that_fails_in_one_process_is_not_tried_by_another(make_pairs, make_batch, treated, tmp_path) -> None:
    pairs = make_pairs("a", "bad", "b")
    processes = [start(make_batch(pairs, seconds=0.1)) for _ in range(2)]
    for process in processes:
        process.join(30)
        assert process.exitcode == 1
    assert sorted(treated()) == ["a", "b", "bad"]
    assert statuses(tmp_path / "out")[1] == "failed"


def test_the_case_of_a_killed_process_is_done_by_another(make_pairs, make_batch, treated, tmp_path) -> None:
    pairs = make_pairs("a", "b")
    killed = start(make_batch(pairs, seconds=60))
    wait_for(lambda: list((tmp_path / "out").glob(".*.partial.a_sr.nii.gz")))
    other = start(make_batch(pairs))
    wait_for(lambda: (tmp_path / "out" / "b_sr.json").exists())
    assert not (tmp_path / "out" / "a_sr.nii.gz").exists(), "the first process has it"
    assert killed.pid is not None
    os.kill(killed.pid, signal.SIGKILL)
    other.join(30)
    assert other.exitcode == 0
    assert treated() == ["a", "b", "a"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *(f"{case}_sr.{ending}" for case in "ab" for ending in ("json", "nii.gz")),
        "report.json",
    }
    assert (tmp_path / "out" / "a_sr.nii.gz").read_text() == "a"


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_the_batch_with_its_status_and_whole_files(
    number, status, make_pairs, make_batch, tmp_path, capfd
) -> None:
    pairs = make_pairs("a", "b", "c")
    make_batch(pairs[:1]).run()
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # ignored where the tests run below nohup
    process = start(make_batch(pairs, seconds=60))
    signal.signal(signal.SIGHUP, before)
    wait_for(lambda: list((tmp_path / "out").glob(".*.partial.b_sr.nii.gz")))
    assert process.pid is not None
    os.kill(process.pid, number)
    process.join(30)
    assert process.exitcode == status
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a_sr.nii.gz", "a_sr.json", "report.json"}
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["interrupted"]
    assert statuses(tmp_path / "out") == ["skipped", "waiting", "waiting"]
    assert "Traceback" not in capfd.readouterr().err
    make_batch(pairs).run()
    assert statuses(tmp_path / "out") == ["skipped", "done", "done"]


def test_a_closed_terminal_does_not_end_what_runs_without_it(make_pairs, make_batch, tmp_path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    process = start(make_batch(make_pairs("a"), seconds=0.5))
    signal.signal(signal.SIGHUP, before)
    wait_for(lambda: list((tmp_path / "out").glob(".*.partial.a_sr.nii.gz")))
    assert process.pid is not None
    os.kill(process.pid, signal.SIGHUP)
    process.join(30)
    assert process.exitcode == 0
    assert statuses(tmp_path / "out") == ["done"]


def test_shares_in_processes_write_one_report(make_pairs, make_batch, tmp_path) -> None:
    pairs = make_pairs(*"abcdefg")
    processes = [start(make_batch(pairs, seconds=0.02, share=f"{i + 1}/3")) for i in range(3)]
    for process in processes:
        process.join(30)
    assert statuses(tmp_path / "out") == ["done"] * 7
