# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from bundle.networks import DataConsistency, FastGenerator

VARIANTS = [
    {},
    {"fusion": "feature"},
    {"fusion": "none", "bias": True},
    {"levels": 2, "unshuffle": 3},
    {"fusion": "feature", "levels": 3, "unshuffle": 1},
]


def image(n: int = 1, height: int = 20, width: int = 23, seed: int = 0) -> torch.Tensor:
    return torch.rand(n, 2, height, width, generator=torch.Generator().manual_seed(seed))


def trained(**settings: object) -> FastGenerator:
    """A small network past its start as the identity: every layer has a say."""
    torch.manual_seed(0)
    network = FastGenerator(**{"n_features": 8, "n_blocks": 2, **settings})
    for level in network.levels:
        torch.nn.init.normal_(level.last.weight, std=0.05)
    if network.error_scale is not None:
        torch.nn.init.normal_(network.error_scale.last.weight, std=0.05)
    return network.eval()


def test_default_size_costs_a_twentieth_of_the_one_level_generator() -> None:
    x = image(1, 32, 32)  # padded convolutions: the count is proportional to the pixels
    with FlopCounterMode(display=False) as count:
        network = FastGenerator()
        network(x)
    assert count.get_total_flops() / 2 * 256**2 / 32**2 == pytest.approx(12.2e9, rel=0.01)
    assert sum(parameter.numel() for parameter in network.parameters()) == 9 * (8 * 64 + 20 * 64**2 + 64 * 4)


@given(height=st.integers(1, 40), width=st.integers(1, 40), variant=st.sampled_from(VARIANTS))
@settings(deadline=None, max_examples=25)
def test_fast_generator_keeps_any_matrix(height, width, variant) -> None:
    assert trained(**variant)(image(2, height, width)).shape == (2, 1, height, width)


def test_unshuffled_pixels_of_an_odd_matrix_are_those_of_the_even_one_with_zeros() -> None:
    network, odd = trained(), image(1, 21, 25)
    even = torch.nn.functional.pad(odd, (0, 1, 0, 1))
    assert torch.equal(network(odd), network(even)[..., :21, :25])


@pytest.mark.parametrize("variant", VARIANTS)
def test_fast_generator_starts_as_the_identity_on_the_low_res(variant) -> None:
    x = image()
    assert torch.equal(FastGenerator(**variant)(x), x[:, :1])


@pytest.mark.parametrize(("fusion", "sees_reference"), [("image", True), ("feature", True), ("none", False)])
def test_fusion_decides_whether_the_fast_generator_sees_the_reference(fusion, sees_reference) -> None:
    network, x = trained(fusion=fusion), image()
    other = x.clone()
    other[:, 1] = 0
    assert torch.equal(network(x), network(other)) is not sees_reference
    assert not torch.allclose(network(x), x[:, :1], atol=0.01)


@given(scale=st.floats(0.01, 100), variant=st.sampled_from([v for v in VARIANTS if not v.get("bias")]))
@settings(deadline=None, max_examples=20)
def test_bias_free_fast_generator_is_positively_homogeneous(scale, variant) -> None:
    network, x = trained(**variant), image()
    assert_close(network(scale * x) / scale, network(x), rtol=1e-4, atol=1e-5)


def test_every_weight_of_the_fast_generator_gets_a_gradient_after_the_first_update() -> None:
    torch.manual_seed(0)
    network, x = FastGenerator("feature", levels=2, n_features=8, n_blocks=2), image()
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    for _ in range(2):
        optimizer.zero_grad()
        (network(x) - 1).square().mean().backward()
        optimizer.step()
    assert all(parameter.grad.abs().sum() > 0 for parameter in network.parameters())


def test_each_level_of_the_fast_generator_feeds_the_next() -> None:
    network, x = trained(levels=2), image()
    first, second = network.forward_levels(x)
    assert torch.equal(network(x), second)
    del network.levels[0]
    assert torch.equal(network(torch.cat((first, x[:, 1:]), dim=1)), second)


def test_consistency_follows_every_level_of_the_fast_generator() -> None:
    layer, x = DataConsistency(2, magnitude=False), image(1, 24, 20)  # a projection
    network = trained(levels=2, consistency=layer)
    assert network.reach is None
    for output in network.forward_levels(x):
        assert_close(layer(output, x[:, :1]), output, atol=1e-5, rtol=0)


@pytest.mark.parametrize("variant", VARIANTS)
def test_scripted_fast_generator_equals_eager(variant) -> None:
    network, x = trained(**variant), image(1, 19, 22)
    assert_close(torch.jit.script(network)(x), network(x))


def test_output_of_the_fast_generator_stays_float32_in_mixed_precision() -> None:
    network, x = trained(), image(1, 32, 32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = network(x)
    assert output.dtype == torch.float32
    assert output.unique().numel() > 900  # of 1024 pixels; bfloat16 has 128 values an octave
    assert_close(output, network(x), rtol=0.05, atol=0.02)


def test_scale_of_errors_leaves_the_image_as_it_is_and_is_positively_homogeneous() -> None:
    network, x = trained(error_features=4), image(2, 21, 24)
    output, scale = network.with_error_scale(x)
    assert torch.equal(output, network(x))
    assert scale.shape == output.shape
    assert scale.min() >= 0 < scale.mean()
    assert_close(network.with_error_scale(3 * x)[1], 3 * scale, rtol=1e-4, atol=1e-5)
    assert torch.equal(network.with_error_scale(torch.zeros_like(x))[1], torch.zeros_like(scale))


def test_learning_the_scale_of_errors_changes_nothing_of_the_image() -> None:
    network = trained(error_features=4)
    network.with_error_scale(image())[1].mean().backward()
    changed = {name.split(".")[0] for name, p in network.named_parameters() if p.grad is not None}
    assert changed == {"error_scale"}


def test_a_pixel_of_either_output_depends_on_the_input_within_reach() -> None:
    network, x = trained(error_features=4, n_blocks=1), image(1, 64, 64)
    other = x.clone()
    other[..., 0] = 9
    first, second = (torch.cat(network.with_error_scale(i), dim=1) for i in (x, other))
    changed = (first != second).any(dim=2)[0].any(dim=0).nonzero().max()
    assert network.reach - 2 <= changed <= network.reach


def test_a_network_without_scale_of_errors_says_so() -> None:
    with pytest.raises(ValueError, match="build it with error_features"):
        trained().with_error_scale(image())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"error_features": -1}, "0 for none"),
        ({"fusion": "reference"}, "the fast generator has image|has feature"),
        ({"levels": 4}, "choose 1 .one-level."),
        ({"unshuffle": 0}, "1 or more of each"),
        ({"n_blocks": 0}, "1 or more of each"),
    ],
)
def test_fast_generator_refuses_settings_that_do_not_exist(arguments, message) -> None:
    with pytest.raises(ValueError, match=message):
        FastGenerator(**arguments)
