# SPDX-License-Identifier: Apache-2.0
"""The process that has SimpleITK answers, fails, crashes and ends as it should, and this one goes on."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from bundle.errors import InputError
from bundle.registration import isolation
from bundle.registration.isolation import isolated

ROOT = Path(__file__).resolve().parents[2]
WORKER = isolation.COMMAND[-1]
VOXELS = np.arange(20 * 21 * 9, dtype=np.float32).reshape(20, 21, 9)


def stand_in(monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """Let the process be some Python instead."""
    monkeypatch.setattr(isolation, "COMMAND", [sys.executable, "-c", "import os, pickle, signal, sys, time\n" + body])


def is_gone(pid: int, seconds: float = 60) -> bool:
    """Tell whether a process ends in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


def interpolated(voxels: np.ndarray) -> np.ndarray:
    return isolated("interpolate", (voxels, np.eye(4)), voxels.shape, np.eye(4), np.eye(4), 1)


def test_the_process_imports_simpleitk_and_numpy_alone() -> None:
    program = (
        "import runpy, sys\n"
        f"runpy.run_path({WORKER!r})\n"
        "assert {'numpy', 'SimpleITK'} <= set(sys.modules)\n"
        "assert not {'bundle', 'itk', 'monai', 'nibabel', 'scipy', 'torch'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_script_without_a_guard_gets_its_answer_in_any_folder_and_imports_no_itk(tmp_path: Path) -> None:
    (tmp_path / "pickle.py").write_text("raise SystemExit('this is not pickle')")
    script = tmp_path / "script" / "run.py"
    script.parent.mkdir()
    script.write_text(
        "import sys\n"
        "import numpy as np\n"
        "from bundle.registration import PlacedVolume, resample\n"
        "volume = PlacedVolume(np.ones((9, 8, 7), np.float32), np.eye(4), 'a.nii')\n"
        "print(resample(volume, (5, 5, 5), np.eye(4), np.eye(4)).mean())\n"
        "assert not {'itk', 'SimpleITK'} & set(sys.modules)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(script)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "1.0\n"


def test_two_threads_get_their_own_answers() -> None:
    with ThreadPoolExecutor(3) as threads:
        for number, answer in enumerate(threads.map(interpolated, [VOXELS + 1000 * n for n in range(3)])):
            np.testing.assert_allclose(answer, VOXELS + 1000 * number, atol=0.01)


def test_an_exception_is_a_runtime_error_of_one_line() -> None:
    with pytest.raises(RuntimeError, match=r"^KeyError: 'nothing'$"):
        isolated("nothing")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("body", "how"),
    [
        ("pickle.load(sys.stdin.buffer); os.kill(os.getpid(), signal.SIGSEGV)", "by SIGSEGV"),
        ("os.close(0); sys.exit(3)", "with status 3"),
        ("pickle.load(sys.stdin.buffer); sys.stdout.buffer.write(b'\\x80\\x05\\x95'); sys.exit(4)", "with status 4"),
    ],
    ids=["while it computes", "before it is asked", "while it answers"],
)
def test_a_crash_is_an_input_error_and_the_next_question_is_answered(body, how, monkeypatch) -> None:
    stand_in(monkeypatch, body)
    with pytest.raises(InputError, match=f"ITK, which registers and resamples the reference, ended {how}; "):
        isolated("interpolate", np.zeros(2**20))
    monkeypatch.undo()
    np.testing.assert_allclose(interpolated(VOXELS), VOXELS, atol=0.01)


# subprocess.run kills the process on an interrupt, but does not wait for it
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_ends_the_process(tmp_path: Path, monkeypatch) -> None:
    place = tmp_path / "pid"
    stand_in(
        monkeypatch,
        f"open({str(place)!r}, 'w').write(str(os.getpid()))\nos.kill(os.getppid(), signal.SIGINT); time.sleep(100)",
    )
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # shells let what runs behind them ignore it
    try:
        with pytest.raises(KeyboardInterrupt):
            isolated("interpolate")
    finally:
        signal.signal(signal.SIGINT, before)
    assert is_gone(int(place.read_text()))


def test_signals_to_a_process_and_all_it_started_reach_it_alone(monkeypatch) -> None:
    stand_in(monkeypatch, "pickle.dump(os.getpgrp(), sys.stdout.buffer)")
    assert isolated("interpolate") != os.getpgrp()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_process_ends_with_the_one_that_asks(number: signal.Signals) -> None:
    waiting = (
        "import os, runpy, sys, time\n"
        "class Question:\n"
        "    def read(self, *_):\n"
        "        print(os.getpid(), flush=True)\n"
        "        time.sleep(600)\n"
        "    readline = readinto = read\n"
        "    buffer = property(lambda self: self)\n"
        "sys.stdin = Question()\n"
        f"runpy.run_path({WORKER!r}, run_name='__main__')\n"
    )
    asking = "import subprocess, sys; subprocess.run(sys.argv[1:])"
    command = [sys.executable, "-c", asking, sys.executable, "-W", "ignore", "-c", waiting]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        pid = int(parent.stdout.readline())
        assert not is_gone(pid, 0.1)
        parent.send_signal(number)
    assert is_gone(pid)
