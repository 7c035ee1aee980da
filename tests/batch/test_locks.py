# SPDX-License-Identifier: Apache-2.0
import errno
import fcntl
from pathlib import Path

import pytest

from bundle.batch.locks import FOLDER, Lock
from bundle.errors import InputError


def test_a_lock_is_held_once_and_leaves_nothing_behind(tmp_path: Path) -> None:
    first, second = Lock(tmp_path, "a.nii.gz"), Lock(tmp_path, "a.nii.gz")
    assert first.acquire()
    assert not second.acquire()
    assert Lock(tmp_path, "b.nii.gz").acquire()
    first.release()
    assert second.acquire()
    second.release()
    assert not (tmp_path / FOLDER / "a.nii.gz.lock").exists()


def test_the_last_lock_takes_its_folder_with_it(tmp_path: Path) -> None:
    with Lock(tmp_path, "a"):
        assert (tmp_path / FOLDER).is_dir()
    assert list(tmp_path.iterdir()) == []


def test_outputs_in_folders_of_their_own_have_locks_of_their_own(tmp_path: Path) -> None:
    locks = [Lock(tmp_path, name) for name in ("a/x", "b/x")]
    assert all(lock.acquire() for lock in locks)
    assert all(lock.path.parent == tmp_path / FOLDER for lock in locks)


def test_a_lock_whose_file_was_removed_meanwhile_is_not_taken_for_one(tmp_path: Path, monkeypatch) -> None:
    lock, flock = Lock(tmp_path, "a"), fcntl.flock
    seen = []

    def remove_first(descriptor: int, operation: int) -> None:
        if not seen:
            lock.path.unlink()
        seen.append(descriptor)
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", remove_first)
    assert lock.acquire()
    assert len(seen) == 2
    assert not Lock(tmp_path, "a").acquire()


def test_a_note_is_read_by_the_next_unless_it_is_from_before(tmp_path: Path) -> None:
    first = Lock(tmp_path, "a")
    first.acquire()
    first.note("it is bad.")
    time_of_note = first.path.stat().st_mtime
    first.release(keep=True)
    second = Lock(tmp_path, "a")
    assert second.acquire()
    assert second.read_note(time_of_note - 1) == "it is bad."
    assert second.read_note(time_of_note + 1) == ""


def test_a_file_system_without_locks_is_warned_of(tmp_path: Path, monkeypatch, caplog) -> None:
    def refuse(*_: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert Lock(tmp_path, "a").acquire()
    assert "this file system has no locks" in caplog.text


def test_a_folder_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("in the way")
    with pytest.raises(InputError, match="cannot write into this output folder"):
        Lock(tmp_path / "out", "a").acquire()
