# SPDX-License-Identifier: Apache-2.0
import logging

import pytest
import torch
from torch import nn

from bundle.engines import GeneratorLoader
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
