# SPDX-License-Identifier: Apache-2.0
"""One process a case: locks that the kernel releases when a process ends, however it ends."""

import contextlib
import errno
import fcntl
import logging
import os
from pathlib import Path
from types import TracebackType

from bundle.errors import InputError
from bundle.files import writable_folder

logger = logging.getLogger(__name__)

FOLDER = ".locks"
"""Hidden folder of the lock files, below that of the outputs."""


class Lock:
    """Keep other processes from one thing while this one works on it.

    The lock is on a file (flock), which is removed when it is given back. Where a file system has no locks, such as
    some network file systems, nothing is kept apart, and a warning says so.

    Args:
        folder: of the outputs.
        name: of what is locked: a path below the folder.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / FOLDER / f"{name.replace(os.sep, '__')}.lock"
        self._descriptor: int | None = None

    def acquire(self, wait: bool = False) -> bool:
        """Take the lock.

        Args:
            wait: until another process gives it back; otherwise return at once.

        Returns:
            Whether this process has the lock.

        Raises:
            InputError: if the lock's folder cannot be written.
        """
        writable_folder(self.path.parent.parent)
        while True:
            descriptor = self._open()
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                os.close(descriptor)
                return False
            except OSError as error:
                _warn_without_locks(self.path, error)
            if _is_file_at(descriptor, self.path):
                self._descriptor = descriptor
                return True
            os.close(descriptor)  # whoever had it has removed it meanwhile: this lock would keep nobody out

    def _open(self) -> int:
        """Open the file; its folder comes and goes, as other processes give their locks back."""
        while True:
            try:
                self.path.parent.mkdir(exist_ok=True)
                return os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            except (FileNotFoundError, FileExistsError) as error:
                if self.path.parent.exists() and not self.path.parent.is_dir():
                    raise InputError(f"{self.path.parent}: a file is where the locks go; move it away.") from error
            except OSError as error:
                raise InputError(
                    f"{self.path}: cannot be locked ({error.strerror}); make the output folder writable for all."
                ) from error

    def release(self, keep: bool = False) -> None:
        """Give the lock back.

        Args:
            keep: leave the file, for another process to read its note.
        """
        if self._descriptor is None:
            return
        if not keep:
            self.path.unlink(missing_ok=True)
        os.close(self._descriptor)
        self._descriptor = None
        with contextlib.suppress(OSError):  # others are still in it
            self.path.parent.rmdir()

    def note(self, text: str) -> None:
        """Leave a note in the file, for the process that takes the lock next."""
        self.path.write_text(text, encoding="utf-8")

    def read_note(self, since: float) -> str:
        """Return the note that another process has left since a time (seconds since 1970); empty without one."""
        return self.path.read_text(encoding="utf-8") if self.path.stat().st_mtime >= since else ""

    def __enter__(self) -> "Lock":
        """Wait for the lock."""
        self.acquire(wait=True)
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        """Give it back."""
        self.release()


def _is_file_at(descriptor: int, path: Path) -> bool:
    """Tell whether an open file is still the one of its name."""
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    own = os.fstat(descriptor)
    return (own.st_ino, own.st_dev) == (there.st_ino, there.st_dev)


def _warn_without_locks(path: Path, error: OSError) -> None:
    """Say that nothing is kept apart, or raise what is no lack of locks."""
    if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):
        raise error
    logger.warning("%s: this file system has no locks; let no other process work in this folder.", path.parent.parent)
