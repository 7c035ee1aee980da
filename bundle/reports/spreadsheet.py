# SPDX-License-Identifier: Apache-2.0
"""CSV files that people open in spreadsheets, where a text may begin as a formula does."""

import contextlib
from pathlib import Path
from typing import Any, Final

import pandas as pd

from bundle.errors import printable
from bundle.files import atomic_path

_FORMULA: Final = ("=", "+", "-", "@")


def write_csv(path: Path, table: pd.DataFrame, float_format: str | None = None) -> None:
    """Write a table without its index, whole or not at all; a text that would be a formula gets an apostrophe.

    Characters of a text that are obeyed, such as line breaks, are escaped.
    """
    with atomic_path(path) as temporary:
        table.map(_as_text).to_csv(temporary, index=False, lineterminator="\n", float_format=float_format)


def _as_text(cell: Any) -> Any:
    if not isinstance(cell, str):
        return cell
    with contextlib.suppress(ValueError):
        float(cell)
        return cell
    text = printable(cell)
    return f"'{text}" if text.startswith(_FORMULA) else text
