# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from bundle.case import Case, RegistrationFinding
from bundle.engines import CaseNetwork
from bundle.errors import InputError
from bundle.networks import Generator, SingleContrastResidual
from bundle.settings import ModelSettings

EXPECTED = {"factor": 4, "magnitude": True, "normalise": "volume", "fusion": "feature"}
GUIDED = nn.Identity()


def single_contrast_network(path: Any, on_bad_reference: Any = "single_contrast") -> nn.Module:
    case = Case("a", registration=RegistrationFinding(usable=False))
    return CaseNetwork(GUIDED, ModelSettings(), "cpu", on_bad_reference, path)(case)


@pytest.mark.parametrize("usable", [True, False, None])
def test_a_reference_that_is_of_no_use_brings_in_the_other_network(usable: bool | None, tmp_path) -> None:
    weights = stored(tmp_path, Generator("none"), fusion="none")
    networks = CaseNetwork(GUIDED, ModelSettings(), "cpu", "single_contrast", weights)
    registration = None if usable is None else RegistrationFinding(usable=usable)
    assert (networks(Case("a", registration=registration)) is GUIDED) == (usable is not False)


def stored(folder: Path, network: nn.Module, **record: Any) -> Path:
    path = folder / "single.pt"
    torch.save(network.state_dict(), path)
    path.with_suffix(".json").write_text(json.dumps({**EXPECTED, **record}))
    return path


@pytest.mark.parametrize(
    ("network", "record"),
    [
        (Generator("none", residual=True), {"architecture": "Generator", "fusion": "none", "residual": True}),
        (Generator("none", levels=2), {"fusion": "none", "levels": 2, "consistency_layer": True}),
        (SingleContrastResidual(), {"architecture": "SingleContrastResidual"}),
    ],
    ids=["generator", "progressive", "residual network"],
)
def test_the_network_without_reference_is_built_by_its_own_record(network, record, tmp_path) -> None:
    found = single_contrast_network(stored(tmp_path, network, **record))
    assert type(found) is type(network)
    assert (getattr(found, "consistency", None) is not None) == record.get("consistency_layer", False)
    for name, weight in network.state_dict().items():
        assert torch.equal(found.state_dict()[name], weight)


def test_nothing_is_loaded_where_bad_references_are_skipped() -> None:
    assert single_contrast_network("nowhere.pt", "skip") is GUIDED


def test_a_missing_network_is_refused_at_the_start() -> None:
    with pytest.raises(InputError, match="give --single_contrast_path FILE"):
        single_contrast_network(None)
    with pytest.raises(InputError, match="choose skip or single_contrast"):
        single_contrast_network(None, "ignore")


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"fusion": "feature"}, "these weights need a reference"),
        ({"architecture": "ZengCascade", "fusion": "none"}, "these weights need a reference"),
        ({"fusion": "none", "factor": 2}, "were trained with factor 2, not 4"),
    ],
    ids=str,
)
def test_weights_of_another_kind_are_refused(record, message, tmp_path) -> None:
    with pytest.raises(InputError, match=message):
        single_contrast_network(stored(tmp_path, Generator("none"), **record))
