# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from bundle.trust import predictive_spread
from bundle.trust.spread import PASSES, one_pass, shift

sizes = st.integers(17, 30)


def image(height: int = 20, width: int = 23, n: int = 2) -> torch.Tensor:
    return torch.rand(n, 2, height, width, generator=torch.Generator().manual_seed(0))


def low_res(slices: torch.Tensor) -> torch.Tensor:
    return slices[:, :1]


def reference(slices: torch.Tensor) -> torch.Tensor:
    return slices[:, 1:]


def test_passes_begin_with_the_plain_one_and_hold_every_flip_and_shifts_along_both_axes() -> None:
    assert PASSES[0] == ((), (0.0, 0.0))
    assert {flips for flips, _ in PASSES} == {(), (-1,), (-2,), (-2, -1)}
    assert any(rows for _, (rows, _) in PASSES)
    assert any(columns for _, (_, columns) in PASSES)


@given(height=sizes, width=sizes)
@settings(deadline=None)
def test_a_network_that_only_looks_at_the_low_res_pixel_has_no_spread(height, width) -> None:
    mean, deviation = predictive_spread(image(height, width), [low_res])
    assert_close(mean, image(height, width)[:, :1])
    assert_close(deviation, torch.zeros_like(mean), atol=1e-6, rtol=0)


def test_a_network_that_copies_the_reference_has_the_spread_of_its_shifts() -> None:
    slices = image()
    shifted = torch.stack([shift(slices[:, 1:], pixels) for _, pixels in PASSES])
    mean, deviation = predictive_spread(slices, [reference])
    assert_close(mean, shifted.mean(0))
    assert_close(deviation, shifted.std(0), atol=1e-6, rtol=1e-4)


def test_a_network_that_knows_the_directions_has_the_spread_of_its_flips() -> None:
    slices = image()
    ramp = torch.arange(23.0).expand(2, 1, 20, 23)
    mean, deviation = predictive_spread(slices, [lambda x: low_res(x) + ramp])
    turned = torch.stack([ramp.flip(flips) for flips, _ in PASSES])
    assert_close(mean, slices[:, :1] + turned.mean(0))
    assert_close(deviation, turned.std(0), atol=1e-4, rtol=1e-4)


def test_an_ensemble_adds_the_differences_of_its_members() -> None:
    slices = image()
    mean, deviation = predictive_spread(slices, [low_res, lambda x: low_res(x) + 1])
    n_outputs = 2 * len(PASSES)
    assert_close(mean, slices[:, :1] + 0.5)
    assert_close(deviation, torch.full_like(mean, (0.25 * n_outputs / (n_outputs - 1)) ** 0.5))


def test_spread_is_that_of_the_finished_outputs() -> None:
    mean, deviation = predictive_spread(image(), [reference], finish=torch.zeros_like)
    assert not mean.any()
    assert not deviation.any()


def test_a_known_plain_output_stands_for_the_plain_pass_and_is_left_as_it_was() -> None:
    slices, calls = image(), []

    def network(x: torch.Tensor) -> torch.Tensor:
        calls.append(x)
        return x[:, 1:]

    plain = slices[:, 1:].clone()
    found = predictive_spread(slices, [network], finish=lambda output: output.mul_(2), plain=plain)
    assert len(calls) == len(PASSES) - 1
    assert_close(plain, slices[:, 1:])
    assert_close(found, predictive_spread(slices, [lambda x: 2 * reference(x)]))


def test_spread_without_a_network_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        predictive_spread(image(), [])


@given(height=sizes, width=sizes, rows=st.integers(-3, 3), columns=st.integers(-3, 3))
@settings(deadline=None)
def test_a_shift_by_whole_pixels_is_a_roll(height, width, rows, columns) -> None:
    slices = image(height, width)
    assert_close(shift(slices, (rows, columns)), slices.roll((rows, columns), (-2, -1)), atol=1e-5, rtol=0)


def test_a_shift_by_half_a_pixel_moves_a_wave_by_half_a_pixel() -> None:
    rows = torch.arange(32.0)[:, None].expand(1, 1, 32, 20)
    moved = shift(torch.cos(2 * torch.pi * 3 * rows / 32), (0.5, 0.0))
    assert_close(moved, torch.cos(2 * torch.pi * 3 * (rows - 0.5) / 32), atol=1e-5, rtol=0)


def test_one_pass_gives_the_network_a_flipped_image_and_turns_its_output_back() -> None:
    slices = image()
    assert_close(one_pass(slices, lambda x: x[:, :1, :, :1].expand(-1, -1, -1, 23), (-1,), (0, 0))[..., 0],
                 slices[:, :1, :, -1])  # fmt: skip
