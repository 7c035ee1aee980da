# SPDX-License-Identifier: Apache-2.0
"""Run mutmut and say per module how many mutants the tests notice: ``make mutation``, from the repository's root.

``[tool.mutmut]`` in ``pyproject.toml`` names the modules and their tests. ``survivors.toml`` lists the mutants that
cannot matter, by the line as it is and what it becomes, each with the reason; they do not count.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from mutmut.configuration import config
from mutmut.mutation.data import SourceFileMutationData
from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.stats import status_by_exit_code
from mutmut.utils.file_utils import walk_mutatable_files

ENOUGH = 0.95
NOTICED = {"killed", "timeout", "segfault"}


class Survivor(NamedTuple):
    """A mutant by what it does: names that mutmut gives change with every edit of a function."""

    module: str
    line: str
    becomes: str


def without_consequence(path: Path) -> set[Survivor]:
    """Return the mutants that are listed as such."""
    return {
        Survivor(module, entry["line"], becomes)
        for module, entries in tomllib.loads(path.read_text()).items()
        for entry in entries
        if entry["why"]
        for becomes in entry["becomes"]
    }


def survivors(module: SourceFileMutationData) -> Iterator[tuple[str, Survivor]]:
    """Yield name and change of each mutant of a module that no test notices."""
    for name, exit_code in module.exit_code_by_key.items():
        status = status_by_exit_code[exit_code]
        if status not in NOTICED:
            changed = get_diff_for_mutant(name, path=module.path).splitlines()[3:]
            before, after = (" ".join(line[1:].strip() for line in changed if line[0] == sign) for sign in "-+")
            yield f"{name} ({status})", Survivor(str(module.path), before, after)


def report(modules: list[Path], listed: set[Survivor]) -> bool:
    """Print what survives without being listed, and the scores; return whether all are high enough."""
    scores, alive = {}, set()
    for path in modules:
        module = SourceFileMutationData(path=path)
        module.load()
        found = dict(survivors(module))
        alive.update(found.values())
        new = {name: survivor for name, survivor in found.items() if survivor not in listed}
        for name, survivor in new.items():
            print(f"{name}\n- {survivor.line}\n+ {survivor.becomes}")
        counts = (len(module.exit_code_by_key), len(found) - len(new), len(new))
        scores[path] = (*counts, 1 - counts[2] / max(1, counts[0] - counts[1]))
    for gone in sorted(survivor for survivor in listed - alive if Path(survivor.module) in modules):
        print(f"listed, but killed or gone: {gone.module}: {gone.line} -> {gone.becomes}")
    print(f"\n{'module':34} {'mutants':>7} {'listed':>7} {'survive':>7} {'killed':>7}")
    for path, (n_mutants, n_listed, n_new, score) in scores.items():
        print(f"{path!s:34} {n_mutants:7} {n_listed:7} {n_new:7} {score:7.1%}")
    return all(score >= ENOUGH for *_, score in scores.values())


def main() -> int:
    """Make mutants, run the tests on each, and report."""
    parser = argparse.ArgumentParser(description="Count the changes of meaning that the tests do not notice.")
    parser.add_argument("modules", nargs="*", type=Path, help="files such as bundle/kspace.py; by default all")
    parser.add_argument("--processes", default=str(os.cpu_count()), help="mutants at a time")
    parser.add_argument("--report", action="store_true", help="report the last run again")
    options = parser.parse_args()
    known = sorted(path for path in walk_mutatable_files() if config().should_mutate(path))
    modules = options.modules or known
    if unknown := set(modules) - set(known):
        parser.error(f"[tool.mutmut] in pyproject.toml does not name {', '.join(map(str, unknown))}")
    if not options.report:
        shutil.rmtree("mutants", ignore_errors=True)
        names = [".".join((*path.with_suffix("").parts, "*")) for path in options.modules]
        command = ["mutmut", "run", "--max-children", options.processes, *names]
        subprocess.run([sys.executable, "-m", *command], check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    enough = report(modules, without_consequence(Path(__file__).with_name("survivors.toml")))
    if not enough:
        print(f"Below {ENOUGH:.0%}: write tests that notice more, or list in survivors.toml what cannot matter.")
    return not enough


if __name__ == "__main__":
    sys.exit(main())
