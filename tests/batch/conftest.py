# SPDX-License-Identifier: Apache-2.0
"""A batch whose network is a stub: it writes small files, slowly or not at all where it is told to."""

import errno
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bundle.batch import Batch, Results
from bundle.case import Case
from bundle.doubts import Doubt
from bundle.errors import InputError
from bundle.files import atomic_path, fingerprint
from bundle.volumes.geometry import no_voxels


class StubPipeline:
    """Write the case's name into its output and into a list of what was treated; fail by the name of the case."""

    def __init__(self, results: Results, treated: Path, check: Any, seconds: float = 0.0) -> None:
        self.results, self.treated, self.check, self.seconds = results, treated, check, seconds

    def read(self, pair: Mapping[str, str]) -> dict[str, Any]:
        found = self.check(dict(pair)) or {}
        header: Any = SimpleNamespace(voxels=no_voxels((1, 1, 1)))
        return {**pair, **found, "case": Case(pair["case"], sources=sources_of(pair), header=header)}

    def prepare(self, item: dict[str, Any]) -> dict[str, Any]:
        return {key: item.pop(key) for key in list(item)}

    def run(self, pair: Mapping[str, Any]) -> None:
        with self.treated.open("a") as stream:
            stream.write(f"{pair['case']}\n")
        with atomic_path(self.results.path(pair), pair["case"].require_unchanged) as temporary:
            temporary.write_text(pair["case"][:1])
            time.sleep(self.seconds)
            fail(pair["case"])
            temporary.write_text(pair["case"])
        pair["case"].warn(Doubt.GRID, f"{pair['case']} looks odd.")
        pair["case"].seconds["network"] = self.seconds

    def seconds_per_pixel(self) -> float:
        return 1e-3


def sources_of(pair: Mapping[str, str]) -> dict[str, Any]:
    """Return the fingerprints of the inputs of a pair, as reading them does."""
    return {key: fingerprint(pair[key]) for key in ("image", "reference") if key in pair}


def fail(case: str) -> None:
    """Raise what the name of a case asks for."""
    if case.startswith("bad"):
        raise InputError(f"{case}.nii: it is bad; mend it.")
    if case.startswith("odd"):
        raise RuntimeError("applying transform X") from KeyError("scale")
    if case.startswith("large"):
        raise MemoryError
    if case.startswith("full"):
        raise RuntimeError("applying transform X") from OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture(autouse=True)
def _all_messages(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "bundle")


@pytest.fixture
def make_pairs(tmp_path: Path) -> Callable[..., list[dict[str, str]]]:
    """Write input files for cases and return their pairs."""

    def make(*cases: str) -> list[dict[str, str]]:
        pairs = []
        for case in cases:
            files = {key: tmp_path / "in" / f"{case}_{key}.nii" for key in ("image", "reference")}
            for file in files.values():
                file.parent.mkdir(exist_ok=True)
                if not file.exists():
                    file.write_text(case)
            pairs.append({key: str(file) for key, file in files.items()} | {"subject": case, "case": case})
        return pairs

    return make


@pytest.fixture
def make_batch(tmp_path: Path) -> Callable[..., Batch]:
    """Return a batch that writes to ``out`` and lists the cases it treats in ``treated``."""

    def make(pairs: Sequence[Mapping[str, str]], check: Any = dict, seconds: float = 0.0, **options: Any) -> Batch:
        settings = options.pop("settings", {"factor": 4})
        known = {key: options.pop(key) for key in ("resume", "pages") if key in options}
        results = Results(tmp_path / "out", settings, **known)
        pipeline: Any = StubPipeline(results, tmp_path / "treated", check, seconds)
        return Batch([dict(pair) for pair in pairs], pipeline, results, **options)

    return make


@pytest.fixture
def treated(tmp_path: Path) -> Callable[[], list[str]]:
    """Return the cases that were treated, in order, since the last call."""

    def read() -> list[str]:
        path = tmp_path / "treated"
        cases = path.read_text().split() if path.exists() else []
        path.unlink(missing_ok=True)
        return cases

    return read
