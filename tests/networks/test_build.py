# SPDX-License-Identifier: Apache-2.0
from typing import Any

import pytest
from torch import nn

from bundle.errors import InputError
from bundle.networks import (
    DataConsistency,
    FastGenerator,
    Generator,
    SingleContrastResidual,
    ZengCascade,
    build,
)
from bundle.networks.build import ARCHITECTURES
from bundle.settings import ModelSettings, TrainingRecord


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_build_makes_each_architecture_from_the_usual_settings(architecture) -> None:
    fusion = "image" if architecture == "FastGenerator" else "feature"
    assert type(build(ModelSettings(architecture, fusion=fusion))).__name__ == architecture


def test_build_passes_settings_and_size_on() -> None:
    size = {"n_blocks": 3, "unshuffle": 4}
    network = build(ModelSettings("FastGenerator", size, fusion="none", levels=2))
    assert isinstance(network, FastGenerator)
    assert (network.fusion, network.n_levels, network.multiple, network.consistency) == ("none", 2, 4, None)
    generator = build(ModelSettings(fusion="image", levels=3, share_levels=True))
    assert isinstance(generator, Generator)
    assert (generator.n_levels, len(generator.levels)) == (3, 1)
    assert build(ModelSettings("SingleContrastResidual", {"n_blocks": 2})).reach == SingleContrastResidual(8, 2).reach
    for architecture, features in ("SingleContrastResidual", 32), ("ZengCascade", 16):
        network = build(ModelSettings(architecture, width=0.25))
        assert max(parameter.shape[0] for parameter in network.parameters()) == features
    assert build(ModelSettings("ZengCascade", {"n_layers": 3})).reach == ZengCascade(3, 8).reach


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"architecture": "os.system"}, "architecture is 'os.system'; choose one of Generator, FastGenerator"),
        ({"architecture": "ZengCascade", "size": {"n_blocks": 3}}, "ZengCascade has no n_blocks; its sizes are"),
        (
            {"architecture": "FastGenerator", "share_levels": True},
            "FastGenerator has no share_levels; leave it at False",
        ),
        ({"architecture": "ZengCascade", "levels": 2}, "ZengCascade has no levels; leave it at 1"),
        ({"architecture": "ZengCascade", "consistency_layer": True}, "ZengCascade has no consistency_layer"),
    ],
)
def test_build_refuses_what_a_network_does_not_do(arguments, message) -> None:
    with pytest.raises(InputError, match=message):
        build(ModelSettings(**arguments))


def of_record(content: dict[str, Any]) -> nn.Module:
    return build(TrainingRecord.from_json(content).model)


def test_a_record_describes_its_network() -> None:
    record = {"architecture": "FastGenerator", "size": {"n_blocks": 3}, "fusion": "none", "levels": 2, "factor": 2}
    network = of_record(record | {"consistency_layer": True, "magnitude": False, "seed": 3, "residual": False})
    assert isinstance(network, FastGenerator)
    assert (network.fusion, network.n_levels) == ("none", 2)
    assert isinstance(network.consistency, DataConsistency)
    assert (network.consistency.factor, network.consistency.magnitude) == (2.0, False)
    assert of_record(record).consistency is None


def test_a_record_of_the_time_before_architectures_means_the_paper_s_generator() -> None:
    generator = of_record({"fusion": "image", "residual": True})
    assert isinstance(generator, Generator)
    assert (generator.fusion, generator.levels[0].decoder.residual) == ("image", True)
