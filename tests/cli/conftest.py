# SPDX-License-Identifier: Apache-2.0
"""The command line with its last step, the run itself, replaced."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bundle.cli import command, enhance, main
from bundle.cli.stage_run import Messages


@dataclass
class Recorder:
    """Stands for ``run_stage`` and keeps what it is called with."""

    error: BaseException | None = None
    runs: list[tuple[str, list[str], dict[str, Any]]] = field(default_factory=list)
    messages: Messages | None = None
    effect: Callable[[], None] | None = None

    def __call__(self, root: Path, run_id: str, configs: list[str], keys: dict[str, Any], messages: Messages) -> None:
        self.runs.append((run_id, list(configs), dict(keys)))
        self.messages = messages
        if self.effect:
            self.effect()
        if self.error:
            raise self.error

    def keys_of(self, *arguments: str) -> dict[str, Any]:
        """Return the config keys that a command line sets."""
        assert main(arguments) == 0
        return self.runs[-1][2]


@pytest.fixture(autouse=True)
def no_weights_of_the_bundle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let command lines stand for themselves, whatever weights come with the bundle."""
    monkeypatch.setattr(enhance, "MODELS", "none")


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    stub = Recorder()
    monkeypatch.setattr(command, "run_stage", stub)
    return stub


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with a pair, weights and an empty folder ``data``."""
    for name in ("t2.nii.gz", "t1.nii.gz", "model.pt", "pairs.csv", "ä b.nii"):
        (tmp_path / name).touch()
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path
