# SPDX-License-Identifier: Apache-2.0
"""What the name of a volume tells: contrast, subject and session, in BIDS-like names and in IXI's."""

import os
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

TARGET_CONTRAST: Final = "T2w"
REFERENCE_CONTRASTS: Final = ("PDw", "T1w")
"""Contrasts that can serve as reference, the preferred one first."""
NIFTI_ENDING: Final = re.compile(r"\.nii(\.gz)?$")

_BIDS_NAME = re.compile(r"(?P<case>sub-(?P<subject>[^_]+)(?:_[A-Za-z]+-[^_]+)*)_(?P<contrast>T2w|PDw|T1w)\.nii(\.gz)?")
_IXI_NAME = re.compile(r"(?P<case>(?P<subject>IXI\d+)-[A-Za-z]+-\w+)-(?P<contrast>T2|PD|T1)\.nii(\.gz)?")


@dataclass(frozen=True)
class Scan:
    """One volume, as told by its name.

    Attributes:
        path: absolute path.
        contrast: ``T2w``, ``PDw`` or ``T1w``, also for IXI's ``T2``, ``PD``, ``T1``.
        case: the name without contrast and ending.
        entities: BIDS entities, such as ``{"sub": "L12", "ses": "1"}``; IXI's names give ``sub`` and ``scan``.
    """

    path: Path
    contrast: str
    case: str
    entities: Mapping[str, str]


def parse_name(path: Path) -> Scan | None:
    """Read contrast and entities from a BIDS-like or IXI name; ``None`` for any other name."""
    if match := _BIDS_NAME.fullmatch(path.name):
        entities = dict(part.split("-", 1) for part in match["case"].split("_"))
        return Scan(path, match["contrast"], match["case"], entities)
    if match := _IXI_NAME.fullmatch(path.name):
        contrast = {"T2": "T2w", "PD": "PDw", "T1": "T1w"}[match["contrast"]]
        return Scan(path, contrast, match["case"], {"sub": match["subject"], "scan": match["case"]})
    return None


def absolute_path(path: str | os.PathLike[str]) -> Path:
    """Make a path absolute and expand ``~``; links keep their names."""
    return Path(os.path.abspath(os.path.expanduser(path)))  # noqa: PTH100, PTH111 - pathlib refuses ~ of unknown users


def safe_name(name: str) -> str:
    """Make a text safe as a file name; what separates folders becomes a hyphen.

    Letters with accents count as one sign however a file system stores them (Unicode's NFC).
    """
    return re.sub(r"[^\w.-]+", "-", unicodedata.normalize("NFC", name)).strip("-.") or "case"


def first_few(items: Sequence[str], limit: int = 5) -> str:
    """Join the first few items for a message and count the rest."""
    return ", ".join(items[:limit]) + (f" and {len(items) - limit} more" if len(items) > limit else "")
