# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from bundle.networks import SingleContrastResidual


def image(n: int = 1, height: int = 20, width: int = 23, seed: int = 0) -> torch.Tensor:
    return torch.rand(n, 2, height, width, generator=torch.Generator().manual_seed(seed))


def trained(**settings: object) -> SingleContrastResidual:
    """A small network past its start as the identity: every layer has a say."""
    torch.manual_seed(0)
    network = SingleContrastResidual(n_features=8, n_blocks=2, **settings)
    torch.nn.init.normal_(network.last.weight, std=0.05)
    return network


def test_default_size_costs_what_the_one_level_generator_costs() -> None:
    x = image(1, 16, 16)  # padded convolutions: the count is proportional to the pixels
    with FlopCounterMode(display=False) as count:
        network = SingleContrastResidual()
        network(x)
    multiply_accumulates = count.get_total_flops() / 2 * 256**2 / 16**2
    assert multiply_accumulates == pytest.approx(251.1e9, rel=0.01)
    assert sum(parameter.numel() for parameter in network.parameters()) == 9 * (26 * 128**2 + 2 * 128) == 3_836_160


@given(height=st.integers(1, 40), width=st.integers(1, 40))
@settings(deadline=None, max_examples=20)
def test_single_contrast_network_keeps_any_matrix(height, width) -> None:
    assert trained()(image(2, height, width)).shape == (2, 1, height, width)


def test_single_contrast_network_starts_as_the_identity_on_the_low_res() -> None:
    x = image()
    assert torch.equal(SingleContrastResidual(n_features=8, n_blocks=2, bias=True)(x), x[:, :1])


def test_single_contrast_network_ignores_the_reference() -> None:
    x, network = image(), trained()
    other = x.clone()
    other[:, 1] = 0
    assert torch.equal(network(x), network(other))
    assert not torch.allclose(network(x), x[:, :1], atol=0.01)


@given(scale=st.floats(0.01, 100))
@settings(deadline=None, max_examples=20)
def test_bias_free_single_contrast_network_is_positively_homogeneous(scale) -> None:
    network, x = trained(), image()
    assert_close(network(scale * x) / scale, network(x), rtol=1e-4, atol=1e-5)


def test_bias_reaches_every_convolution_of_the_single_contrast_network() -> None:
    def n_biases(bias: bool) -> int:
        return sum(name.endswith("bias") for name, _ in trained(bias=bias).named_parameters())

    assert (n_biases(False), n_biases(True)) == (0, 6)


def test_every_weight_of_the_single_contrast_network_gets_a_gradient_after_the_first_update() -> None:
    torch.manual_seed(0)
    network, x = SingleContrastResidual(n_features=8, n_blocks=2), image()
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    for _ in range(2):
        optimizer.zero_grad()
        (network(x) - 1).square().mean().backward()
        optimizer.step()
    assert all(parameter.grad.abs().sum() > 0 for parameter in network.parameters())


def test_features_keep_their_scale_through_the_blocks() -> None:
    torch.manual_seed(0)
    network = SingleContrastResidual(n_features=32)
    first = network.first(image()[:, :1])
    assert network.blocks(first).std() < 1.5 * first.std()


@pytest.mark.parametrize("bias", [False, True])
def test_scripted_single_contrast_network_equals_eager(bias) -> None:
    network = trained(bias=bias).eval()
    x = image(1, 19, 22)
    assert_close(torch.jit.script(network)(x), network(x))


def test_output_of_the_single_contrast_network_stays_float32_in_mixed_precision() -> None:
    network, x = trained(), image(1, 32, 32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = network(x)
    assert output.dtype == torch.float32
    assert output.unique().numel() > 900  # of 1024 pixels; bfloat16 has 128 values an octave
    assert_close(output, network(x), rtol=0.05, atol=0.02)


@pytest.mark.parametrize("arguments", [{"n_features": 0}, {"n_blocks": 0}])
def test_single_contrast_network_refuses_a_size_that_is_none(arguments) -> None:
    with pytest.raises(ValueError, match="1 or more"):
        SingleContrastResidual(**arguments)
