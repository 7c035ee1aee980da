# SPDX-License-Identifier: Apache-2.0
import pytest

from bundle.batch.share import Share, find_share
from bundle.errors import InputError

ARRAY = {"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_MIN": "3", "SLURM_ARRAY_TASK_COUNT": "5"}
STEPPED = {
    "SLURM_ARRAY_TASK_ID": "10",
    "SLURM_ARRAY_TASK_MIN": "0",
    "SLURM_ARRAY_TASK_COUNT": "3",
    "SLURM_ARRAY_TASK_STEP": "5",
}


@pytest.mark.parametrize(
    ("environment", "share"),
    [
        ({}, Share()),
        (ARRAY, Share(4, 5, "SLURM_ARRAY_TASK_ID")),
        (STEPPED, Share(2, 3, "SLURM_ARRAY_TASK_ID")),
        ({"RANK": "1", "WORLD_SIZE": "4"}, Share(1, 4, "RANK and WORLD_SIZE")),
        ({"SLURM_PROCID": "2", "SLURM_STEP_NUM_TASKS": "3"}, Share(2, 3, "SLURM_PROCID and SLURM_STEP_NUM_TASKS")),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "3"}, Share()),  # one process in a job of three tasks
        ({"RANK": "1"}, Share()),
        ({"RANK": "0", "WORLD_SIZE": "1"}, Share()),
        (ARRAY | {"RANK": "1", "WORLD_SIZE": "2"}, Share(9, 10, "SLURM_ARRAY_TASK_ID and RANK and WORLD_SIZE")),
    ],
)
def test_the_share_is_what_started_the_process_says(environment, share) -> None:
    assert find_share(None, environment) == share


def test_a_share_that_is_given_counts_from_one_and_wins() -> None:
    assert find_share("2/10", ARRAY) == Share(1, 10)
    assert find_share("1/1", {"RANK": "5", "WORLD_SIZE": "2"}) == Share()


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "-1/2", ""])
def test_what_is_no_share_is_refused(text) -> None:
    with pytest.raises(InputError, match="write 1/4 for the first of four"):
        find_share(text, {})


@pytest.mark.parametrize(
    "environment",
    [ARRAY | {"SLURM_ARRAY_TASK_ID": "9"}, STEPPED | {"SLURM_ARRAY_TASK_ID": "7"}, {"SLURM_ARRAY_TASK_ID": "1"}],
)
def test_an_array_that_has_gaps_is_refused(environment) -> None:
    with pytest.raises(InputError, match="--share"):
        find_share(None, environment)


@pytest.mark.parametrize("rank", [("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS")])
@pytest.mark.parametrize(
    "values", [("5", "2"), ("2", "2"), ("-1", "2"), ("0", "0"), ("0", "-1"), ("one", "2"), ("", "2")]
)
def test_ranks_that_cannot_be_are_refused(rank, values) -> None:
    with pytest.raises(InputError, match=r"give --share, such as 1/4"):
        find_share(None, dict(zip(rank, values, strict=True)))
