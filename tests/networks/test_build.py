# SPDX-License-Identifier: Apache-2.0
import pytest

from bundle.errors import InputError
from bundle.networks import (
    DataConsistency,
    FastGenerator,
    Generator,
    SingleContrastResidual,
    ZengCascade,
    build,
    from_record,
)
from bundle.networks.build import ARCHITECTURES

COMMON = {"levels": 1, "residual": False, "bias": False, "share_levels": False, "consistency": None}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_build_makes_each_architecture_from_the_usual_settings(architecture) -> None:
    fusion = "image" if architecture == "FastGenerator" else "feature"
    assert type(build(architecture, **COMMON, fusion=fusion)).__name__ == architecture


def test_build_passes_settings_and_size_on() -> None:
    layer = DataConsistency(4)
    network = build("FastGenerator", {"n_blocks": 3, "unshuffle": 4}, fusion="none", levels=2, consistency=layer)
    assert isinstance(network, FastGenerator)
    assert (network.fusion, network.n_levels, network.multiple, network.consistency) == ("none", 2, 4, layer)
    generator = build(fusion="image", levels=3, share_levels=True)
    assert isinstance(generator, Generator)
    assert (generator.n_levels, len(generator.levels)) == (3, 1)
    assert build("SingleContrastResidual", {"n_blocks": 2}).reach == SingleContrastResidual(8, 2).reach
    assert build("ZengCascade", {"n_layers": 3}).reach == ZengCascade(3, 8).reach


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
        ({"architecture": "ZengCascade", "consistency": DataConsistency(2)}, "ZengCascade has no consistency"),
    ],
)
def test_build_refuses_what_a_network_does_not_do(arguments, message) -> None:
    with pytest.raises(InputError, match=message):
        build(**arguments)


def test_a_record_describes_its_network() -> None:
    record = {"architecture": "FastGenerator", "size": {"n_blocks": 3}, "fusion": "none", "levels": 2, "factor": 2}
    network = from_record(record | {"consistency_layer": True, "seed": 3, "residual": False})
    assert isinstance(network, FastGenerator)
    assert (network.fusion, network.n_levels, network.consistency.factor) == ("none", 2, 2.0)
    assert from_record(record).consistency is None


def test_a_record_of_the_time_before_architectures_means_the_paper_s_generator() -> None:
    generator = from_record({"fusion": "image", "residual": True})
    assert isinstance(generator, Generator)
    assert (generator.fusion, generator.levels[0].decoder.residual) == ("image", True)
