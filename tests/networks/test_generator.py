# SPDX-License-Identifier: Apache-2.0
import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from bundle.errors import InputError
from bundle.networks import Generator
from bundle.networks.generator import Encoder

VARIANTS = [
    {"fusion": fusion, "levels": levels, "residual": residual}
    for fusion, levels, residual in itertools.product(("feature", "image", "none", "reference"), (1, 2), (False, True))
    if not (residual and fusion == "reference")
]


def image(n: int = 1, height: int = 20, width: int = 23, seed: int = 0) -> torch.Tensor:
    return torch.rand(n, 2, height, width, generator=torch.Generator().manual_seed(seed))


def trained(**settings: object) -> Generator:
    """A generator past its start as the identity: every layer has a say."""
    torch.manual_seed(0)
    network = Generator(**settings)
    for level in network.levels:
        torch.nn.init.uniform_(level.decoder.last.weight, 0, 0.02)
    return network


def n_parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_one_level_generator_has_the_parameters_that_its_layers_add_up_to() -> None:
    encoder = 9 * (1 * 32 + 32 * 32 + 32 * 64 + 64 * 64 + 64 * 128 + 128 * 128 + 128 * 256 + 256 * 256)
    decoder = 9 * (512 * 256 + 256 * 128 + 256 * 128 + 128 * 64 + 128 * 64 + 64 * 32 + 64 * 32 + 32 * 1)
    assert n_parameters(Generator()) == 2 * encoder + decoder == 4_295_520


def test_quarter_of_the_width_has_a_quarter_of_the_filters() -> None:
    encoder = 9 * (1 * 8 + 8 * 8 + 8 * 16 + 16 * 16 + 16 * 32 + 32 * 32 + 32 * 64 + 64 * 64)
    decoder = 9 * (128 * 64 + 64 * 32 + 64 * 32 + 32 * 16 + 32 * 16 + 16 * 8 + 16 * 8 + 8 * 1)
    assert n_parameters(Generator(width=0.25)) == 2 * encoder + decoder


@pytest.mark.parametrize("variant", VARIANTS)
def test_narrow_generator_starts_as_the_identity_too(variant) -> None:
    pair = image(1, 24, 21)
    output = Generator(**variant, width=0.25)(pair)
    expected = pair[:, 1:] if variant["fusion"] == "reference" else pair[:, :1]
    assert_close(output[..., 2:-2, 2:-2], expected[..., 2:-2, 2:-2])


@pytest.mark.parametrize("width", [0, -1.0, "wide"])
def test_width_that_leaves_no_filters_is_refused(width) -> None:
    with pytest.raises(InputError, match="above 0"):
        Generator(width=width)


def test_progressive_generator_has_one_reference_network_for_all_levels() -> None:
    one, two, shared = Generator(), Generator(levels=2), Generator(levels=2, share_levels=True)
    reference = n_parameters(Encoder())
    assert n_parameters(two) == 2 * (n_parameters(one) - reference) + reference
    assert n_parameters(shared) == n_parameters(one)


def test_encoder_sizes_run_from_60_to_48_and_decoder_back_to_64() -> None:
    features = Encoder()(torch.rand(1, 1, 64, 64))
    assert [f.shape[-1] for f in features] == [60, 56, 52, 48]
    assert Generator()(image(1, 64, 64)).shape == (1, 1, 64, 64)


@given(height=st.integers(17, 40), width=st.integers(17, 40), variant=st.sampled_from(VARIANTS))
@settings(deadline=None, max_examples=20)
def test_generator_keeps_any_matrix_of_at_least_17(height, width, variant) -> None:
    assert Generator(**variant)(image(2, height, width)).shape == (2, 1, height, width)


@given(scale=st.floats(0.01, 100), variant=st.sampled_from(VARIANTS))
@settings(deadline=None, max_examples=20)
def test_bias_free_generator_is_positively_homogeneous(scale, variant) -> None:
    network = trained(**variant)
    x = image()
    assert_close(network(scale * x) / scale, network(x), rtol=1e-4, atol=1e-5)


def test_generator_with_biases_is_not_homogeneous() -> None:
    network = trained(bias=True)
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.constant_(parameter, 0.1)
    x = image()
    assert not torch.allclose(network(2 * x), 2 * network(x), rtol=1e-3)


@pytest.mark.parametrize("variant", VARIANTS)
def test_generator_starts_as_the_identity_on_what_its_encoder_sees_first(variant) -> None:
    x = image(1, 24, 24)
    shown = x[:, 1:] if variant["fusion"] == "reference" else x[:, :1]
    border = 0 if variant["residual"] else 2 * (1 if variant["fusion"] == "reference" else variant["levels"])
    inside = slice(border, 24 - border)
    assert_close(Generator(**variant)(x)[..., inside, inside], shown[..., inside, inside])


def test_every_weight_gets_a_gradient_after_the_first_update() -> None:
    torch.manual_seed(0)
    network, x = Generator(), image(1, 24, 24)
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    for _ in range(2):
        optimizer.zero_grad()
        (network(x) - 1).square().mean().backward()
        optimizer.step()
    assert all(parameter.grad.abs().sum() > 0 for parameter in network.parameters())


@pytest.mark.parametrize(
    ("fusion", "sees_low_res", "sees_reference"),
    [("feature", True, True), ("image", True, True), ("none", True, False), ("reference", False, True)],
)
def test_fusion_decides_which_contrasts_the_output_depends_on(fusion, sees_low_res, sees_reference) -> None:
    x = image().requires_grad_()
    trained(fusion=fusion)(x).sum().backward()
    assert bool(x.grad[:, 0].abs().sum() > 0) == sees_low_res
    assert bool(x.grad[:, 1].abs().sum() > 0) == sees_reference


def test_receptive_field_is_33_pixels() -> None:
    network = trained(fusion="image")
    x = torch.rand(1, 2, 60, 60, requires_grad=True)
    network(x)[0, 0, 30, 30].backward()
    rows = torch.nonzero(x.grad.abs().sum((0, 1, 3)))
    assert (rows.min().item(), rows.max().item()) == (30 - 16, 30 + 16)


def test_forward_is_the_last_of_the_levels_and_each_level_feeds_the_next() -> None:
    network = trained(levels=3)
    x = image()
    levels = network.forward_levels(x)
    assert len(levels) == 3
    assert_close(network(x), levels[-1])
    assert not torch.allclose(levels[0], levels[1])


@pytest.mark.parametrize("variant", VARIANTS)
def test_scripted_generator_equals_eager(variant) -> None:
    network = trained(**variant).eval()
    x = image(1, 19, 22)
    assert_close(torch.jit.script(network)(x), network(x))


def test_last_layer_stays_float32_in_mixed_precision() -> None:
    network = trained()
    x = image(1, 32, 32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = network(x)
    assert output.dtype == torch.float32
    n_levels = output.unique().numel()
    assert n_levels > 900  # of 1024 pixels; bfloat16 has 128 values an octave
    assert_close(output, network(x), rtol=0.05, atol=0.02)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fusion": "featur"}, "choose one of feature"),
        ({"levels": 4}, "levels is 4"),
        ({"fusion": "reference", "residual": True}, "never sees"),
    ],
)
def test_generator_refuses_settings_that_do_not_exist(arguments, message) -> None:
    with pytest.raises(ValueError, match=message):
        Generator(**arguments)
