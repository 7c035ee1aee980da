# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from bundle.volumes.power_spectrum import MAXIMUM_SLICES, count_kept, few_slices, power_level, power_profile


def texture(shape: tuple[int, int, int]) -> np.ndarray:
    return np.random.default_rng(0).random(shape, dtype=np.float32)


def test_power_profile_is_that_of_two_dimensional_k_space() -> None:
    slices = texture((48, 41, 3))
    k_space = np.abs(np.fft.fft2(slices, axes=(0, 1))) ** 2
    np.testing.assert_allclose(power_profile(slices, 0), k_space.mean((1, 2))[:24] / 41, rtol=1e-4)
    np.testing.assert_allclose(power_profile(slices, 1), k_space.mean((0, 2))[:21] / 48, rtol=1e-4)


def test_level_is_in_decibels_down_to_rounding_errors() -> None:
    np.testing.assert_allclose(power_level(np.array([1.0, 0.1, 0.0])), [0, -10, -130], atol=1e-6)


def test_slices_of_air_are_passed_over_however_many() -> None:
    padded = np.zeros((16, 17, 300), np.float32)
    padded[..., 2:10] = texture((16, 17, 8))
    assert np.array_equal(few_slices(padded), padded[..., 2:10])
    assert few_slices(texture((16, 17, 300))).shape == (16, 17, MAXIMUM_SLICES)


@pytest.mark.parametrize("kept", range(30, 46))
def test_even_and_odd_blocks_are_told_apart(kept: int) -> None:
    """The unpaired sample of an even block has half its amplitude in a real image."""
    frequency = np.arange(80)
    level = 60 - 0.2 * frequency - 20 * (frequency > (kept - 1) // 2)
    if kept % 2 == 0:
        level[kept // 2] += 14
    assert count_kept(level, (kept - 1) // 2 + kept % 2) == kept
