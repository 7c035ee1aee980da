# SPDX-License-Identifier: Apache-2.0
"""Which version this is, for all that is written down about an output."""

import json
from pathlib import Path
from typing import Final

DISTRIBUTION: Final = "mcsr-bundle"


def package_version() -> str:
    """Return the version in the bundle's metadata, or that of the installed package where there is no bundle."""
    metadata = Path(__file__).resolve().parents[1] / "configs" / "metadata.json"
    if metadata.is_file():
        return str(json.loads(metadata.read_text(encoding="utf-8"))["version"])
    from importlib.metadata import PackageNotFoundError, version  # takes longer than all else, and few need it

    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return "unknown"
