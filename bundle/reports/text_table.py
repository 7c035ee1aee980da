# SPDX-License-Identifier: Apache-2.0
"""Text tables that read well in a terminal and in Markdown alike."""

from collections.abc import Sequence

from bundle.errors import printable


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return an aligned Markdown table: the first column flush left, all others flush right.

    Rows have as many cells as the header has titles (``ValueError``).
    """
    header, *rows = [[printable(cell) for cell in row] for row in (header, *rows)]
    widths = [max(3, *map(len, column)) for column in zip(*[header, *rows], strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = []
    for first, *others in [header, rule, *rows]:
        aligned = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        lines.append(f"| {' | '.join([first.ljust(widths[0]), *aligned])} |")
    return "\n".join(lines)
