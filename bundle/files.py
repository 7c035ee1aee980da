# SPDX-License-Identifier: Apache-2.0
"""Files that appear whole under their final name, or not at all."""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final

from bundle.errors import InputError, printable

_LARGEST_TEXT: Final = 2**26  # bytes of a list, a record or a report
_DEEPEST: Final = 100  # levels of JSON
_NOT_WRITABLE: Final = "{path}: cannot write into this output folder ({reason}); choose one that you may write to."
_TEMPORARY: Final = re.compile(r"\.[0-9a-f]+\.partial\.")
_TOO_DEEP: Final = f"nested more than {_DEEPEST} levels deep"


def writable_folder(folder: str | os.PathLike[str]) -> Path:
    """Make a folder and its parents where missing, and check, or raise ``InputError``, that files can be made in it."""
    path = Path(folder).expanduser()
    try:
        path.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path).close()
    except OSError as error:
        raise InputError(_NOT_WRITABLE.format(path=path, reason=error.strerror)) from error
    return path


def free_bytes(folder: str | os.PathLike[str]) -> int:
    """Return how much can still be written into a folder, which need not be there yet."""
    return shutil.disk_usage(_nearest(Path(folder).expanduser())).free


def check_writable(folder: str | os.PathLike[str]) -> None:
    """Raise ``InputError`` where :func:`writable_folder` could not make a folder and files in it; writes nothing."""
    path = Path(folder).expanduser()
    there = _nearest(path)
    if not os.access(there, os.W_OK | os.X_OK) or not there.is_dir():
        reason = os.strerror(errno.EACCES if there.is_dir() else errno.ENOTDIR)
        raise InputError(_NOT_WRITABLE.format(path=path, reason=reason))


def check_name(path: Path) -> None:
    """Raise ``InputError`` where a file, or its temporary one, has a longer name than its file system takes."""
    there = _nearest(path)
    longest, whole = (os.pathconf(there, name) for name in ("PC_NAME_MAX", "PC_PATH_MAX"))
    temporary = _temporary(path)
    for name, limit in ((temporary.name, longest), *((part, longest) for part in path.parts), (str(temporary), whole)):
        if len(os.fsencode(name)) > limit:
            raise InputError(
                f"{path}: this name is too long for the file system, which takes {limit} bytes, and some are needed "
                "while the file is written; shorten the image's name, or list it under a short case in a CSV table."
            )


def _nearest(path: Path) -> Path:
    """Return the nearest of a path and the folders around it that is there."""
    return next(place for place in (path, *path.absolute().parents) if os.path.exists(place))  # noqa: PTH110


def _temporary(final: Path) -> Path:
    return final.with_name(f".{secrets.token_hex(6)}.partial.{final.name}")


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str], check: Callable[[], object] | None = None) -> Iterator[Path]:
    """Yield a temporary path in the same folder; rename it to ``path`` when the block, and then ``check``, succeed.

    The temporary name keeps the file's endings, since writers choose a format by them. On any exception the temporary
    file is removed and ``path`` is left as it was. Its folder is made where missing, see :func:`writable_folder`.
    """
    final = Path(path).expanduser()
    with _in_use(final, folder=False) as temporary:
        try:
            yield temporary
            if not temporary.stat().st_size:
                raise FileNotFoundError(errno.ENOENT, "nothing was written", str(final))
            with temporary.open("rb") as stream:
                os.fsync(stream.fileno())
            if check:
                check()
            temporary.replace(final)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary folder; it takes the place of ``path``, and of what is there, when the block succeeds.

    On any exception ``path`` is left as it was.
    """
    final = Path(path).expanduser()
    with _in_use(final, folder=True) as temporary:
        former = _temporary(final)
        try:
            yield temporary
            if final.exists():
                final.replace(former)
            temporary.replace(final)
        finally:
            for leftover in (temporary, former):
                shutil.rmtree(leftover, ignore_errors=True)


def remove_leftovers(folder: str | os.PathLike[str]) -> None:
    """Remove the temporary files and folders of processes that were killed; where there are no locks, they stay."""
    for path in Path(folder).glob(".*.partial.*"):
        if not _TEMPORARY.match(path.name) or path.is_symlink():
            continue
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # and nobody takes it while it is removed
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            finally:
                os.close(descriptor)


@contextlib.contextmanager
def _in_use(final: Path, folder: bool) -> Iterator[Path]:
    """Make a temporary file or folder, and hold a lock on it that ends with this process however it ends."""
    writable_folder(final.parent)
    while True:
        path = _temporary(final)
        path.mkdir() if folder else path.touch(exist_ok=False)
        with contextlib.suppress(FileNotFoundError):  # of one that another process has taken for a leftover just now
            descriptor = os.open(path, os.O_RDONLY)
            with contextlib.suppress(OSError):  # where the file system has no locks
                fcntl.flock(descriptor, fcntl.LOCK_SH)
            if os.fstat(descriptor).st_nlink:
                break
            os.close(descriptor)
    try:
        yield path
    finally:
        os.close(descriptor)


def open_file(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a file to be read; ``InputError`` for a pipe, which would wait for ever, and all else that is no file."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    raise InputError(f"{path}: this is a folder, a pipe or a device, and no file; name a file.")


def read_text(path: str | os.PathLike[str], encoding: str = "utf-8") -> str:
    """Read a text; ``InputError`` for what is no file, or larger than a text that somebody wrote."""
    with open_file(path) as stream:
        content = stream.read(_LARGEST_TEXT + 1)
    if len(content) > _LARGEST_TEXT:
        raise InputError(f"{path}: this is larger than {_LARGEST_TEXT >> 20} MB, no text to be read; name another.")
    return content.decode(encoding)


def json_content(path: str | os.PathLike[str], encoding: str = "utf-8") -> Any:
    """Read JSON; ``OSError`` or ``ValueError`` where it cannot be read, as of what is nested beyond all use."""
    try:
        content = json.loads(read_text(path, encoding))
    except RecursionError as error:
        raise ValueError(_TOO_DEEP) from error
    level = [content]
    for _ in range(_DEEPEST):
        level = [below for each in level if isinstance(each, (dict, list)) for below in _below(each)]
        if not level:
            return content
    raise ValueError(_TOO_DEEP)


def _below(value: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value


def write_json(path: str | os.PathLike[str], content: Mapping[str, Any]) -> None:
    """Write a JSON file, whole or not at all; what a terminal would obey, or UTF-8 cannot hold, is escaped."""
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    odd = (one for one in set(text) - {"\n"} if printable(one) != one)
    with atomic_path(path) as temporary:
        temporary.write_text(text.translate({ord(one): json.dumps(one)[1:-1] for one in odd}), encoding="utf-8")


def sha256(path: str | os.PathLike[str] | None) -> str | None:
    """Return the checksum of a file's content; ``None`` where there is no file."""
    file = Path(path or "").expanduser()
    if not file.is_file():
        return None
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def stamp(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what tells a file, or a folder of files, from itself after a change, without reading it."""
    found = [file.stat() for file in _regular_files(Path(path))]
    size, modified = sum(one.st_size for one in found), max((one.st_mtime_ns for one in found), default=0)
    return {"path": str(path), "n_files": len(found), "bytes": size, "modified": modified}


def fingerprint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the stamp of a file, or of a folder of files, with the checksum of what it holds."""
    files = _regular_files(Path(path))
    sums = [sha256(file) for file in files]
    if Path(path).is_dir():
        listed = (f"{checksum}  {os.fsencode(file.name)!r}" for checksum, file in zip(sums, files, strict=True))
        sums = [hashlib.sha256("\n".join(listed).encode()).hexdigest()]
    return stamp(path) | {"sha256": sums[0] if sums else None}


def _regular_files(path: Path) -> list[Path]:
    return [file for file in (sorted(path.iterdir()) if path.is_dir() else [path]) if file.is_file()]
