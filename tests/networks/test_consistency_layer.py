# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from torch.testing import assert_close

from bundle.kspace import project, zero_fill
from bundle.networks import DataConsistency, Generator


def image(height: int = 21, width: int = 26) -> torch.Tensor:
    return torch.rand(2, 2, height, width, generator=torch.Generator().manual_seed(0))


def generator(magnitude: bool, levels: int = 1) -> Generator:
    torch.manual_seed(0)
    network = Generator(levels=levels, consistency=DataConsistency(2, magnitude))
    for level in network.levels:
        torch.nn.init.uniform_(level.decoder.last.weight, 0, 0.02)
    return network


def test_generator_with_the_layer_holds_what_was_measured_at_every_level() -> None:
    x = image()
    x[:, :1] = zero_fill(x[:, :1], 2, magnitude=False)
    for output in generator(False, levels=2).forward_levels(x):
        assert_close(project(output, 2), x[:, :1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("magnitude", [True, False])
@pytest.mark.parametrize("size", [(20, 22), (21, 27), (30, 19)])
def test_scripted_generator_with_the_layer_equals_eager(magnitude, size) -> None:
    network = generator(magnitude).eval()
    assert_close(torch.jit.script(network)(image(*size)), network(image(*size)))


@pytest.mark.parametrize("magnitude", [True, False])
def test_gradients_reach_every_weight_through_the_layer(magnitude) -> None:
    network = generator(magnitude)
    network(image()).square().mean().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in network.parameters())


def test_layer_computes_in_float32_inside_mixed_precision() -> None:
    layer, x = DataConsistency(2), image()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = layer(x[:, :1].bfloat16(), x[:, 1:].bfloat16())
    assert output.dtype == torch.float32


def test_layer_adds_no_weights_so_networks_with_and_without_it_share_theirs() -> None:
    generator(True).load_state_dict(Generator().state_dict())


@pytest.mark.parametrize("magnitude", [True, False])
def test_layer_takes_a_factor_for_rows_and_one_for_columns(magnitude) -> None:
    layer, x = DataConsistency([4, 1], magnitude), image() + 1
    low_res = zero_fill(x[:, :1], 4, magnitude=False, column_factor=1)
    output = layer(x[:, 1:], low_res)
    assert_close(project(output, 4, 1), low_res, atol=1e-5, rtol=1e-5)
    assert_close(torch.jit.script(layer)(x[:, 1:], low_res), output)
