# SPDX-License-Identifier: Apache-2.0
"""The downloader against a local server with every fault that a long download meets."""

import errno
import hashlib
import io
import logging
import shutil
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from bundle.data.pairs import find_pairs
from bundle.errors import InputError
from bundle.tools import ixi
from bundle.tools.ixi import download_ixi, fetch, unpack

BODY = bytes(range(256)) * 4096  # 1 MiB


class Site:
    """What the server holds and how it misbehaves.

    Attributes:
        files: body by path.
        ranges: whether Range is honoured.
        cut: bytes after which each of the next responses breaks off, one per response.
        shift: added to the start of the range that is announced.
        length: Content-Length to claim instead of the true one.
        status: status of each of the next responses instead of the true one.
        log: path and Range header of each request.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.ranges = True
        self.shift = 0
        self.cut: list[int] = []
        self.length: int | None = None
        self.status: list[int] = []
        self.log: list[tuple[str, str | None]] = []
        self.url = ""


class Handler(BaseHTTPRequestHandler):
    site: Site

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.site.log.append((self.path, asked))
        if self.site.status:
            return self.send_error(self.site.status.pop(0))
        if self.path not in self.site.files:
            return self.send_error(404)
        body = self.site.files[self.path]
        start = int(asked[len("bytes=") : -1]) if asked and self.site.ranges else 0
        if start >= len(body):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(body)}")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        self.send_response(206 if asked and self.site.ranges else 200)
        if asked and self.site.ranges:
            self.send_header("Content-Range", f"bytes {start + self.site.shift}-{len(body) - 1}/{len(body)}")
        self.send_header("Content-Length", str(self.site.length or len(body) - start))
        self.end_headers()
        end = start + self.site.cut.pop(0) if self.site.cut else len(body)
        self.wfile.write(body[start:end])
        return None

    def log_message(self, *arguments: object) -> None:
        """Stay silent."""


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Serve a site on a free port, without pauses between attempts."""
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(ixi, "BACK_OFF", 0.0)
    site = Site()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("SiteHandler", (Handler,), {"site": site}))
    site.url = f"http://127.0.0.1:{server.server_port}/IXI"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield site
    server.shutdown()
    server.server_close()
    thread.join()


def make_tar(*names: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 2000
            tar.addfile(member, io.BytesIO(name.encode().ljust(2000, b".")))
    return buffer.getvalue()


def serve_ixi(site: Site) -> None:
    for contrast in ("T2", "PD"):
        names = [f"IXI002-Guys-0828-{contrast}.nii.gz", f"IXI012-HH-1211-{contrast}.nii.gz"]
        site.files[f"/IXI/IXI-{contrast}.tar"] = make_tar(*names)


def digests(site: Site) -> dict[str, str]:
    return {path[9:-4]: hashlib.md5(body).hexdigest() for path, body in site.files.items()}


def listing(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_download_leaves_a_data_set_that_find_pairs_reads(site: Site, tmp_path: Path) -> None:
    serve_ixi(site)
    folder = download_ixi(tmp_path / "ixi", base_url=site.url + "/", checksums=digests(site))
    assert [pair["subject"] for pair in find_pairs(folder)] == ["IXI002", "IXI012"]
    assert sorted(path.name for path in folder.iterdir()) == ["IXI-PD", "IXI-T2"]
    first = folder / "IXI-T2" / "IXI002-Guys-0828-T2.nii.gz"
    assert first.read_bytes() == first.name.encode().ljust(2000, b".")


def test_a_second_run_downloads_nothing(site: Site, tmp_path: Path) -> None:
    serve_ixi(site)
    download_ixi(tmp_path, base_url=site.url, checksums={})
    n_requests = len(site.log)
    download_ixi(tmp_path, base_url=site.url, checksums={})
    assert len(site.log) == n_requests == 2


def test_a_run_goes_on_after_the_archive_that_failed(site: Site, tmp_path: Path) -> None:
    serve_ixi(site)
    lost = site.files.pop("/IXI/IXI-PD.tar")
    with pytest.raises(
        InputError, match=r"IXI-PD\.tar cannot be downloaded \(HTTP 404 Not Found\); look for the present"
    ):
        download_ixi(tmp_path, base_url=site.url, checksums={})
    site.files["/IXI/IXI-PD.tar"] = lost
    download_ixi(tmp_path, base_url=site.url, checksums={})
    assert [path for path, _ in site.log] == ["/IXI/IXI-T2.tar", "/IXI/IXI-PD.tar", "/IXI/IXI-PD.tar"]
    assert len(find_pairs(tmp_path)) == 2


def test_an_archive_that_was_kept_is_unpacked_again_without_the_network(site: Site, tmp_path: Path) -> None:
    serve_ixi(site)
    download_ixi(tmp_path, ["T2"], site.url, digests(site), keep_archives=True)
    shutil.rmtree(tmp_path / "IXI-T2")
    download_ixi(tmp_path, ["T2"], site.url, digests(site), keep_archives=True)
    assert len(site.log) == 1
    (tmp_path / "IXI-T2.tar").write_bytes(b"mine")
    shutil.rmtree(tmp_path / "IXI-T2")
    with pytest.raises(InputError, match=r"IXI-T2\.tar has the md5"):
        download_ixi(tmp_path, ["T2"], site.url, digests(site))
    assert (tmp_path / "IXI-T2.tar").read_bytes() == b"mine"  # what the user put there is not removed


def test_an_interrupted_transfer_is_resumed_within_a_call(site: Site, tmp_path: Path) -> None:
    site.files["/IXI/body"] = BODY
    site.cut = [1000, 500_000]
    fetch(f"{site.url}/body", tmp_path / "body", hashlib.md5(BODY).hexdigest())
    assert [asked for _, asked in site.log] == [None, "bytes=1000-", "bytes=501000-"]
    assert (tmp_path / "body").read_bytes() == BODY
    assert listing(tmp_path) == ["body"]


def test_an_interrupted_transfer_is_resumed_by_the_next_call(site: Site, tmp_path: Path) -> None:
    site.files["/IXI/body"] = BODY
    site.cut = [1000, 1000]
    with pytest.raises(InputError, match=r"server sent 2000 of 1048576 bytes.*run the same command again"):
        fetch(f"{site.url}/body", tmp_path / "body", n_attempts=2)
    assert listing(tmp_path) == ["body.partial"]
    fetch(f"{site.url}/body", tmp_path / "body")
    assert site.log[-1][1] == "bytes=2000-"
    assert (tmp_path / "body").read_bytes() == BODY


def test_a_server_without_ranges_starts_again(site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    site.files["/IXI/body"] = BODY
    site.ranges = False
    site.cut = [700_000]
    with caplog.at_level(logging.INFO):
        fetch(f"{site.url}/body", tmp_path / "body")
    assert (tmp_path / "body").read_bytes() == BODY
    assert "cannot resume, so the download starts again" in caplog.text


def test_a_partial_file_that_is_whole_is_only_renamed(site: Site, tmp_path: Path) -> None:
    site.files["/IXI/body"] = BODY
    (tmp_path / "body.partial").write_bytes(BODY)
    fetch(f"{site.url}/body", tmp_path / "body")
    assert listing(tmp_path) == ["body"]
    assert len(site.log) == 1


def test_a_partial_file_longer_than_the_original_is_fetched_afresh(site: Site, tmp_path: Path) -> None:
    site.files["/IXI/body"] = BODY
    (tmp_path / "body.partial").write_bytes(BODY + b"x")
    fetch(f"{site.url}/body", tmp_path / "body")
    assert (tmp_path / "body").read_bytes() == BODY


def test_a_body_always_shorter_than_its_stated_size_is_refused(site: Site, tmp_path: Path) -> None:
    site.files["/IXI/body"] = BODY
    site.ranges = False
    site.length = len(BODY) + 1
    with pytest.raises(InputError, match="sent 1048576 of 1048577 bytes"):
        fetch(f"{site.url}/body", tmp_path / "body", n_attempts=3)
    assert len(site.log) == 3
    assert not (tmp_path / "body").exists()


def test_a_range_that_starts_elsewhere_is_not_appended(site: Site, tmp_path: Path) -> None:
    site.files["/IXI/body"] = BODY
    site.shift = 5
    (tmp_path / "body.partial").write_bytes(BODY[:10])
    with pytest.raises(InputError, match="answered with the range bytes 15-1048575/1048576"):
        fetch(f"{site.url}/body", tmp_path / "body", n_attempts=1)
    assert (tmp_path / "body.partial").read_bytes() == BODY[:10]


def test_a_busy_server_is_tried_again(site: Site, tmp_path: Path) -> None:
    site.files["/IXI/body"] = BODY
    site.status = [503, 429, 500]
    fetch(f"{site.url}/body", tmp_path / "body")
    assert len(site.log) == 4


def test_attempts_back_off_and_are_bounded(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(ixi, "BACK_OFF", 2.0)
    monkeypatch.setattr(ixi.time, "sleep", pauses.append)
    site.status = [503] * 9
    with pytest.raises(InputError, match="HTTP 503 Service Unavailable"):
        fetch(f"{site.url}/body", tmp_path / "body", n_attempts=4)
    assert pauses == [2.0, 4.0, 8.0]


def test_no_network_is_one_clear_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(ixi, "BACK_OFF", 0.0)
    with pytest.raises(InputError, match=r"IXI-T2\.tar could not be downloaded \(.*refused\); check the network"):
        download_ixi(tmp_path, base_url="http://127.0.0.1:1")
    assert listing(tmp_path) == []


def test_a_wrong_checksum_is_refused_and_nothing_is_kept(site: Site, tmp_path: Path) -> None:
    site.files["/IXI/body"] = BODY
    right = hashlib.md5(BODY).hexdigest()
    fetch(f"{site.url}/body", tmp_path / "right", right)
    with pytest.raises(InputError, match=f"has the md5 {right} instead of 000.*download it afresh"):
        fetch(f"{site.url}/body", tmp_path / "wrong", "0" * len(right))
    assert listing(tmp_path) == ["right"]


def test_the_known_checksums_are_used_by_default(site: Site, tmp_path: Path) -> None:
    serve_ixi(site)
    with pytest.raises(InputError, match="instead of e3140d78730ecdd32ba92da48c0a9aaa"):
        download_ixi(tmp_path, base_url=site.url)


@pytest.mark.parametrize(
    "damage",
    [lambda tar: b"<html>Log in</html>", lambda tar: tar[:1500], lambda tar: b"\xff" * 600, lambda tar: make_tar()],
    ids=["web page", "cut", "noise", "empty"],
)
def test_a_damaged_archive_is_removed(site: Site, tmp_path: Path, damage: object) -> None:
    serve_ixi(site)
    site.files["/IXI/IXI-T2.tar"] = damage(site.files["/IXI/IXI-T2.tar"])  # type: ignore[operator]
    with pytest.raises(InputError, match=r"IXI-T2\.tar cannot be unpacked .* was removed; download it again"):
        download_ixi(tmp_path, base_url=site.url, checksums={})
    assert listing(tmp_path) == []


@pytest.mark.parametrize("name", ["../outside.nii.gz", "a/../../outside.nii.gz"])
def test_a_member_that_leaves_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "IXI-T2.tar").write_bytes(make_tar("IXI002-Guys-0828-T2.nii.gz", name))
    with pytest.raises(InputError, match="outside the destination"):
        unpack(folder / "IXI-T2.tar", folder / "IXI-T2")
    assert listing(tmp_path) == ["data"]


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "IXI-T2.tar", "w") as tar:
        link = tarfile.TarInfo("IXI002-Guys-0828-T2.nii.gz")
        link.type, link.linkname = tarfile.SYMTYPE, "../../secret"
        tar.addfile(link)
    with pytest.raises(InputError, match="cannot be unpacked"):
        unpack(tmp_path / "IXI-T2.tar", tmp_path / "IXI-T2")
    assert listing(tmp_path) == []


def test_an_interrupted_unpacking_starts_again(tmp_path: Path) -> None:
    (tmp_path / "IXI-T2.tar").write_bytes(make_tar("IXI002-Guys-0828-T2.nii.gz"))
    (tmp_path / "IXI-T2.partial").mkdir()
    (tmp_path / "IXI-T2.partial" / "half.nii.gz").touch()
    unpack(tmp_path / "IXI-T2.tar", tmp_path / "IXI-T2")
    assert listing(tmp_path) == ["IXI-T2", "IXI-T2.tar", "IXI-T2/IXI002-Guys-0828-T2.nii.gz"]


def test_a_disk_too_small_is_told_before_the_download(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.files["/IXI/body"] = BODY
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=1000))
    with pytest.raises(InputError, match=r"has 0\.0 GB free where 0\.0 GB are needed"):
        fetch(f"{site.url}/body", tmp_path / "body")


def test_a_disk_that_fills_up_is_no_network_fault(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    site.files["/IXI/body"] = BODY
    monkeypatch.setattr(shutil, "copyfileobj", fail)
    with pytest.raises(InputError, match=r"body\.partial cannot be written .*No space left.*free disk space"):
        fetch(f"{site.url}/body", tmp_path / "body")
    assert len(site.log) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"contrasts": ["T2", "MRA"]}, "IXI has no MRA"), ({"base_url": "file:///etc"}, "no web address")],
)
def test_wrong_arguments_are_refused(tmp_path: Path, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        download_ixi(tmp_path, **arguments)  # type: ignore[arg-type]
