# SPDX-License-Identifier: Apache-2.0
"""A run as MONAI's command line and as YAML, for those who want to see or keep what ``mcsr`` does."""

import ast
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml


def command_words(run_id: str, configs: Sequence[str], keys: Mapping[str, Any]) -> list[str]:
    """Return MONAI's command line, word by word, for ``run_id`` of configs, each laid over those before."""
    files = configs[0] if len(configs) == 1 else repr(list(configs))
    words = [sys.executable, "-m", "monai.bundle", "run", run_id, f"--config_file={files}"]
    return [*words, *(f"--{key}={fire_text(value)}" for key, value in keys.items())]


def command_lines(root: Path, run_id: str, configs: Sequence[str], keys: Mapping[str, Any]) -> str:
    """Return a run in the bundle's folder ``root`` as lines for a shell, and its keys as YAML in comments."""
    interpreter, *words = [_quoted(word) for word in command_words(run_id, configs, keys)]
    command = " \\\n    ".join([" ".join([interpreter, *words[:4]]), *words[4:]])
    text = yaml.safe_dump(dict(keys), sort_keys=False, allow_unicode=True) if keys else "none\n"
    comments = "".join(f"#   {line}\n" for line in text.splitlines())
    return f"cd {shlex.quote(str(root))}\n{command}\n\n# keys of {configs[0]} that this sets:\n{comments}"


def fire_text(value: Any) -> str:
    """Write a value such that MONAI's command line, which is Fire's, reads the same: it takes no literal for text."""
    if not isinstance(value, str):
        return repr(value)
    try:
        body = ast.parse(value, mode="eval").body
    except (SyntaxError, ValueError):
        return value
    return value if isinstance(body, ast.Name) and body.id == value else repr(value)


def _quoted(word: str) -> str:
    """Quote a word for a shell: with double quotes where single ones stand in it, which is easier to read."""
    if "'" not in word or "!" in word:  # which shells take for history within double quotes
        return shlex.quote(word)
    return '"' + re.sub(r'([\\"$`])', r"\\\1", word) + '"'
