# SPDX-License-Identifier: Apache-2.0
"""One process a case: locks that the kernel releases when a process ends, however it ends."""

import contextlib
import errno
import hashlib
import logging
import os
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from bundle.errors import InputError
from bundle.files import writable_folder

logger = logging.getLogger(__name__)

FOLDER: Final = ".locks"  # hidden, below that of the outputs
_LONGEST: Final = 200  # bytes of a name; file systems take 255
_WITHOUT_LOCKS: Final = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)


class Lock:
    """Keep other processes from a path below the folder of outputs while this one works on it.

    The file goes with the lock, unless a note is kept in it. Where a file system has no locks, a warning says so.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / FOLDER / f"{_short(name.replace(os.sep, '__'))}.lock"
        self._lock = FileLock(self.path, fallback_to_soft=False)  # soft ones outlive a process that is killed
        self._held = False

    def acquire(self, wait: bool = False) -> bool:
        """Take the lock, once another process gives it back or, without ``wait``, if it is free now; tell whether."""
        writable_folder(self.path.parent.parent)
        while not self._held:
            try:
                self._lock.acquire(blocking=wait)
                self._held = True
            except Timeout:
                if self.path.exists():  # or else it was given back this moment
                    return False
            except (FileNotFoundError, FileExistsError) as error:  # the folder goes with another process's last lock
                if self.path.parent.is_file():
                    raise InputError(f"{self.path.parent}: a file is where the locks go; move it away.") from error
            except OSError as error:
                if error.errno not in _WITHOUT_LOCKS:
                    fault = f"cannot be locked ({error.strerror}); make the output folder writable for all."
                    raise InputError(f"{self.path}: {fault}") from error
                folder = self.path.parent.parent
                logger.warning("%s: this file system has no locks; let no other process work in this folder.", folder)
                self._held = True
        return True

    def release(self, keep: bool = False) -> None:
        """Give the lock back; ``keep`` leaves the file, for another process to read its note."""
        if not keep:
            self.path.unlink(missing_ok=True)  # while it is locked: whoever waits for it takes no removed file
        self._lock.release()
        self._held = False
        with contextlib.suppress(OSError):  # others are still in it
            self.path.parent.rmdir()

    def note(self, text: str) -> None:
        """Leave a note in the file, for the process that takes the lock next."""
        self.path.write_text(text, encoding="utf-8")

    def read_note(self, since: float) -> str:
        """Return the note that another process has left since a time (seconds since 1970); empty without one."""
        return self.path.read_text(encoding="utf-8") if self.path.stat().st_mtime >= since else ""

    def __enter__(self) -> "Lock":
        self.acquire(wait=True)
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def _short(name: str) -> str:
    """Return a name that fits in a folder, since folders and a file become one name."""
    return name if len(os.fsencode(name)) <= _LONGEST else hashlib.sha256(os.fsencode(name)).hexdigest()
