# SPDX-License-Identifier: Apache-2.0
import hashlib
import json
import logging
from pathlib import Path

import pytest
import torch
from torch import nn

from bundle.engines import GeneratorLoader
from bundle.errors import InputError
from bundle.networks import FastGenerator
from bundle.pseudonyms import hidden
from bundle.settings import ModelSettings


def test_loader_warns_of_weights_without_a_record(tmp_path, caplog) -> None:
    torch.save(nn.Linear(3, 2).state_dict(), tmp_path / "w.pt")
    with caplog.at_level(logging.WARNING, logger="bundle"):
        GeneratorLoader(tmp_path / "w.pt", nn.Linear(3, 2), ModelSettings()).load()
    assert "no training record beside the weights" in caplog.text


def test_loader_takes_nothing_but_weights(tmp_path) -> None:
    torch.save(nn.Linear(3, 2), tmp_path / "module.pt")  # a whole pickled module could run any code
    with pytest.raises(InputError, match="cannot be read as weights"):
        GeneratorLoader(tmp_path / "module.pt", nn.Linear(3, 2)).load()


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """Weights of a training for factor 2, with a record of the time before most settings."""
    network = nn.Linear(3, 2)
    torch.save(network.state_dict(), tmp_path / "w.pt")
    record = {"architecture": "Linear", "factor": 2, "reference_contrast": "PDw", "train_cases": ["a", "b"]}
    (tmp_path / "w.json").write_text(json.dumps(record))
    return tmp_path / "w.pt"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"factor": 4}, "trained with factor 2, not 4; give --factor 2 or other weights"),
        ({"levels": 2, "factor": 3}, "levels 1, not 2, factor 2, not 3; give --levels 1 --factor 2 or other weights"),
    ],
)
def test_loader_refuses_weights_for_something_else_with_the_remedy(settings, said, trained) -> None:
    with pytest.raises(InputError, match=f"w.pt: these weights were .*{said}"):
        GeneratorLoader(trained, nn.Linear(3, 2), ModelSettings(**settings)).load()


def test_loader_refuses_weights_for_another_contrast_where_both_are_known(trained) -> None:
    with pytest.raises(InputError, match="reference_contrast PDw, not T1w; give --reference_contrast PDw"):
        GeneratorLoader(trained, nn.Linear(3, 2), reference_contrast="T1w").check()
    for contrast in ("PDw", None):
        record = GeneratorLoader(trained, nn.Linear(3, 2), ModelSettings(factor=2), contrast).check()
        assert record is not None
        assert record.model.factor == 2


def test_loader_refuses_weights_of_another_kind_of_network(trained) -> None:
    with pytest.raises(InputError, match="architecture Linear, not Bilinear"):
        GeneratorLoader(trained, nn.Bilinear(3, 2, 2), ModelSettings(factor=2)).check()


def test_fine_tuning_may_change_the_images_and_says_so_but_not_the_structure(trained, caplog) -> None:
    network = nn.Linear(3, 2)
    with caplog.at_level(logging.WARNING, logger="bundle"):
        GeneratorLoader(trained, network, ModelSettings(factor=4, bias=True), "T1w", fine_tuning=True).load()
    assert "w.pt was trained with factor 2, not 4, reference_contrast PDw, not T1w." in caplog.text
    with pytest.raises(InputError, match="residual False, not True; give --residual False or other weights"):
        GeneratorLoader(trained, network, ModelSettings(residual=True), fine_tuning=True).load()
    with pytest.raises(InputError, match="there are no weights here; give --initial_weights FILE"):
        GeneratorLoader(trained.with_name("none.pt"), network, fine_tuning=True).load()


def test_fine_tuning_may_add_a_scale_of_errors_to_weights_that_have_none(tmp_path) -> None:
    torch.manual_seed(0)
    size = {"n_features": 4, "n_blocks": 1}
    file, network = tmp_path / "w.pt", FastGenerator(**size, error_features=4)
    torch.save(FastGenerator(**size).state_dict(), file)
    with pytest.raises(InputError, match="another architecture"):
        GeneratorLoader(file, network).load()
    before = network.error_scale.last.weight.clone()
    GeneratorLoader(file, network, fine_tuning=True).load()
    assert torch.equal(network.error_scale.last.weight, before)
    assert torch.equal(network.levels[0].first.weight, torch.load(file)["levels.0.first.weight"])


def test_loader_warns_of_cases_that_weights_were_trained_on(trained, caplog) -> None:
    with caplog.at_level(logging.WARNING, logger="bundle"):
        GeneratorLoader(trained, nn.Linear(3, 2), unseen=["b", "c"]).load()
    assert "was trained on ['b']: their scores say nothing about new subjects" in caplog.text
    record = {"architecture": "Linear", "train_cases": hidden(["a", "b"])}
    trained.with_suffix(".json").write_text(json.dumps(record))
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="bundle"):
        GeneratorLoader(trained, nn.Linear(3, 2), unseen=["b", "c"]).load()
    assert "was trained on ['b']: their scores say nothing about new subjects" in caplog.text


def test_loader_without_a_file_takes_a_method_without_weights_alone() -> None:
    GeneratorLoader(None, nn.ReLU()).load()
    with pytest.raises(InputError, match="has weights to be loaded; give --ckpt_path FILE"):
        GeneratorLoader(None, nn.Linear(3, 2)).load()


def test_a_damaged_record_is_refused(trained) -> None:
    trained.with_suffix(".json").write_text("{")
    with pytest.raises(InputError, match=r"w\.json: this training record is damaged"):
        GeneratorLoader(trained, nn.Linear(3, 2)).load()


def test_half_precision_weights_load_into_a_network(tmp_path) -> None:
    trained, network = nn.Linear(3, 2), nn.Linear(3, 2)
    torch.save({name: value.half() for name, value in trained.state_dict().items()}, tmp_path / "w.pt")
    GeneratorLoader(tmp_path / "w.pt", network).load()
    assert network.weight.dtype == torch.float32
    torch.testing.assert_close(network.weight, trained.weight.half().float(), rtol=0, atol=0)


@pytest.mark.parametrize(
    "spoil",
    [lambda w: w * float("nan"), lambda w: w / 0, lambda w: w.long(), lambda w: w.bool()],
    ids=["nan", "infinite", "integers", "bits"],
)
def test_loader_refuses_weights_that_are_no_finite_numbers(spoil, tmp_path) -> None:
    torch.save({name: spoil(value) for name, value in nn.Linear(3, 2).state_dict().items()}, tmp_path / "w.pt")
    with pytest.raises(InputError, match=r"w\.pt: not all of these weights are finite numbers; give another --ckpt"):
        GeneratorLoader(tmp_path / "w.pt", nn.Linear(3, 2)).load()


def test_loader_takes_whole_numbers_where_the_network_counts(tmp_path) -> None:
    torch.save(nn.BatchNorm1d(3).state_dict(), tmp_path / "w.pt")
    GeneratorLoader(tmp_path / "w.pt", nn.BatchNorm1d(3)).load()


def flip(file: Path) -> None:
    """Change one bit in the middle of a file."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content)


def test_loader_refuses_damaged_weights_and_those_of_another_training(trained) -> None:
    record = json.loads(trained.with_suffix(".json").read_text())
    checksum = hashlib.sha256(trained.read_bytes()).hexdigest()
    trained.with_suffix(".json").write_text(json.dumps(record | {"weights_sha256": checksum}))
    GeneratorLoader(trained, nn.Linear(3, 2)).load()
    torch.save(nn.Linear(3, 2).state_dict(), trained)
    with pytest.raises(InputError, match=r"w\.pt: this is not the file that the record beside it tells of"):
        GeneratorLoader(trained, nn.Linear(3, 2)).load()
    trained.with_suffix(".json").write_text(json.dumps(record))
    GeneratorLoader(trained, nn.Linear(3, 2)).load()
    flip(trained)
    with pytest.raises(InputError, match=r"w\.pt: cannot be read as weights; the file is damaged"):
        GeneratorLoader(trained, nn.Linear(3, 2)).load()
