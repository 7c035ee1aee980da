# SPDX-License-Identifier: Apache-2.0
"""Several processes train and evaluate as one does."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from bundle import parallel
from bundle.errors import InputError
from bundle.files import sha256

ROOT = Path(__file__).resolve().parents[1]
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
BUNDLE = ("-m", "monai.bundle", "run")
TINY = {
    "patch_size": 24,
    "batch_size": 4,
    "n_critic": 1,
    "factor": 2,
    "levels": 2,
    "epoch_length": 3,
    "mixed_precision": "false",
    "test_subjects": "['C','D']",
    "validate_subjects": "['A']",
    "save_interval": 1,
}


def python(*arguments: object, **settings: object) -> list[str]:
    """Return the command of a Python process, keys of a config behind it."""
    keys = [text for key, value in settings.items() for text in (f"--{key}", str(value))]
    return [sys.executable, "-W", "ignore", *map(str, arguments), *keys]


def started(command: list[str], **settings: Any) -> subprocess.Popen[str]:
    """Start a process on one core in the bundle's folder."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("RANK", "WORLD", "LOCAL"))}
    environment |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, cwd=ROOT, env=environment, **streams, **settings)


def finished(command: list[str]) -> str:
    """Run a process to its end and return what it said."""
    process = started(command)
    said, _ = process.communicate(timeout=500)
    assert process.returncode == 0, said
    return said


def training(dataset: Path, output: Path, processes: int, **settings: object) -> list[str]:
    """Return the command of a short training."""
    files = ["configs/train.yaml", *(["configs/multi_gpu_train.yaml"] if processes > 1 else [])]
    keys = TINY | {"dataset_dir": dataset, "output_dir": output, "max_epochs": 1} | settings
    return python(*(TORCHRUN if processes > 1 else ()), *BUNDLE, "training", "--config_file", files, **keys)


def weights(output: Path) -> dict[str, torch.Tensor]:
    return torch.load(output / "model.pt", weights_only=True)


@pytest.fixture(scope="module")
def by_two(small_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the output folder of a training by two processes."""
    output = tmp_path_factory.mktemp("two")
    finished(training(small_dataset, output, 2))
    return output


def test_replicas_stay_the_same_and_equal_one_process_at_the_same_batch(tmp_path: Path) -> None:
    for folder, launcher in (("one", ()), ("two", TORCHRUN)):
        (tmp_path / folder).mkdir()
        finished(python(*launcher, "tests/parallel_worker.py", tmp_path / folder))
    one, first, second = (torch.load(tmp_path / name) for name in ("one/0.pt", "two/0.pt", "two/1.pt"))
    assert len(one) == 7
    for name in one:
        assert first[name]["losses"] == second[name]["losses"]
        assert first[name]["losses"] == pytest.approx(one[name]["losses"], rel=1e-5, abs=1e-6)
        for module in ("generator", "critic"):
            for key, expected in one[name][module].items():
                torch.testing.assert_close(first[name][module][key], second[name][module][key], rtol=0, atol=0)
                torch.testing.assert_close(first[name][module][key], expected, rtol=1e-5, atol=1e-6)


def test_a_training_by_two_processes_is_that_of_one(by_two: Path, small_dataset: Path, tmp_path: Path) -> None:
    finished(training(small_dataset, tmp_path, 1))
    pairs = [(value, weights(by_two)[key]) for key, value in weights(tmp_path).items()]
    differences = torch.cat([(one - two).flatten() for one, two in pairs])
    assert differences.abs().max() <= 3 * 2 * 2.0e-5  # three updates by Adam, whose steps may differ by two rates
    assert differences.square().mean().sqrt() < 1e-6
    assert {path.name for path in by_two.iterdir()} == {path.name for path in tmp_path.iterdir()}
    records = [json.loads((folder / "model.json").read_text()) for folder in (by_two, tmp_path)]
    checksums = [record.pop("weights_sha256") for record in records]
    assert records[0] == records[1]
    assert checksums == [sha256(folder / "model.pt") for folder in (by_two, tmp_path)]


def test_an_evaluation_by_two_processes_is_that_of_one(by_two: Path, small_dataset: Path, tmp_path: Path) -> None:
    keys = {"dataset_dir": small_dataset, "training_dir": by_two, "mixed_precision": "false"}
    files = ["configs/evaluate.yaml", "configs/multi_gpu_evaluate.yaml"]
    for launcher, config, output in (((), files[:1], "one"), (TORCHRUN, files, "two")):
        keys["output_dir"] = tmp_path / output
        finished(python(*launcher, *BUNDLE, "evaluating", "--config_file", config, **keys))
    rows = [list(csv.reader((tmp_path / output / "slices.csv").read_text().splitlines())) for output in ("one", "two")]
    assert {row[0] for row in rows[0][1:]} == {"C", "D"}
    assert rows[0] == rows[1]
    assert (tmp_path / "one" / "table.md").read_text() == (tmp_path / "two" / "table.md").read_text()
    for name in ("sub-C.png", "sub-D.png"):
        assert (tmp_path / "two" / name).is_file()


@pytest.mark.long
def test_a_killed_process_ends_the_job_and_the_next_one_goes_on(small_dataset: Path, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    settings = {"max_epochs": 8}
    finished(training(small_dataset, whole, 2, **settings))
    job = started(training(small_dataset, cut, 2, **settings))
    deadline = time.monotonic() + 300
    while not (cut / "checkpoint.pt").is_file() and time.monotonic() < deadline:
        time.sleep(0.05)
    children = Path(f"/proc/{job.pid}/task/{job.pid}/children").read_text().split()
    os.kill(int(children[-1]), signal.SIGKILL)
    said, _ = job.communicate(timeout=120)
    assert job.returncode == 1, said
    assert not [child for child in children if Path(f"/proc/{child}").exists()]
    assert not list(cut.glob(".*partial*"))
    finished(training(small_dataset, cut, 2, **settings))
    for key, value in weights(whole).items():
        torch.testing.assert_close(weights(cut)[key], value, rtol=0, atol=0)


def test_without_torchrun_one_process_does_all() -> None:
    assert parallel.is_first()
    assert parallel.part_of_batch(5) == slice(0, 5)
    assert parallel.share([1, 2]) == [1, 2]
    module = torch.nn.Linear(1, 1)
    assert parallel.data_parallel(module) is module
    parallel.require_joined()
    parallel.stop()


def pretend(monkeypatch: pytest.MonkeyPatch, rank: int, size: int) -> None:
    """Let there be several processes."""
    monkeypatch.setattr(parallel.idist, "get_rank", lambda: rank)
    monkeypatch.setattr(parallel.idist, "get_world_size", lambda: size)


def test_a_batch_is_dealt_out_evenly_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, 1, 4)
    assert parallel.part_of_batch(32) == slice(8, 16)
    for batch_size in (30, 2):
        with pytest.raises(InputError, match="cannot be dealt out evenly to 4 processes; give a --batch_size"):
            parallel.part_of_batch(batch_size)


@pytest.mark.parametrize(("rank", "expected"), [(0, [0, 3]), (1, [1, 4]), (2, [2])])
def test_items_are_shared_out_and_too_few_are_done_by_all(
    rank: int, expected: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, rank, 3)
    assert parallel.share(range(5)) == expected
    assert parallel.share("ab") == ["a", "b"]


@pytest.mark.parametrize("size", ["2", "0", "many"])
def test_processes_that_know_nothing_of_each_other_are_refused(size, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", size)
    with pytest.raises(InputError, match=r"lay configs/multi_gpu_train\.yaml over train\.yaml"):
        parallel.require_joined()
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    with pytest.raises(InputError, match="start it by torchrun"):
        parallel.start()
