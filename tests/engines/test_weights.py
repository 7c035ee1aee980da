# SPDX-License-Identifier: Apache-2.0
import json
import logging

import pytest
import torch
from torch import nn

from bundle.engines import GeneratorLoader
from bundle.engines.weights import cases_seen, single_contrast_weights
from bundle.errors import InputError


def test_loader_warns_of_weights_without_a_record(tmp_path, caplog) -> None:
    torch.save(nn.Linear(3, 2).state_dict(), tmp_path / "w.pt")
    with caplog.at_level(logging.WARNING, logger="bundle"):
        GeneratorLoader(tmp_path / "w.pt", nn.Linear(3, 2), {"factor": 4}).load()
    assert "no training record beside the weights" in caplog.text


def test_loader_takes_nothing_but_weights(tmp_path) -> None:
    torch.save(nn.Linear(3, 2), tmp_path / "module.pt")  # a whole pickled module could run any code
    with pytest.raises(InputError, match="cannot be read as weights"):
        GeneratorLoader(tmp_path / "module.pt", nn.Linear(3, 2), {}).load()


def weights(folder, name: str, **record: object) -> str:
    (folder / f"{name}.pt").touch()
    (folder / f"{name}.json").write_text(json.dumps(record))
    return str(folder / f"{name}.pt")


def test_weights_without_a_reference_are_found_by_their_factor(tmp_path) -> None:
    weights(tmp_path, "model", factor=4, fusion="image")
    alone = weights(tmp_path, "none_4x", factor=4, fusion="none")
    weights(tmp_path, "none_2x", factor=2, fusion="none")
    assert single_contrast_weights(tmp_path, 4) == alone
    assert single_contrast_weights(tmp_path, 3) is None
    weights(tmp_path, "none_4x_other", factor=4, fusion="none")
    assert single_contrast_weights(tmp_path, 4) is None  # which of the two, nobody has said


def test_no_folder_holds_no_weights_without_a_reference(tmp_path) -> None:
    assert single_contrast_weights(tmp_path / "none", 4) is None


def test_half_precision_weights_load_into_a_network(tmp_path) -> None:
    trained, network = nn.Linear(3, 2), nn.Linear(3, 2)
    torch.save({name: value.half() for name, value in trained.state_dict().items()}, tmp_path / "w.pt")
    GeneratorLoader(tmp_path / "w.pt", network, {}).load()
    assert network.weight.dtype == torch.float32
    torch.testing.assert_close(network.weight, trained.weight.half().float(), rtol=0, atol=0)


def test_cases_that_weights_have_seen_keep_their_order_with_those_seen_before_behind(tmp_path) -> None:
    # sorted by name, a checkpoint of a training on these would be refused as that of another
    assert cases_seen(["sub-1_ses-1", "sub-10_ses-1"], None) == ["sub-1_ses-1", "sub-10_ses-1"]
    (tmp_path / "model.json").write_text(json.dumps({"train_cases": ["b", "a", "c"]}))
    assert cases_seen(["d", "a"], tmp_path / "model.pt") == ["d", "a", "b", "c"]
