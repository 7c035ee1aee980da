# SPDX-License-Identifier: Apache-2.0
"""Whatever happens to a file of tensors, it is read as it was written or not at all."""

import hashlib
import os
from pathlib import Path

import pytest
import torch

from bundle.errors import InputError
from bundle.tensor_files import load_tensors

STATE = {"weight": torch.arange(24.0).reshape(4, 6), "n": 3, "name": "a"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    torch.save(STATE, tmp_path / "w.pt")
    return tmp_path / "w.pt"


def equal(found) -> bool:
    return torch.equal(found.pop("weight"), STATE["weight"]) and found == {"n": 3, "name": "a"}


def test_what_was_written_is_read(file: Path) -> None:
    assert equal(load_tensors(file, "x"))
    assert equal(load_tensors(file, "x", hashlib.sha256(file.read_bytes()).hexdigest()))


def test_no_flip_of_a_bit_changes_what_is_read(file: Path) -> None:
    content = file.read_bytes()
    n_refused = 0
    for place in range(len(content)):
        file.write_bytes(content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :])
        try:
            assert equal(load_tensors(file, "x")), f"byte {place}"
        except InputError:
            n_refused += 1
    assert n_refused > 4 * STATE["weight"].numel()  # where it would matter; between the parts of an archive it cannot


def test_a_flip_of_any_bit_is_noticed_where_a_record_tells_the_checksum(file: Path) -> None:
    content = file.read_bytes()
    checksum = hashlib.sha256(content).hexdigest()
    for place in range(0, len(content), 7):
        file.write_bytes(content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :])
        with pytest.raises(InputError, match=r"w\.pt: this is not the file that the record beside it tells of"):
            load_tensors(file, "give another --ckpt_path", checksum)


@pytest.mark.parametrize("content", [b"", b"PK", b"x" * 4000, None], ids=["empty", "cut", "other", "legacy"])
def test_what_is_no_archive_of_tensors_is_refused(content: bytes | None, file: Path) -> None:
    if content is None:  # PyTorch's form before 1.6 has no checksums
        torch.save(STATE, file, _use_new_zipfile_serialization=False)
    else:
        file.write_bytes(content)
    with pytest.raises(InputError, match=r"w\.pt: cannot be read as weights; .*: give another\.$"):
        load_tensors(file, "give another")


def test_reading_runs_no_code(file: Path, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    torch.save({"weight": Evil()}, file)
    with pytest.raises(InputError, match="cannot be read as weights"):
        load_tensors(file, "x")
    assert not (tmp_path / "ran").exists()
