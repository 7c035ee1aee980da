# SPDX-License-Identifier: Apache-2.0
"""The pages of the documentation, taken apart: headings, links, blocks of code and the commands in them."""

import re
import shlex
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import pytest

FENCE = re.compile(r"^ *(```+)(\w*)\n(.*?)^ *\1$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"(`+)(.+?)\1")
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)|<(https?://[^>]+)>")
SHELL = ("", "sh", "bash", "shell")


class Block(NamedTuple):
    """Code between fences."""

    language: str
    text: str


@dataclass(frozen=True)
class Page:
    """A Markdown file."""

    path: Path

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def blocks(self) -> list[Block]:
        return [Block(language, text) for _, language, text in FENCE.findall(self.text)]

    @cached_property
    def prose(self) -> str:
        """The text without blocks of code."""
        return FENCE.sub("", self.text)

    @cached_property
    def inline_code(self) -> list[str]:
        return [code.strip() for _, code in CODE.findall(self.prose)]

    @cached_property
    def links(self) -> list[str]:
        return [first or second for first, second in LINK.findall(CODE.sub("code", self.prose))]

    @cached_property
    def anchors(self) -> set[str]:
        """The names of the headings by GitHub's rules."""
        seen: dict[str, int] = {}
        for heading in re.findall(r"^#{1,6} +(.+?)[ #]*$", self.prose, re.MULTILINE):
            name = anchor(heading)
            seen[name] = seen.get(name, -1) + 1
        return {f"{name}-{i}" if i else name for name, count in seen.items() for i in range(count + 1)}

    @cached_property
    def commands(self) -> list[list[str]]:
        """The command lines of all blocks, as words: comments left out, continued lines put together."""
        return [words for block in self.blocks if block.language in SHELL for words in command_lines(block.text)]


def anchor(heading: str) -> str:
    """Return the name that GitHub gives a heading: markup and punctuation off, small letters, hyphens for spaces."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").replace("*", "")
    return re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")


def command_lines(text: str) -> list[list[str]]:
    """Return the lines of a block as words, or nothing where it lists something else.

    A block with a line that starts with ``$`` is a session, of which those lines alone are commands.
    """
    lines = text.replace("\\\n", " ").splitlines()
    if any(line.startswith("$ ") for line in lines):
        lines = [line[2:] for line in lines if line.startswith("$ ")]
    try:
        words = [shlex.split(line, comments=True) for line in lines]
    except ValueError:  # an apostrophe: prose
        return []
    found = [line for line in words if line]
    return found if any(re.fullmatch(r"[a-z.\-]+(/[\w.\-]+)*", line[0]) and len(line) > 1 for line in found) else []


@pytest.fixture(scope="session")
def pages(bundle_root: Path) -> list[Page]:
    """Return the pages that people read, those of the docs folder and of the root."""
    return [Page(path) for path in (*sorted(bundle_root.glob("*.md")), *sorted(bundle_root.glob("docs/*.md")))]
