# SPDX-License-Identifier: Apache-2.0
"""A file appears whole under its final name, or not at all."""

import fcntl
import hashlib
import multiprocessing
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bundle.errors import InputError
from bundle.files import (
    atomic_folder,
    atomic_path,
    json_content,
    open_file,
    read_text,
    remove_leftovers,
    sha256,
    writable_folder,
    write_json,
)

not_root = pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_atomic_path_leaves_the_file_and_nothing_else(tmp_path: Path) -> None:
    final = tmp_path / "new" / "deeper" / "a.txt"
    with atomic_path(final) as temporary:
        temporary.write_text("whole")
        assert not final.exists()
    assert final.read_text() == "whole"
    assert names_in(final.parent) == ["a.txt"]


def test_atomic_path_replaces_an_older_file_only_at_the_end(tmp_path: Path) -> None:
    final = tmp_path / "a.txt"
    final.write_text("old")
    with atomic_path(str(final)) as temporary:
        temporary.write_text("new")
        assert final.read_text() == "old"
    assert final.read_text() == "new"
    assert names_in(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_atomic_path_leaves_the_old_file_and_no_partial_on_failure(tmp_path: Path, error: type[BaseException]) -> None:
    final = tmp_path / "a.txt"
    final.write_text("old")

    def fail() -> None:
        with atomic_path(final) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert final.read_text() == "old"
    assert names_in(tmp_path) == ["a.txt"]


def test_atomic_path_leaves_no_file_where_the_block_wrote_none(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "a.txt"):
        pass
    assert names_in(tmp_path) == []


def test_atomic_path_leaves_no_partial_where_renaming_fails(tmp_path: Path) -> None:
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(OSError, match="directory"), atomic_path(tmp_path / "a.txt") as temporary:
        temporary.write_text("whole")
    assert names_in(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("name", ["a.nii.gz", "model.pt", "noending"])
def test_temporary_name_keeps_the_endings_and_is_hidden_in_the_same_folder(tmp_path: Path, name: str) -> None:
    with atomic_path(tmp_path / name) as temporary:
        temporary.write_text("whole")
        assert temporary.parent == tmp_path
        assert temporary.name != name
        assert temporary.name.endswith(name)
        assert temporary.name.startswith(".")


def test_two_writers_of_one_file_do_not_share_a_temporary(tmp_path: Path) -> None:
    final = tmp_path / "a.txt"
    with atomic_path(final) as first:
        first.write_text("first")
        with atomic_path(final) as second:
            assert second != first
            second.write_text("second")
        assert final.read_text() == "second"
        assert first.read_text() == "first"
    assert final.read_text() == "first"
    assert names_in(tmp_path) == ["a.txt"]


def test_two_files_of_one_process_do_not_share_a_temporary(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "a.txt") as first, atomic_path(tmp_path / "b.txt") as second:
        first.write_text("a")
        second.write_text("b")
    assert {name: (tmp_path / name).read_text() for name in names_in(tmp_path)} == {"a.txt": "a", "b.txt": "b"}


def test_writable_folder_makes_the_folder_and_leaves_it_empty(tmp_path: Path) -> None:
    folder = writable_folder(str(tmp_path / "a" / "b"))
    assert folder == tmp_path / "a" / "b"
    assert names_in(folder) == []


def test_writable_folder_leaves_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old")
    assert writable_folder(tmp_path) == tmp_path
    assert (tmp_path / "a.txt").read_text() == "old"
    assert names_in(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("folder", ["file", "file/below"])
def test_a_file_in_the_place_of_a_folder_is_refused(tmp_path: Path, folder: str) -> None:
    (tmp_path / "file").write_text("kept")
    with pytest.raises(InputError, match=rf"{folder}: cannot write into this output folder \(.+\); choose one"):
        writable_folder(tmp_path / folder)
    with pytest.raises(InputError, match="cannot write into"), atomic_path(tmp_path / folder / "a.txt"):
        pass
    assert (tmp_path / "file").read_text() == "kept"


@not_root
def test_a_folder_without_the_right_to_write_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    for folder in (tmp_path, tmp_path / "new"):
        with pytest.raises(InputError, match=r"cannot write into this output folder \(Permission denied\)"):
            writable_folder(folder)


def test_the_checksum_is_that_of_the_content(tmp_path: Path) -> None:
    (tmp_path / "w.pt").write_bytes(b"weights")
    assert sha256(tmp_path / "w.pt") == hashlib.sha256(b"weights").hexdigest()
    assert sha256(None) is None
    assert sha256(tmp_path / "none.pt") is None


def test_atomic_folder_takes_the_place_of_the_former_one_at_the_end(tmp_path: Path) -> None:
    final = tmp_path / "new" / "a"
    for text in ("old", "new"):
        with atomic_folder(final) as temporary:
            (temporary / text).write_text(text)
            assert not final.exists() or names_in(final) == ["old"]
        assert names_in(final) == [text]
        assert names_in(final.parent) == ["a"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_atomic_folder_leaves_the_former_one_and_no_partial_on_failure(
    tmp_path: Path, error: type[BaseException]
) -> None:
    final = tmp_path / "a"
    final.mkdir()

    def fail() -> None:
        with atomic_folder(final) as temporary:
            (temporary / "half").write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert names_in(tmp_path) == ["a"]
    assert names_in(final) == []


def write_for_ever(folder: Path) -> None:
    with atomic_path(folder / "a.txt") as file, atomic_folder(folder / "b") as below:
        file.write_text("half")
        (below / "c").write_text("half")
        time.sleep(60)


@pytest.mark.parametrize("removed", ["before it is opened", "before it is locked"])
@pytest.mark.parametrize("atomic", [atomic_path, atomic_folder])
def test_what_is_removed_before_it_is_locked_is_made_again(atomic, removed, tmp_path: Path, monkeypatch) -> None:
    seen: list[Path] = []
    module, name = (os, "open") if removed == "before it is opened" else (fcntl, "flock")
    function = getattr(module, name)

    def remove_first(*arguments: Any) -> Any:
        if not seen and (found := list(tmp_path.glob(".*.partial.*"))):
            seen.extend(found)
            found[0].rmdir() if found[0].is_dir() else found[0].unlink()
        return function(*arguments)

    monkeypatch.setattr(module, name, remove_first)
    with atomic(tmp_path / "a") as temporary:
        assert seen
        assert temporary not in seen
        (temporary / "b" if temporary.is_dir() else temporary).write_text("whole")
    assert names_in(tmp_path) == ["a"]


def test_leftovers_are_what_killed_processes_wrote_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("another's")
    (tmp_path / ".0a1b.partial.link").symlink_to(tmp_path / "kept")
    (tmp_path / ".name.partial.txt").write_text("somebody's")
    others = names_in(tmp_path)
    process = multiprocessing.get_context("fork").Process(target=write_for_ever, args=(tmp_path,))
    process.start()
    while not list(tmp_path.glob(".*.partial.b/c")):
        time.sleep(0.01)
    remove_leftovers(tmp_path)
    assert len(names_in(tmp_path)) == len(others) + 2
    process.kill()
    process.join()
    remove_leftovers(tmp_path)
    assert names_in(tmp_path) == others


@pytest.fixture(params=["pipe", "socket", "folder", "device"])
def no_file(request, tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "x.json"
    with socket.socket(socket.AF_UNIX) as server:
        if request.param == "pipe":
            os.mkfifo(path)
        elif request.param == "socket":
            server.bind(str(path))
        elif request.param == "folder":
            path.mkdir()
        else:
            path.symlink_to("/dev/zero")
        yield path


def test_what_is_no_file_is_neither_waited_for_nor_read(no_file: Path) -> None:
    for read in (open_file, read_text, json_content):
        with pytest.raises((InputError, OSError), match=r"and no file; name a file|No such device"):
            read(no_file)


@pytest.mark.parametrize(
    "text", ["[" * 5000 + "]" * 5000, "[" * 101 + "]" * 101, '{"a":' * 200 + "1" + "}" * 200, "[[", "9" * 5000]
)
def test_json_beyond_use_is_refused_as_damaged_json_is(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=r"levels deep|Expecting value|Exceeds the limit"):
        json_content(tmp_path / "a.json")


def test_json_of_usual_depth_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[" * 99 + "]" * 99)
    assert json_content(tmp_path / "a.json")


def test_json_shows_what_a_terminal_would_obey_and_reads_as_it_was(tmp_path: Path) -> None:
    content = {"name": "a\x1b[2J\n\x7f\x9b\u202e M\udcfcller \u4e00 \U000e0001"}
    write_json(tmp_path / "a.json", content)
    assert json_content(tmp_path / "a.json") == content
    lines = (tmp_path / "a.json").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 3
    assert all(line.isprintable() for line in lines)
    assert "\u4e00" in lines[1]


def test_a_text_larger_than_any_list_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with (tmp_path / "a.csv").open("wb") as stream:
        stream.truncate(2**40)
    with pytest.raises(InputError, match="larger than 64 MB, no text to be read"):
        read_text(tmp_path / "a.csv")


def test_json_of_names_that_are_no_unicode_comes_back_equal(tmp_path: Path) -> None:
    content = {"path": os.fsdecode(b"/in/Mu\xfcller.nii"), "umlaut": "\u00fc"}
    write_json(tmp_path / "a.json", content)
    assert json_content(tmp_path / "a.json") == content
