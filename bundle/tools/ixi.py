# SPDX-License-Identifier: Apache-2.0
"""Fetch the IXI data set, as ``mcsr ixi`` does; CC BY-SA 3.0, acknowledge https://brain-development.org/ixi-dataset/."""

import errno
import hashlib
import http.client
import logging
import os
import re
import shutil
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from tqdm import tqdm

from bundle.errors import InputError
from bundle.files import writable_folder

logger = logging.getLogger(__name__)

BASE_URL: Final = "https://biomedic.doc.ic.ac.uk/brain-development/downloads/IXI"
CHECKSUMS: Final = {  # MD5 of the archives: IXI publishes none; TorchIO checks its downloads against these
    "T2": "e3140d78730ecdd32ba92da48c0a9aaa",
    "PD": "88ecd9d1fa33cb4a2278183b42ffd749",
    "T1": "34901a0593b41dd19c1a1f746eac2d58",
}
TIMEOUT: Final = 60.0  # seconds without a byte after which a connection counts as lost
BACK_OFF: Final = 2.0  # seconds before the second attempt; they double with each further one
_DISK_ERRORS: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EIO}
_RESUME = "run the same command again to go on where it stopped"
_BAR: Final[dict[str, Any]] = {"mininterval": 1.0, "disable": None}  # silent where nobody watches


def download_ixi(
    folder: str | os.PathLike[str],
    contrasts: Sequence[str] = ("T2", "PD"),
    base_url: str = BASE_URL,
    checksums: Mapping[str, str] = CHECKSUMS,
    keep_archives: bool = False,
) -> Path:
    """Download and unpack archives of IXI, each into ``folder/IXI-<contrast>``; go on where an earlier run stopped.

    What has its final name is whole and is not fetched again. ``base_url`` is the address of the folder that holds
    ``IXI-T2.tar``, such as a mirror, and ``checksums`` hold MD5 by contrast; the size alone is checked for those left
    out. Returns the folder; an ``InputError`` tells what failed, and the remedy.
    """
    if unknown := set(contrasts) - set(CHECKSUMS):
        raise InputError(f"IXI has no {', '.join(sorted(unknown))} to download; choose among {', '.join(CHECKSUMS)}.")
    if not base_url.startswith(("http://", "https://")):
        raise InputError(f"base_url {base_url} is no web address; give one that starts with https:// or http://.")
    root = writable_folder(Path(folder).expanduser())
    for contrast in contrasts:
        target, archive = root / f"IXI-{contrast}", root / f"IXI-{contrast}.tar"
        if target.is_dir() and any(target.iterdir()):
            logger.info("%s is there already", target)
            continue
        if archive.is_file():
            _verify(archive, checksums.get(contrast))
        else:
            fetch(f"{base_url.rstrip('/')}/{archive.name}", archive, checksums.get(contrast))
        unpack(archive, target)
        if not keep_archives:
            archive.unlink()
    return root


def fetch(url: str, path: Path, checksum: str | None = None, n_attempts: int = 5) -> None:
    """Download a file by several connections and calls as ``<path>.partial``; ``path`` has the right size and MD5."""
    partial = path.with_name(path.name + ".partial")
    for attempt in range(1, n_attempts + 1):
        try:
            _transfer(url, partial)
            break
        except _InterruptedTransferError as error:
            logger.warning("attempt %d of %d: %s", attempt, n_attempts, error)
            if attempt == n_attempts:
                raise InputError(
                    f"{url} could not be downloaded ({error}); check the network, then {_RESUME}."
                ) from error
            time.sleep(BACK_OFF * 2 ** (attempt - 1))
    try:
        _verify(partial, checksum)
    except InputError:
        partial.unlink()
        raise
    partial.replace(path)


def unpack(archive: Path, target: Path) -> None:
    """Unpack a tar archive into a folder that appears only when all is there; refuse members outside the folder."""
    _require_space(archive.parent, archive.stat().st_size)
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with tarfile.open(archive, "r:") as tar:
            tar.extractall(partial, tqdm(tar, f"unpack {archive.name}", unit=" files", **_BAR), filter="data")
        if not any(partial.rglob("*.nii*")):
            raise tarfile.ReadError("it holds no NIfTI file")
        partial.replace(target)
    except (tarfile.TarError, EOFError) as error:
        archive.unlink()
        raise InputError(f"{archive} cannot be unpacked ({error}) and was removed; download it again.") from error
    except OSError as error:
        raise InputError(
            f"{archive} cannot be unpacked ({error.strerror}); free disk space, then {_RESUME}."
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


class _InterruptedTransferError(Exception):
    """A transfer ended early in a way that another attempt may mend."""


def _transfer(url: str, partial: Path) -> None:
    n_present = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={n_present}-"} if n_present else {})
    try:
        try:
            answer = urllib.request.urlopen(request, timeout=TIMEOUT)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            start, n_total = _extent(answer, url, partial, n_present)
            if start and start == n_total:
                return
            _require_space(partial.parent, (n_total or 0) - start)
            bar: dict[str, Any] = {"desc": partial.stem, "initial": start, "total": n_total, **_BAR}
            with partial.open("ab" if start else "wb") as stream, tqdm.wrapattr(stream, "write", **bar) as counted:
                shutil.copyfileobj(answer, counted, 1 << 20)
    except (http.client.HTTPException, OSError) as error:
        if getattr(error, "errno", None) in _DISK_ERRORS:
            raise InputError(f"{partial} cannot be written ({error}); free disk space, then {_RESUME}.") from error
        raise _InterruptedTransferError(str(getattr(error, "reason", error)) or type(error).__name__) from error
    if n_total is not None and (n_present := partial.stat().st_size) != n_total:
        raise _InterruptedTransferError(f"the server sent {n_present} of {n_total} bytes")


def _extent(answer: http.client.HTTPResponse, url: str, partial: Path, n_present: int) -> tuple[int, int | None]:
    """Return where the body starts in the file, and the size of the whole file if the server tells it."""
    status, extent = answer.status, answer.headers.get("Content-Range", "")
    if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and extent == f"bytes */{n_present}":
        return n_present, n_present
    if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        partial.unlink(missing_ok=True)
        raise _InterruptedTransferError("the partial file was longer than the original and was removed")
    if status >= 500 or status in (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS):
        raise _InterruptedTransferError(f"HTTP {status} {answer.reason}")
    if status >= 400:
        raise InputError(
            f"{url} cannot be downloaded (HTTP {status} {answer.reason}); look for the present address on "
            "https://brain-development.org/ixi-dataset/ and give it as base_url."
        )
    if status == HTTPStatus.PARTIAL_CONTENT:
        if not (match := re.fullmatch(rf"bytes {n_present}-\d+/(\d+)", extent)):
            raise _InterruptedTransferError(f"the server answered with the range {extent}")
        return n_present, int(match[1])
    if n_present:
        logger.info("the server cannot resume, so the download starts again")
    return 0, answer.length


def _verify(path: Path, checksum: str | None) -> None:
    if checksum is None:
        return
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if digest != checksum.lower():
        raise InputError(
            f"{path} has the md5 {digest} instead of {checksum}; download it afresh, or do without the check "
            "(--no-checksum) if the original has changed."
        )


def _require_space(folder: Path, n_bytes: int) -> None:
    n_free = shutil.disk_usage(folder).free
    if n_bytes > n_free:
        raise InputError(f"{folder} has {n_free / 1e9:.1f} GB free where {n_bytes / 1e9:.1f} GB are needed; free some.")
