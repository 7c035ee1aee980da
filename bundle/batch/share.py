# SPDX-License-Identifier: Apache-2.0
"""Which part of a list a process takes, among those that were started together."""

import os
import re
from collections.abc import Mapping

from bundle.errors import InputError


def find_share(text: str | None = None, environment: Mapping[str, str] = os.environ) -> tuple[int, int]:
    """Return which share this process takes, from 0, and how many there are.

    The text is such as ``"2/10"`` for the second of ten; without it, what starts processes together tells: a Slurm
    array, and within it, or alone, torchrun or the tasks of ``srun``. An ``InputError`` says what is no share.
    """
    if text is not None:
        found = re.fullmatch(r"\s*(\d+)\s*/\s*(\d+)\s*", str(text))
        if found is None or not 1 <= int(found[1]) <= int(found[2]):
            raise InputError(f"share is {text!r}; write 1/4 for the first of four.")
        return int(found[1]) - 1, int(found[2])
    index, count = _array(environment)
    inner, n_inner = _tasks(environment)
    return index * n_inner + inner, count * n_inner


def _array(environment: Mapping[str, str]) -> tuple[int, int]:
    if "SLURM_ARRAY_TASK_ID" not in environment:
        return 0, 1
    values = {"SLURM_ARRAY_TASK_STEP": "1", **environment}
    task, first, count, step = (_number(values, f"SLURM_ARRAY_TASK_{name}") for name in ("ID", "MIN", "COUNT", "STEP"))
    index, rest = divmod(task - first, max(step, 1))
    if rest or not 0 <= index < count:
        raise InputError(
            f"task {task} of this Slurm array of {count} has no place in a row from {first} by {step}; give each task "
            "its --share, such as 1/4, or an array without gaps."
        )
    return index, count


def _tasks(environment: Mapping[str, str]) -> tuple[int, int]:
    # not SLURM_NTASKS, which is also set where one process alone runs in a job of several
    for rank, size in (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS")):
        if rank in environment and size in environment:
            return _number(environment, rank), _number(environment, size)
    return 0, 1


def _number(environment: Mapping[str, str], name: str) -> int:
    try:
        return int(environment.get(name, ""))
    except ValueError as error:
        raise InputError(f"{name} is {environment.get(name)!r}, not a number; give --share, such as 1/4.") from error
