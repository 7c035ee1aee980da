# SPDX-License-Identifier: Apache-2.0
"""A stage is shown, logged, timed over its attempts, stopped with its parent, and alone in its folder."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bundle.errors import InputError
from bundle.studies import runner as process
from bundle.studies.runner import run_in_subprocess

Program = Callable[[str], None]
POPEN = subprocess.Popen


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Program:
    """Let a stage be a small Python program instead of MONAI."""

    def install(text: str) -> None:
        command = [sys.executable, "-c", text]
        monkeypatch.setattr(process.subprocess, "Popen", lambda _, **options: POPEN(command, **options))

    return install


def test_a_failing_stage_tells_its_last_line_and_where_its_log_is(program: Program, tmp_path: Path) -> None:
    program("import sys; print('some progress', flush=True); sys.exit('error: the data are bad.')")
    with pytest.raises(InputError, match=r"training failed: the data are bad. \(log: .*training.log\)"):
        run_in_subprocess(tmp_path, "training", [], tmp_path)
    assert "some progress" in (tmp_path / "training.log").read_text()


def test_a_killed_stage_names_the_signal_and_not_its_progress_bar(program: Program, tmp_path: Path) -> None:
    program("import os, signal; print('50%', flush=True); os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(InputError, match="killed by SIGKILL; was there enough memory"):
        run_in_subprocess(tmp_path, "training", [], tmp_path)


def test_the_time_of_earlier_attempts_counts_and_their_log_stays(program: Program, tmp_path: Path) -> None:
    program("import sys, time; time.sleep(0.5); sys.exit('first')")
    with pytest.raises(InputError):
        run_in_subprocess(tmp_path, "training", [], tmp_path)
    program("print('second')")
    assert run_in_subprocess(tmp_path, "training", [], tmp_path) > 0.5
    assert (tmp_path / "training.log").read_text().split() == ["first", "second"]
    assert not (tmp_path / "training.seconds").exists()


def test_two_processes_cannot_work_in_one_folder(tmp_path: Path) -> None:
    with process._locked(tmp_path), pytest.raises(InputError, match="another process is working here"):
        run_in_subprocess(tmp_path, "training", [], tmp_path)


def test_a_link_in_the_place_of_the_lock_is_refused_and_its_target_kept(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("another's")
    (tmp_path / ".lock").symlink_to(tmp_path / "target")
    with pytest.raises(InputError, match=r"\.lock: this cannot be locked .*; move it away"):
        run_in_subprocess(tmp_path, "training", [], tmp_path)
    assert (tmp_path / "target").read_text() == "another's"


def test_a_terminated_study_takes_its_stage_with_it(tmp_path: Path) -> None:
    stage = "import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(60)"
    study = f"""
import subprocess, sys
from pathlib import Path
from bundle.studies import runner as process
popen = subprocess.Popen
process.subprocess.Popen = lambda _, **options: popen([sys.executable, "-c", {stage!r}], **options)
process.run_in_subprocess(Path({str(tmp_path)!r}), "training", [], Path({str(tmp_path)!r}))
"""
    root = Path(__file__).resolve().parents[2]
    with subprocess.Popen([sys.executable, "-c", study], cwd=root, stderr=subprocess.DEVNULL) as parent:
        deadline = time.monotonic() + 60
        while not (tmp_path / "pid").is_file() or not (tmp_path / "pid").read_text():
            assert time.monotonic() < deadline, "the stage never started"
            time.sleep(0.1)
        parent.terminate()
        assert parent.wait(30) == 128 + signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


@pytest.mark.parametrize("content", ["", "soon"])
def test_a_time_that_a_kill_has_left_empty_counts_as_none(content: str, program: Program, tmp_path: Path) -> None:
    (tmp_path / "training.seconds").write_text(content)
    program("print('done')")
    assert 0 <= run_in_subprocess(tmp_path, "training", [], tmp_path) < 60
