# SPDX-License-Identifier: Apache-2.0
import errno
import fcntl
import multiprocessing
import os
from pathlib import Path

import pytest

from bundle.batch.locks import FOLDER, Lock, find_notes
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


def test_a_lock_is_still_held_while_its_file_is_removed(tmp_path: Path, monkeypatch) -> None:
    lock, unlink = Lock(tmp_path, "a"), Path.unlink
    taken = []

    def remove(path: Path, missing_ok: bool = False) -> None:
        taken.append(Lock(tmp_path, "a").acquire())
        unlink(path, missing_ok)

    assert lock.acquire()
    monkeypatch.setattr(Path, "unlink", remove)
    lock.release()
    assert taken == [False]


def test_a_note_is_read_by_the_next_unless_it_is_known_from_before(tmp_path: Path) -> None:
    first = Lock(tmp_path, "a")
    first.acquire()
    first.note("it was bad, and is so no more.")
    first.note("it is bad: M\udcfcller.")
    first.release(keep=True)
    second = Lock(tmp_path, "a")
    assert second.acquire()
    assert second.read_note() == "it is bad: M\udcfcller."
    assert second.read_note(find_notes(tmp_path)) == ""


def test_locks_without_a_note_that_nobody_holds_are_removed(tmp_path: Path) -> None:
    with Lock(tmp_path, "held") as held:
        (tmp_path / FOLDER / "killed.lock").touch()
        (tmp_path / FOLDER / "failed.lock").write_text("it is bad.")
        assert len(find_notes(tmp_path)) == 1
        assert {path.name for path in (tmp_path / FOLDER).iterdir()} == {held.path.name, "failed.lock"}
        assert not Lock(tmp_path, "held").acquire()


@pytest.mark.parametrize("kind", ["symbolic link", "hard link", "pipe", "link that comes later", "link to a folder"])
def test_nothing_is_written_to_or_read_from_what_a_lock_points_to(kind: str, tmp_path: Path) -> None:
    target, lock = tmp_path / "target", Lock(tmp_path / "out", "a")
    target.write_text("another's")
    lock.path.parent.mkdir(parents=True)
    if kind == "symbolic link":
        lock.path.symlink_to(target)
    elif kind == "hard link":
        lock.path.hardlink_to(target)
    elif kind == "pipe":
        os.mkfifo(lock.path)
    elif kind == "link to a folder":
        lock.path.parent.rmdir()
        lock.path.parent.symlink_to(tmp_path)
    else:
        assert lock.acquire()
        lock.path.unlink()
        lock.path.symlink_to(target)
        lock.note("it is bad.")
        assert lock.read_note() == "it is bad."
    if kind != "link that comes later":
        with pytest.raises(InputError, match=r"is where .* lock.*; move it away"):
            lock.acquire()
        assert lock.read_note() == ""
    assert target.read_text() == "another's"


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS], ids=errno.errorcode.get)
def test_a_file_system_without_locks_is_warned_of(number: int, tmp_path: Path, monkeypatch, caplog) -> None:
    def refuse(*_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    lock = Lock(tmp_path, "a")
    assert lock.acquire()
    assert "this file system has no locks" in caplog.text
    lock.note("it is bad.")
    assert lock.read_note() == ""
    lock.release()
    assert list(tmp_path.iterdir()) == []


def test_any_other_failure_to_lock_is_told_with_its_remedy(tmp_path: Path, monkeypatch) -> None:
    def refuse(*_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(InputError, match=r"a\.lock: cannot be locked .* make the output folder writable for all"):
        Lock(tmp_path, "a").acquire()


def hold(folder: Path, wait: bool) -> None:
    """Take a lock again and again, and fail where another process holds it too."""
    for _ in range(60):
        lock = Lock(folder, "a")
        while not lock.acquire(wait):
            pass
        held = folder / "held"
        held.touch(exist_ok=False)
        held.unlink()
        lock.release()


@pytest.mark.parametrize("wait", [False, True])
def test_a_lock_whose_file_comes_and_goes_is_never_held_twice(wait: bool, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=hold, args=(tmp_path, wait)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("in the way")
    with pytest.raises(InputError, match="cannot write into this output folder"):
        Lock(tmp_path / "out", "a").acquire()


def test_a_file_in_the_place_of_the_locks_is_reported(tmp_path: Path) -> None:
    (tmp_path / FOLDER).touch()
    with pytest.raises(InputError, match="a file or a link is where the locks go; move it away"):
        Lock(tmp_path, "a").acquire()
