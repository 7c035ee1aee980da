# SPDX-License-Identifier: Apache-2.0
"""The process that has ITK answers, fails, crashes and ends as it should, and this one goes on."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from bundle.errors import InputError
from bundle.itk_process import ask, asking, end
from bundle.itk_process.itk_images import Image

ROOT = Path(__file__).resolve().parents[2]
VOXELS = np.arange(20 * 21 * 9, dtype=np.float32).reshape(20, 21, 9)


@pytest.fixture
def other_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let no process of another test answer, nor that of this one another's."""
    monkeypatch.setattr(asking, "_asking", asking._Asking())
    yield
    end()


def stand_in(monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """Let the process be some Python instead; ``question()`` and ``answer(x)`` speak for it."""
    head = (
        "import os, pickle, signal, sys, time\n"
        "question = lambda: pickle.load(sys.stdin.buffer)\n"
        "answer = lambda x: (pickle.dump(x, sys.stdout.buffer), sys.stdout.flush())\n"
    )
    monkeypatch.setattr(asking, "COMMAND", [sys.executable, "-c", head + body])


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


def interpolated(image: Image) -> np.ndarray:
    return ask("interpolate", image, VOXELS.shape, image.affine, np.eye(4))


def test_itk_is_loaded_by_the_other_process_alone_which_imports_no_pytorch(tmp_path: Path) -> None:
    (tmp_path / "bundle.py").write_text("raise SystemExit('this is another bundle')")
    (tmp_path / "itk.py").write_text("raise SystemExit('this is not ITK')")
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from bundle.itk_process import ask, asking\n"
        "ask('load')\n"
        "maps = Path(f'/proc/{asking._asking.process.pid}/maps').read_text()\n"
        "assert 'ITK' in maps\n"
        "assert 'libtorch' not in maps\n"
        "assert not {'itk', 'torch', 'monai'} & set(sys.modules)\n"
    )
    # -P: the current folder counts for the other process alone, if it did
    command = [sys.executable, "-P", "-c", program]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_an_answer_is_that_of_the_task_and_its_input_errors_come_back_as_they_are() -> None:
    np.testing.assert_allclose(interpolated(Image(VOXELS, np.eye(4), "a.nii")), VOXELS, atol=0.01)
    sheared = np.eye(4)
    sheared[0, 1] = 0.1
    with pytest.raises(InputError, match=r"^a\.nii: the voxel axes are 5\.7 degrees off a right angle, .*; resample"):
        interpolated(Image(VOXELS, sheared, "a.nii"))
    with pytest.raises(RuntimeError, match="KeyError: 'nothing'"):
        ask("nothing")
    np.testing.assert_allclose(interpolated(Image(VOXELS, np.eye(4), "a.nii")), VOXELS, atol=0.01)


def test_one_process_answers_until_it_is_ended(other_process, monkeypatch) -> None:
    stand_in(monkeypatch, "while True:\n question()\n answer(os.getpid())")
    first = ask("who")
    assert ask("who") == first
    end()
    assert is_gone(first)
    assert ask("who") != first


@pytest.mark.parametrize(
    ("body", "how"),
    [
        ("question(); os.kill(os.getpid(), signal.SIGSEGV)", "by SIGSEGV"),
        ("os.close(0); sys.exit(3)", "with status 3"),
        ("question(); sys.stdout.buffer.write(b'\\x80\\x05\\x95'); sys.exit(4)", "with status 4"),
    ],
    ids=["while it computes", "before it is asked", "while it answers"],
)
def test_a_crash_is_an_input_error_and_the_next_question_is_answered(body, how, other_process, monkeypatch) -> None:
    stand_in(monkeypatch, body)
    with pytest.raises(InputError, match=f"ITK, which registers and resamples the reference, ended {how}; "):
        ask("interpolate", np.zeros(2**20))
    stand_in(monkeypatch, "question(); answer('well')")
    assert ask("interpolate") == "well"


def test_an_interrupted_question_gets_no_late_answer(other_process, monkeypatch) -> None:
    stand_in(monkeypatch, "question(); os.kill(os.getppid(), signal.SIGINT); time.sleep(100)")
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # shells let what runs behind them ignore it
    try:
        with pytest.raises(KeyboardInterrupt):
            ask("first")
    finally:
        signal.signal(signal.SIGINT, before)
    assert asking._asking.process is None
    stand_in(monkeypatch, "answer(question()[0])")
    assert ask("second") == "second"


def test_two_threads_get_their_own_answers(other_process, monkeypatch) -> None:
    stand_in(monkeypatch, "while True: answer(question()[0])")
    wrong = []

    def check(name: str) -> None:
        wrong.extend(answer for answer in (ask(name) for _ in range(200)) if answer != name)

    threads = [threading.Thread(target=check, args=(name,)) for name in ("a", "b", "c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_forked_process_has_its_own() -> None:
    program = (
        "import os, sys\n"
        "from bundle.itk_process import ask, asking, end\n"
        "answers = 'import os, pickle, sys\\nwhile True:\\n pickle.load(sys.stdin.buffer)\\n'\n"
        "answers += ' pickle.dump(os.getpid(), sys.stdout.buffer); sys.stdout.flush()'\n"
        "asking.COMMAND = [sys.executable, '-c', answers]\n"
        "ours = ask('who')\n"
        "if (child := os.fork()) == 0:\n"
        "    theirs = ask('who')\n"
        "    end()\n"
        "    os._exit(0 if theirs != ours else 5)\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
        "assert ask('who') == ours\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_process_ends_with_the_one_that_asks(number: signal.Signals) -> None:
    program = (
        "import contextlib, time\n"
        "from bundle.itk_process import ask, asking\n"
        "with contextlib.suppress(RuntimeError):\n"
        "    ask('nothing')\n"
        "print(asking._asking.process.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        pid = int(parent.stdout.readline())
        assert not is_gone(pid, 0.1)
        parent.send_signal(number)
    assert is_gone(pid)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_process_leaves_signals_to_the_one_that_asks(number: signal.Signals) -> None:
    with pytest.raises(RuntimeError, match="nothing"):
        ask("nothing")
    pid = asking._asking.process.pid
    os.kill(pid, number)
    time.sleep(0.2)
    with pytest.raises(RuntimeError, match="nothing"):
        ask("nothing")
    assert asking._asking.process.pid == pid
