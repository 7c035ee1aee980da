# SPDX-License-Identifier: Apache-2.0
"""The findings for MONAI are still true of the MONAI that is installed: each reproduction prints what the page says."""

import re
import subprocess
import sys

import pytest

PAGE = "docs/upstream.md"


def reproductions(bundle_root) -> list[tuple[str, str, str]]:
    """Return heading, code and output of each finding."""
    sections = re.split(r"^## ", (bundle_root / PAGE).read_text(), flags=re.MULTILINE)[1:]
    blocks = [re.findall(r"^```(python|text)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE) for text in sections]
    return [(text.splitlines()[0], code, out) for text, ((_, code), (_, out)) in zip(sections, blocks, strict=True)]


def test_there_are_three_findings_with_a_patch_each(bundle_root) -> None:
    assert len(reproductions(bundle_root)) == 3
    assert (bundle_root / PAGE).read_text().count("```diff\n") == 3


@pytest.mark.parametrize("index", range(3))
def test_a_reproduction_prints_what_the_page_says(index, bundle_root, tmp_path) -> None:
    heading, code, expected = reproductions(bundle_root)[index]
    words = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{heading}: {done.stderr}"
    assert done.stdout == expected, heading
