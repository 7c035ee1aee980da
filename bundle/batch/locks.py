# SPDX-License-Identifier: Apache-2.0
"""One process a case: locks that the kernel releases when a process ends, however it ends."""

import contextlib
import errno
import hashlib
import logging
import os
import stat
from collections.abc import Container
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from bundle.errors import InputError
from bundle.files import writable_folder

logger = logging.getLogger(__name__)

FOLDER: Final = ".locks"  # hidden, below that of the outputs
_LONGEST: Final = 200  # bytes of a name; file systems take 255
Note = tuple[int, int]  # by which a note is known again, whatever the clock says: inode and time of its file

_LONGEST_NOTE: Final = 2**16  # bytes
_ENDING: Final = ".lock"
_WITHOUT_LOCKS: Final = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)


class Lock:
    """Keep other processes from a path below the folder of outputs while this one works on it.

    The file goes with the lock, unless a note is kept in it. Where a file system has no locks, a warning says so, and
    there are no notes. Links are not followed: in a folder of many users, they may point anywhere.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / FOLDER / f"{_short(name.replace(os.sep, '__'))}{_ENDING}"
        # soft locks outlive a process that is killed
        self._lock = FileLock(self.path, fallback_to_soft=False, on_acquired=self._keep_descriptor)
        self._descriptor: int | None = None  # of the file, which FileLock closes
        self._held = False

    def _keep_descriptor(self, descriptor: int) -> None:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
            raise InputError(f"{self.path}: another file is where a lock goes; move it away.")
        self._descriptor = descriptor

    def acquire(self, wait: bool = False) -> bool:
        """Take the lock, once another process gives it back or, without ``wait``, if it is free now; tell whether."""
        folder = writable_folder(self.path.parent.parent)
        while not self._held:
            if self.path.parent.is_symlink() or self.path.parent.is_file():
                raise InputError(f"{self.path.parent}: a file or a link is where the locks go; move it away.")
            try:
                self._lock.acquire(blocking=wait)
                self._held = True
            except Timeout:
                if self.path.exists():  # or else it was given back this moment
                    return False
            except (FileNotFoundError, FileExistsError):  # the folder goes with another process's last lock
                continue
            except OSError as error:
                if error.errno not in _WITHOUT_LOCKS:
                    fault = f"cannot be locked ({error.strerror}); make the output folder writable for all."
                    if error.errno == errno.ELOOP:
                        fault = "a link is where a lock goes; move it away."
                    raise InputError(f"{self.path}: {fault}") from error
                logger.warning("%s: this file system has no locks; let no other process work in this folder.", folder)
                self._held = True
        return True

    def release(self, keep: bool = False) -> None:
        """Give the lock back; ``keep`` leaves the file, for another process to read its note."""
        if not keep:
            self.path.unlink(missing_ok=True)  # while it is locked: whoever waits for it takes no removed file
        self._descriptor = None
        self._lock.release()
        self._held = False
        with contextlib.suppress(OSError):  # others are still in it
            self.path.parent.rmdir()

    def note(self, text: str) -> None:
        """Leave a note in the file, for the process that takes the lock next."""
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, text.encode(errors="surrogateescape")[:_LONGEST_NOTE], 0)

    def read_note(self, known: Container[Note] = ()) -> str:
        """Return the note that another process has left, other than those known before; empty without one."""
        if self._descriptor is None or _identity(os.fstat(self._descriptor)) in known:
            return ""
        return os.pread(self._descriptor, _LONGEST_NOTE, 0).decode(errors="surrogateescape")

    def __enter__(self) -> "Lock":
        self.acquire(wait=True)
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def _short(name: str) -> str:
    """Return a name that fits in a folder, since folders and a file become one name."""
    return name if len(os.fsencode(name)) <= _LONGEST else hashlib.sha256(os.fsencode(name)).hexdigest()


def find_notes(folder: Path) -> set[Note]:
    """Return the notes that earlier processes have left, and remove the locks without one of those that were killed."""
    notes = set()
    for path in (folder / FOLDER).glob(f"*{_ENDING}"):
        with contextlib.suppress(OSError, InputError):  # of what has gone this moment, or is no lock
            if (found := path.lstat()).st_size:
                notes.add(_identity(found))
            elif (lock := Lock(folder, path.name.removesuffix(_ENDING))).acquire():
                lock.release(keep=bool(lock.read_note()))
    return notes


def _identity(found: os.stat_result) -> Note:
    return found.st_ino, found.st_mtime_ns
