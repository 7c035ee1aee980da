# SPDX-License-Identifier: Apache-2.0
"""The contrasts, and what BIDS-like names and IXI's tell of a volume; imports nothing heavy, for the command line."""

import math
import os
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final


@dataclass(frozen=True)
class Contrast:
    """How a contrast is told."""

    name: str  # BIDS suffix
    ixi: str  # end of IXI's names; empty where IXI has no such volumes
    words: str  # pattern of what descriptions of DICOM series say of it, in lower case
    times: Callable[[float, float, float], bool]  # of repetition, echo and inversion (0 without) in ms
    echoes: tuple[float, float]  # echo times in ms beyond which it cannot be it, whatever words say ...
    shortest_repetition: float  # ... likewise, in ms
    longest_inversion: float


# The target's, then those that can serve as reference, the preferred one first.
CONTRASTS: Final = (
    Contrast(
        "T2w", "T2", r"(?<![a-z])t2", lambda tr, te, ti: not ti and tr >= 1500 and te >= 70, (40, math.inf), 1200, 1300
    ),
    Contrast(
        "PDw",
        "PD",
        r"(?<![a-z])(pd|proton|dens)",
        lambda tr, te, ti: not ti and tr >= 1500 and te <= 40,
        *((0, 60), 0, 1300),
    ),
    Contrast(
        "T1w",
        "T1",
        r"(?<![a-z])(t1|mp.?rage|bravo|(ir.?)?f?spgr|tfe)",
        lambda tr, te, ti: (ti < 1300 and te < 30) if ti else (tr <= 900 and te <= 30),
        *((0, 40), 0, 1500),
    ),
)
# What descriptions of DICOM series say of images that are none of CONTRASTS, whatever else they say. "mpr" is not one:
# it is MPRAGE as often as a reformatted image, which its type tells.
OTHER_SERIES: Final = (
    r"flair|tirm|stir|dark.?fl|diff|trace|angio|perf|locali[sz]er|scout|survey|spectro|t2[\W_]*(star|\*)|t2s(?![a-z])"
    r"|t2.*(ffe|fl[23]d|(?<![a-z])gre)|(?<![a-z])(medic|merge)(?![a-z])"
    r"|(?<![a-z])(dwi|adc|swi|swan|tof|mra|mip|map|asl|bold|fmri|hemo)"
)
TARGET_CONTRAST: Final = CONTRASTS[0].name
REFERENCE_CONTRASTS: Final = tuple(contrast.name for contrast in CONTRASTS[1:])
ANY_REFERENCE: Final = " or ".join(REFERENCE_CONTRASTS)
# By the end of a target's name, without that of its format, what stands there in the names of its references.
REFERENCE_NAMES: Final = {
    f"_{TARGET_CONTRAST}": [f"_{name}" for name in REFERENCE_CONTRASTS],
    f"-{CONTRASTS[0].ixi}": [f"-{contrast.ixi}" for contrast in CONTRASTS[1:] if contrast.ixi],
}
DICOM_DIRECTORY: Final = "DICOMDIR"  # the file by which a CD of images is entered
NIFTI_ENDING: Final = re.compile(r"\.nii(\.gz)?$")
_IMAGE_ENDING: Final = re.compile(r"\.(nii|img|hdr|mg[zh]|n(rrd|hdr)|mh[ad])(\.gz)?$", re.IGNORECASE)

_BY_IXI_NAME: Final = {contrast.ixi: contrast.name for contrast in CONTRASTS if contrast.ixi}
_BIDS_NAME: Final = re.compile(
    rf"(?P<case>sub-[^_]+(?:_[A-Za-z]+-[^_]+)*)_(?P<contrast>{'|'.join(c.name for c in CONTRASTS)})\.nii(\.gz)?"
)
_IXI_NAME: Final = re.compile(
    rf"(?P<case>(?P<subject>IXI\d+)-[A-Za-z]+-\w+)-(?P<contrast>{'|'.join(_BY_IXI_NAME)})\.nii(\.gz)?"
)


@dataclass(frozen=True)
class Scan:
    """One volume, as told by its name."""

    path: Path
    contrast: str  # name of one of CONTRASTS, in IXI's names too
    case: str  # the name without contrast and ending
    entities: Mapping[str, str]  # of BIDS, such as {"sub": "L12", "ses": "1"}; IXI's names give sub and scan


def parse_name(path: Path) -> Scan | None:
    """Read contrast and entities from a BIDS-like or IXI name; ``None`` for any other name."""
    if match := _BIDS_NAME.fullmatch(path.name):
        entities = dict(part.split("-", 1) for part in match["case"].split("_"))
        return Scan(path, match["contrast"], match["case"], entities)
    if match := _IXI_NAME.fullmatch(path.name):
        entities = {"sub": match["subject"], "scan": match["case"]}
        return Scan(path, _BY_IXI_NAME[match["contrast"]], match["case"], entities)
    return None


def is_image_name(name: str) -> bool:
    """Tell whether a file is a volume by its ending, of a format that is read here or of another."""
    return _IMAGE_ENDING.search(name) is not None


def is_misspelt(name: str) -> bool:
    """Tell whether a name is one of BIDS or IXI but for its upper and lower case."""
    patterns = (re.compile(one.pattern, re.IGNORECASE) for one in (_BIDS_NAME, _IXI_NAME))
    return parse_name(Path(name)) is None and any(one.fullmatch(name) for one in patterns)


def choose_contrast(n_pairs: Mapping[str, int], wanted: str) -> str:
    """Return the wanted reference contrast, or for ``auto`` the one with most pairs, the first of them on a tie."""
    return max(n_pairs, key=n_pairs.__getitem__) if wanted == "auto" else wanted  # the first of equals


def absolute_path(path: str | os.PathLike[str]) -> Path:
    """Make a path absolute and expand ``~``; links keep their names."""
    return Path(os.path.abspath(os.path.expanduser(path)))  # noqa: PTH100, PTH111 - pathlib refuses ~ of unknown users


def is_there(path: Path) -> bool:
    """Tell whether there is such a file or folder, or it is a file's part, such as a volume of several in DICOM."""
    return os.path.exists(path) or os.path.isfile(path.parent)  # noqa: PTH110, PTH113 - no path is too long for these


def safe_name(name: str) -> str:
    """Make a text safe as a file name, in Unicode's NFC whatever a file system stores; folders become hyphens."""
    return re.sub(r"[^\w.-]+", "-", unicodedata.normalize("NFC", name)).strip("-.") or "case"


def first_few(items: Sequence[str], limit: int = 5) -> str:
    """Join the first few items for a message and count the rest."""
    return ", ".join(items[:limit]) + (f" and {len(items) - limit} more" if len(items) > limit else "")
