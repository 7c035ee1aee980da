# SPDX-License-Identifier: Apache-2.0
import hashlib
import json
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from ignite.engine import Engine
from torch import nn

from bundle.engines import TrainingCheckpoint
from bundle.errors import InputError
from bundle.settings import ModelSettings, Recipe, TrainingRecord, read_record


def engine(iteration: int = 7, epoch_length: int = 3, max_epochs: int = 5) -> Engine:
    state = {"iteration": iteration, "epoch": iteration // epoch_length, "epoch_length": epoch_length}
    return SimpleNamespace(state=SimpleNamespace(**state, max_epochs=max_epochs), should_terminate=False)


def checkpoint(folder, network: nn.Module, **model: Any) -> TrainingCheckpoint:
    files = folder / "checkpoint.pt", folder / "model.pt"
    return TrainingCheckpoint(*files, network, {"generator": network}, TrainingRecord(ModelSettings(**model)))


def test_checkpoint_restores_weights_iteration_and_random_numbers(tmp_path) -> None:
    network = nn.Linear(3, 2)
    torch.manual_seed(5)
    checkpoint(tmp_path, network).save(engine(7))
    expected = torch.rand(4)
    other, new = nn.Linear(3, 2), engine(0)
    checkpoint(tmp_path, other).restore(new)
    assert torch.equal(torch.rand(4), expected)
    assert torch.equal(other.weight, network.weight)
    assert (new.state.iteration, new.state.epoch) == (7, 2)


def test_checkpoint_is_not_written_after_a_divergence(tmp_path) -> None:
    diverged = engine()
    diverged.should_terminate = True
    checkpoint(tmp_path, nn.Linear(3, 2)).save(diverged)
    assert not list(tmp_path.iterdir())


def test_a_failed_save_leaves_the_previous_checkpoint(tmp_path, monkeypatch) -> None:
    saver = checkpoint(tmp_path, nn.Linear(3, 2))
    saver.save(engine(3))
    before = (tmp_path / "checkpoint.pt").read_bytes()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        saver.save(engine(6))
    assert (tmp_path / "checkpoint.pt").read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint.pt", "model.pt", "model.json"}


@pytest.mark.parametrize("resume", [False, True])
def test_what_a_killed_training_has_left_half_written_is_removed(resume, tmp_path) -> None:
    saver = checkpoint(tmp_path, nn.Linear(3, 2))
    saver.resume = resume
    saver.save(engine(3))
    (tmp_path / ".0123456789ab.partial.checkpoint.pt").write_text("half")
    saver.restore(engine(0))
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint.pt", "model.pt", "model.json"}


def test_training_record_lies_beside_the_weights(tmp_path) -> None:
    checkpoint(tmp_path, nn.Linear(3, 2), factor=3).save(engine(7))
    checksum = hashlib.sha256((tmp_path / "model.pt").read_bytes()).hexdigest()
    about = {"iterations": 7, "epochs": 2}
    expected = TrainingRecord(ModelSettings(factor=3), weights_sha256=checksum, about=about)
    assert read_record(tmp_path / "model.pt") == expected
    assert json.loads((tmp_path / "model.json").read_text()) == expected.to_json()


def test_a_checkpoint_of_other_settings_is_refused_with_the_remedy(tmp_path) -> None:
    checkpoint(tmp_path, nn.Linear(3, 2), factor=4).save(engine(7))
    with pytest.raises(InputError, match=r"made with other settings \(factor 4 -> 2\); .* --resume false"):
        checkpoint(tmp_path, nn.Linear(3, 2), factor=2).restore(engine(0))
    other = engine(0, epoch_length=4)
    with pytest.raises(InputError, match=r"\(iterations in an epoch 3 -> 4\)"):
        checkpoint(tmp_path, nn.Linear(3, 2), factor=4).restore(other)


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 broken"])
def test_a_damaged_checkpoint_is_reported_with_the_remedy(content, tmp_path) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(content)
    with pytest.raises(InputError, match=r"checkpoint.pt: cannot be read .* start anew with --resume false"):
        checkpoint(tmp_path, nn.Linear(3, 2)).restore(engine(0))


def test_a_file_of_another_program_is_no_checkpoint(tmp_path) -> None:
    torch.save({"epoch": 3}, tmp_path / "checkpoint.pt")
    with pytest.raises(InputError, match="not a checkpoint of this trainer"):
        checkpoint(tmp_path, nn.Linear(3, 2)).restore(engine(0))


@pytest.mark.parametrize("kept", ["no weights", "weights", "weights of the save before", "record of the save before"])
def test_a_kill_between_two_files_of_a_save_is_repaired_on_resuming(kept, tmp_path) -> None:
    network = nn.Linear(3, 2)
    saver = checkpoint(tmp_path, network)
    saver.save(engine(3))
    before = {name: (tmp_path / name).read_bytes() for name in ("model.pt", "model.json")}
    with torch.no_grad():
        network.weight += 1
    saver.save(engine(6))
    after = {name: (tmp_path / name).read_bytes() for name in ("model.pt", "model.json")}
    if kept == "no weights":
        (tmp_path / "model.pt").unlink()
    if kept == "weights of the save before":  # killed after the checkpoint
        for name, content in before.items():
            (tmp_path / name).write_bytes(content)
    if kept == "record of the save before":  # killed after the weights
        (tmp_path / "model.json").write_bytes(before["model.json"])
    checkpoint(tmp_path, nn.Linear(3, 2)).restore(engine(0))
    assert {name: (tmp_path / name).read_bytes() for name in after} == after


def test_a_checkpoint_with_a_flipped_bit_is_refused(tmp_path) -> None:
    checkpoint(tmp_path, nn.Linear(30, 20)).save(engine(7))
    content = bytearray((tmp_path / "checkpoint.pt").read_bytes())
    content[content.index(checkpoint_bytes(tmp_path)) + 5] ^= 1
    (tmp_path / "checkpoint.pt").write_bytes(content)
    with pytest.raises(InputError, match=r"checkpoint\.pt: cannot be read .* start anew with --resume false"):
        checkpoint(tmp_path, nn.Linear(30, 20)).restore(engine(0))


def checkpoint_bytes(folder) -> bytes:
    """Return the bytes of a tensor of the weights, as they stand in the checkpoint too."""
    return torch.load(folder / "model.pt", weights_only=True)["weight"].numpy().tobytes()


def test_a_training_does_not_write_over_the_weights_it_goes_on_from(tmp_path) -> None:
    torch.save({}, tmp_path / "model.pt")
    saver = checkpoint(tmp_path, nn.Linear(3, 2))
    saver.record = TrainingRecord(initial_weights=hashlib.sha256((tmp_path / "model.pt").read_bytes()).hexdigest())
    with pytest.raises(InputError, match=r"model\.pt: training would write over these weights, which it goes on from"):
        saver.restore(engine(0))
    saver.model_path = tmp_path / "other.pt"
    saver.restore(engine(0))


def test_a_change_of_max_epochs_is_named_before_what_derives_from_it(tmp_path) -> None:
    network = nn.Linear(3, 2)
    checkpoint(tmp_path, network).save(engine(3, max_epochs=2))
    changed = checkpoint(tmp_path, network)
    changed.record = TrainingRecord(ModelSettings(), Recipe(fidelity_iterations=11))
    words = r"\(max_epochs 2 -> 3, and so perhaps fidelity_iterations 0 -> 11\)"
    with pytest.raises(InputError, match=words):
        changed.restore(engine(0, max_epochs=3))
    with pytest.raises(InputError, match=r"\(fidelity_iterations 0 -> 11\)"):
        changed.restore(engine(0, max_epochs=2))
