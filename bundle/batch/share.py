# SPDX-License-Identifier: Apache-2.0
"""Which part of a list a process takes, among those that were started together."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from bundle.errors import InputError

Item = TypeVar("Item")


@dataclass(frozen=True)
class Share:
    """One of several parts of a list; each takes every so-manieth item, as neighbours in a list are alike in size."""

    index: int = 0  # from 0
    count: int = 1
    told_by: str = ""  # variables of the environment; empty where nobody or the user did

    def of(self, items: Sequence[Item]) -> list[Item]:
        """Return the items of this share."""
        return list(items[self.index :: self.count])

    def __str__(self) -> str:
        return f"{self.index + 1}/{self.count}"


def find_share(text: str | None = None, environment: Mapping[str, str] = os.environ) -> Share:
    """Return which share this process takes.

    The text is such as ``"2/10"`` for the second of ten; without it, what starts processes together tells: a Slurm
    array, and within it, or alone, torchrun or the tasks of ``srun``. An ``InputError`` says what is no share.
    """
    if text is not None:
        found = re.fullmatch(r"\s*(\d+)\s*/\s*(\d+)\s*", str(text))
        if found is None or not 1 <= int(found[1]) <= int(found[2]):
            raise InputError(f"share is {text!r}; write 1/4 for the first of four.")
        return Share(int(found[1]) - 1, int(found[2]))
    outer, inner = _array(environment), _tasks(environment)
    told_by = " and ".join(filter(None, (outer.told_by, inner.told_by)))
    return Share(outer.index * inner.count + inner.index, outer.count * inner.count, told_by)


def _array(environment: Mapping[str, str]) -> Share:
    if "SLURM_ARRAY_TASK_ID" not in environment:
        return Share()
    values = {"SLURM_ARRAY_TASK_STEP": "1", **environment}
    task, first, count, step = (_number(values, f"SLURM_ARRAY_TASK_{name}") for name in ("ID", "MIN", "COUNT", "STEP"))
    index, rest = divmod(task - first, max(step, 1))
    if rest or not 0 <= index < count:
        raise InputError(
            f"task {task} of this Slurm array of {count} has no place in a row from {first} by {step}; give each task "
            "its --share, such as 1/4, or an array without gaps."
        )
    return Share(index, count, "SLURM_ARRAY_TASK_ID" if count > 1 else "")


def _tasks(environment: Mapping[str, str]) -> Share:
    # not SLURM_NTASKS, which is also set where one process alone runs in a job of several
    for rank, size in (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS")):
        if rank in environment and size in environment:
            index, count = _number(environment, rank), _number(environment, size)
            if not 0 <= index < count:
                raise InputError(
                    f"{rank} is {index} and {size} is {count}, which is no share of a list; unset them where another "
                    "job has left them, or give --share, such as 1/4, or 1/1 for all."
                )
            return Share(index, count, f"{rank} and {size}" if count > 1 else "")
    return Share()


def _number(environment: Mapping[str, str], name: str) -> int:
    try:
        return int(environment.get(name, ""))
    except ValueError as error:
        raise InputError(f"{name} is {environment.get(name)!r}, not a number; give --share, such as 1/4.") from error
