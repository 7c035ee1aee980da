# SPDX-License-Identifier: Apache-2.0
"""Files of tensors, as PyTorch writes them: read as tensors and nothing else, and only where they are undamaged."""

import hashlib
import io
import os
import zipfile
from pathlib import Path
from typing import Any

import torch

from bundle.errors import InputError


def load_tensors(path: str | os.PathLike[str], remedy: str, checksum: str | None = None) -> Any:
    """Read tensors and plain values, which runs no code, of a file that holds what was written.

    PyTorch looks at none of the checksums (CRC-32) that its archives have of all they hold. ``checksum``, a SHA-256
    that a record tells, says besides that the file belongs to it. ``InputError`` ends with the ``remedy``.
    """
    try:
        content = Path(path).expanduser().read_bytes()
        if checksum in (None, hashlib.sha256(content).hexdigest()):
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                if damaged := archive.testzip():
                    raise zipfile.BadZipFile(damaged)
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged archive fails in many ways
        raise InputError(
            f"{path}: cannot be read as weights; the file is damaged or of another kind: {remedy}."
        ) from error
    raise InputError(
        f"{path}: this is not the file that the record beside it tells of, by its checksum: it is damaged, or the "
        f"record is another's; copy both again, go on with the training that writes them, or {remedy}."
    )
