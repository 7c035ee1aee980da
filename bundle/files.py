# SPDX-License-Identifier: Apache-2.0
"""Files that appear whole under their final name, or not at all."""

import contextlib
import glob
import hashlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bundle.errors import InputError


def writable_folder(folder: str | os.PathLike[str]) -> Path:
    """Make a folder and its parents where missing, and check, or raise ``InputError``, that files can be made in it."""
    path = Path(folder).expanduser()
    try:
        path.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path).close()
    except OSError as error:
        raise InputError(
            f"{path}: cannot write into this output folder ({error.strerror}); choose one that you may write to."
        ) from error
    return path


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path in the same folder; rename it to ``path`` when the block succeeds.

    The temporary name keeps the file's endings, since writers choose a format by them. On any exception the temporary
    file is removed and ``path`` is left as it was. Its folder is made where missing, see :func:`writable_folder`.
    """
    final = Path(path).expanduser()
    folder = writable_folder(final.parent)
    temporary = folder / f".{secrets.token_hex(6)}.partial.{final.name}"
    try:
        yield temporary
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.replace(final)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary folder; it takes the place of ``path``, and of what is there, when the block succeeds.

    What earlier, killed runs have left is removed. On any exception ``path`` is left as it was.
    """
    final = Path(path).expanduser()
    parent = writable_folder(final.parent)
    for leftover in parent.glob(f".*.partial.{glob.escape(final.name)}"):
        shutil.rmtree(leftover, ignore_errors=True)
    temporary, former = (parent / f".{secrets.token_hex(6)}.partial.{final.name}" for _ in range(2))
    temporary.mkdir()
    try:
        yield temporary
        if final.exists():
            final.replace(former)
        temporary.replace(final)
    finally:
        for leftover in (temporary, former):
            shutil.rmtree(leftover, ignore_errors=True)


def sha256(path: str | os.PathLike[str] | None) -> str | None:
    """Return the checksum of a file's content; ``None`` where there is no file."""
    file = Path(path or "").expanduser()
    if not file.is_file():
        return None
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
