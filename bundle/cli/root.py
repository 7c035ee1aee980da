# SPDX-License-Identifier: Apache-2.0
"""Where the bundle lies, whose configs the commands run."""

import os
from pathlib import Path
from typing import Final

from bundle.errors import InputError

VARIABLE: Final = "MCSR_BUNDLE"
"""Environment variable that names the bundle's folder, where the package is installed apart from it."""


def bundle_root() -> Path:
    """Return the folder that holds ``configs``: the one that the package lies in, else the one in ``MCSR_BUNDLE``.

    Raises:
        InputError: if neither is a bundle.
    """
    beside = Path(__file__).resolve().parents[2]
    named = os.environ.get(VARIABLE)
    for folder in (beside, *([Path(named).expanduser().resolve()] if named else [])):
        if (folder / "configs" / "inference.yaml").is_file():
            return folder
    told = f"{VARIABLE} is {named}" if named else f"{VARIABLE} is not set"
    raise InputError(f"{beside}: the bundle's configs are not here and {told}; set it to the folder that holds them.")
