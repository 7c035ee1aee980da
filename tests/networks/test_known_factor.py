# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from bundle.errors import InputError
from bundle.networks import FastGenerator
from bundle.networks.known_factor import KnownFactors

FACTORS = (1.5, 2, 3, 4)


def knowing(**settings: object) -> FastGenerator:
    """A small network whose weights differ at every factor, also from those of the blind network."""
    torch.manual_seed(0)
    network = FastGenerator(n_features=8, n_blocks=2, known_factors=FACTORS, **settings)
    nn.init.normal_(network.levels[0].last.weight, std=0.05)
    for difference in network.known_factors.differences:
        nn.init.normal_(difference, std=0.05)
    return network.eval()


def image(n: int = 1) -> torch.Tensor:
    return torch.rand(n, 2, 20, 23, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("factor", "shares"),
    [
        (1.2, [1, 0, 0, 0]),
        (2, [0, 1, 0, 0]),
        (6**0.5, [0, 0.5, 0.5, 0]),
        (3, [0, 0, 1, 0]),
        (4.6, [0, 0, 0, 1]),
    ],
)
def test_differences_are_mixed_linearly_in_the_logarithm_of_the_factor(factor, shares) -> None:
    assert KnownFactors(nn.Linear(1, 1), FACTORS).shares(factor) == pytest.approx(shares)


def test_weights_of_a_factor_are_those_of_the_network_and_what_was_learnt_there() -> None:
    network = nn.Linear(3, 2)
    known = KnownFactors(network, FACTORS)
    known.differences[0].data[1], known.differences[0].data[2] = 1.0, 3.0
    assert_close(known.weights(network, 6**0.5)["weight"], network.weight + 2.0)
    assert_close(known.weights(network, 4)["weight"], network.weight)


def test_network_with_known_factors_starts_as_the_blind_one() -> None:
    network = FastGenerator(n_features=8, n_blocks=2, known_factors=FACTORS)
    nn.init.normal_(network.levels[0].last.weight, std=0.05)
    assert_close(network(image(), torch.tensor([2.7])), network(image()))


def test_each_image_of_a_batch_gets_the_weights_of_its_own_factor() -> None:
    network, factors = knowing(), torch.tensor([0, 2.0, 2.0, 3.3])
    together = network(image(4), factors)
    for i, factor in enumerate(factors):
        assert_close(together[i : i + 1], network(image(4)[i : i + 1], factor[None]))
    assert_close(together[:1], network(image(4)[:1]))  # 0: not known
    assert (together[1:] - network(image(4))[1:]).abs().amax((1, 2, 3)).min() > 1e-3


def test_reference_features_go_with_their_image() -> None:
    network, factors = knowing(fusion="feature"), torch.tensor([4.0, 2.0])
    parts = [network(image(2)[i : i + 1], factors[i : i + 1]) for i in range(2)]
    assert_close(network(image(2), factors), torch.cat(parts))


def test_image_twice_as_bright_comes_out_twice_as_bright_at_a_known_factor() -> None:
    network, factor = knowing(), torch.tensor([2.5])
    assert_close(network(2 * image(), factor), 2 * network(image(), factor))


def test_program_of_torchscript_works_blind() -> None:
    network = knowing()
    assert_close(torch.jit.script(network)(image()), network(image()))


@pytest.mark.parametrize("factors", [(2, 2), (3, 2), (1, 2)])
def test_factors_that_do_not_ascend_from_1_are_refused(factors) -> None:
    with pytest.raises(InputError, match="give factors above 1 in ascending order"):
        FastGenerator(known_factors=factors)


def test_several_levels_have_no_known_factors() -> None:
    with pytest.raises(InputError, match="levels is 2"):
        FastGenerator(levels=2, known_factors=FACTORS)
