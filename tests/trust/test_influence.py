# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bundle.trust import reference_influence


def image(n: int = 2) -> torch.Tensor:
    return torch.rand(n, 2, 20, 23, generator=torch.Generator().manual_seed(0))


def test_a_network_that_ignores_the_reference_is_not_influenced() -> None:
    assert reference_influence(image(), lambda x: 2 * x[:, :1]) == {"removed": 0, "mirrored": 0}


def test_a_network_that_adds_the_reference_takes_all_of_its_change_from_it() -> None:
    assert reference_influence(image(), lambda x: x.sum(1, keepdim=True))["removed"] == pytest.approx(1)


@given(share=st.floats(0.05, 5))
@settings(deadline=None)
def test_influence_is_the_share_of_the_change_that_the_reference_makes(share) -> None:
    def network(x: torch.Tensor) -> torch.Tensor:  # both parts of the change have the same norm before the share
        own, other = x[:, :1] - x[:, :1].mean(), x[:, 1:]
        own, other = own / own.norm(), other / other.norm().clamp(min=1e-9)
        return x[:, :1] + own + share * other

    slices = image()
    own, other = slices[:, :1] - slices[:, :1].mean(), slices[:, 1:]
    change = (own / own.norm() + share * other / other.norm()).norm()
    assert reference_influence(slices, network)["removed"] == pytest.approx(share / float(change), rel=1e-4)


def test_a_mirrored_reference_that_is_symmetric_changes_nothing() -> None:
    slices = image()
    slices[:, 1] = slices[:, 1] + slices[:, 1].flip(-2)
    found = reference_influence(slices, lambda x: x.sum(1, keepdim=True), mirror_axis=-2)
    assert found["mirrored"] == pytest.approx(0, abs=1e-6)
    assert reference_influence(slices, lambda x: x.sum(1, keepdim=True), mirror_axis=-1)["mirrored"] > 0.1


def test_a_network_that_changes_nothing_has_no_influence_to_share() -> None:
    assert reference_influence(image(), lambda x: x[:, :1]) == {"removed": 0, "mirrored": 0}


def test_influence_is_measured_on_what_follows_the_network() -> None:
    found = reference_influence(image(), lambda x: x.sum(1, keepdim=True), finish=lambda x: torch.ones_like(x))
    assert found == {"removed": 0, "mirrored": 0}


def test_a_known_plain_output_spares_a_pass() -> None:
    calls = []

    def network(x: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return x.sum(1, keepdim=True)

    plain = image().sum(1, keepdim=True)
    assert reference_influence(image(), network, plain=plain) == reference_influence(image(), network)
    assert len(calls) == 2 + 3
