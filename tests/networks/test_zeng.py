# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from bundle.networks import ZengCascade


def image(n: int = 1, height: int = 20, width: int = 23, seed: int = 0) -> torch.Tensor:
    return torch.rand(n, 2, height, width, generator=torch.Generator().manual_seed(seed))


def trained(**settings: object) -> ZengCascade:
    """A small cascade past its start as the identity: every layer has a say."""
    torch.manual_seed(0)
    network = ZengCascade(**{"n_layers": 4, "n_features": 8, **settings})
    for part in (network.single_contrast, network.multi_contrast):
        torch.nn.init.normal_(part.last.weight, std=0.05)
    return network


def n_parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_cascade_has_the_parameters_that_its_layers_add_up_to() -> None:
    network = ZengCascade()
    assert n_parameters(network.single_contrast) == 9 * (64 + 8 * 64**2 + 64)
    assert n_parameters(network.multi_contrast) == 9 * (2 * 64 + 8 * 64**2 + 64)


@given(height=st.integers(1, 40), width=st.integers(1, 40))
@settings(deadline=None, max_examples=20)
def test_cascade_keeps_any_matrix(height, width) -> None:
    assert trained()(image(2, height, width)).shape == (2, 1, height, width)


def test_cascade_starts_as_the_identity_on_the_low_res_at_both_levels() -> None:
    x = image()
    for level in ZengCascade(n_layers=3, n_features=8, bias=True).forward_levels(x):
        assert torch.equal(level, x[:, :1])


def test_first_network_sees_the_low_res_alone_and_the_second_both() -> None:
    x = image().requires_grad_()
    network = trained()
    for level, sees_reference in zip(network.forward_levels(x), (False, True), strict=True):
        (gradient,) = torch.autograd.grad(level.sum(), x, retain_graph=True)
        assert gradient[:, 0].abs().sum() > 0
        assert bool(gradient[:, 1].abs().sum() > 0) == sees_reference


def test_second_network_takes_the_first_networks_output() -> None:
    x, network = image(), trained()
    first, second = network.forward_levels(x)
    assert not torch.allclose(first, x[:, :1], atol=0.01)
    assert_close(second, network.multi_contrast(torch.cat((first, x[:, 1:]), dim=1)))
    assert_close(network(x), second)


def test_each_network_reaches_as_far_as_its_layers() -> None:
    network = trained(n_layers=10)
    x = torch.rand(1, 1, 61, 61, requires_grad=True)
    network.single_contrast(x)[0, 0, 30, 30].backward()
    rows = torch.nonzero(x.grad.abs().sum((0, 1, 3)))
    assert (rows.min().item(), rows.max().item()) == (20, 40)


@given(scale=st.floats(0.01, 100))
@settings(deadline=None, max_examples=20)
def test_bias_free_cascade_is_positively_homogeneous(scale) -> None:
    network, x = trained(), image()
    assert_close(network(scale * x) / scale, network(x), rtol=1e-4, atol=1e-5)


def test_bias_reaches_every_convolution_of_the_cascade() -> None:
    def n_biases(bias: bool) -> int:
        return sum(name.endswith("bias") for name, _ in trained(bias=bias).named_parameters())

    assert (n_biases(False), n_biases(True)) == (0, 8)


def test_every_weight_of_the_cascade_gets_a_gradient_after_the_first_update() -> None:
    torch.manual_seed(0)
    network, x = ZengCascade(n_layers=3, n_features=8), image()
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    for _ in range(2):
        optimizer.zero_grad()
        torch.stack([(level - 1).square().mean() for level in network.forward_levels(x)]).sum().backward()
        optimizer.step()
    assert all(parameter.grad.abs().sum() > 0 for parameter in network.parameters())


def test_features_keep_their_scale_through_the_layers() -> None:
    torch.manual_seed(0)
    x = image(1, 40, 40)
    features = ZengCascade().single_contrast.hidden(x[:, :1])
    assert 0.5 < features.square().mean() / x[:, :1].square().mean() < 2


@pytest.mark.parametrize("bias", [False, True])
def test_scripted_cascade_equals_eager(bias) -> None:
    network = trained(bias=bias).eval()
    x = image(1, 19, 22)
    scripted = torch.jit.script(network)
    assert_close(scripted(x), network(x))


def test_outputs_of_the_cascade_stay_float32_in_mixed_precision() -> None:
    network, x = trained(), image(1, 32, 32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        levels = network.forward_levels(x)
    for level, exact in zip(levels, network.forward_levels(x), strict=True):
        assert level.dtype == torch.float32
        assert level.unique().numel() > 900  # of 1024 pixels; bfloat16 has 128 values an octave
        assert_close(level, exact, rtol=0.05, atol=0.02)


@pytest.mark.parametrize("arguments", [{"n_layers": 1}, {"n_features": 0}])
def test_cascade_refuses_a_size_that_is_none(arguments) -> None:
    with pytest.raises(ValueError, match="at least 2 and 1"):
        ZengCascade(**arguments)
