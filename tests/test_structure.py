# SPDX-License-Identifier: Apache-2.0
"""Each file name exists once in the package, and no file is long; the order of imports: tests/docs/test_facts.py."""

from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / "bundle").rglob("*.py"))


def test_a_file_name_exists_once() -> None:
    names = Counter(file.name for file in FILES if not file.name.startswith("__"))
    assert [name for name, count in names.items() if count > 1] == []


def test_no_file_of_the_package_is_long() -> None:
    assert [file.name for file in FILES if len(file.read_text(encoding="utf-8").splitlines()) > 310] == []
