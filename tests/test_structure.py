# SPDX-License-Identifier: Apache-2.0
"""The package is built as CONTRIBUTING.md says: imports point down, and each file name exists once."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / "bundle").rglob("*.py"))


def part_of(module: str) -> str:
    """Return the room of a module, such as ``data`` of ``bundle.data.pairs``."""
    return module.split(".")[1] if "." in module else ""


def imported(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "bundle":
            if node.module == "bundle":
                yield from (f"bundle.{alias.name}" for alias in node.names)
            else:
                yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("bundle."))


def test_imports_point_down_in_the_order_that_the_documentation_gives() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (listed,) = re.findall(r"Imports point down only, in this order: (.*?)\. A test", text)
    order = re.findall(r"`(\w+)`", listed)
    wrong = []
    for file in FILES:
        own = file.relative_to(ROOT / "bundle").parts[0].removesuffix(".py")
        if own.startswith("__"):
            continue
        for module in imported(file):
            if (other := part_of(module)) != own and order.index(other) > order.index(own):
                wrong.append(f"{file.relative_to(ROOT)} imports {module}")
    assert wrong == []


def test_a_file_name_exists_once() -> None:
    names = Counter(file.name for file in FILES if not file.name.startswith("__"))
    assert [name for name, count in names.items() if count > 1] == []


def test_no_file_of_the_package_is_long() -> None:
    assert [file.name for file in FILES if len(file.read_text(encoding="utf-8").splitlines()) > 300] == []
