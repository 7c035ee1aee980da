# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from skimage.metrics import structural_similarity

from bundle.metrics import ssim

SHAPES = [(7, 7), (7, 30), (17, 32), (64, 64), (85, 128), (181, 217)]


def random_pair(n: int, height: int, width: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    reference = torch.rand(n, 1, height, width, generator=generator, dtype=torch.float64)
    noise = torch.randn(n, 1, height, width, generator=generator, dtype=torch.float64)
    return reference, reference + 0.2 * noise


def smooth_pair(height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    rows = torch.linspace(0, 3, height, dtype=torch.float64)[:, None]
    columns = torch.linspace(0, 5, width, dtype=torch.float64)[None]
    reference = (0.5 + 0.5 * torch.sin(rows * columns))[None, None]
    return reference, reference.roll(1, dims=-1) * 0.9


def test_ssim_of_two_constants_is_their_luminance_term() -> None:
    first = torch.full((1, 1, 9, 12), 0.5, dtype=torch.float64)
    second = torch.full((1, 1, 9, 12), 0.25, dtype=torch.float64)
    expected = (2 * 0.5 * 0.25 + 0.01**2) / (0.5**2 + 0.25**2 + 0.01**2)
    assert ssim(first, second).item() == pytest.approx(expected, abs=1e-12)


def test_ssim_uses_the_sample_covariance() -> None:
    first = torch.zeros(1, 1, 7, 7, dtype=torch.float64)
    first[0, 0, 3, 3] = 1.0  # One window, one bright pixel: mean 1/49, sample variance (1 - 1/49) / 48 = 1/49.
    mean = variance = 1 / 49
    expected = 0.01**2 / (mean**2 + 0.01**2) * 0.03**2 / (variance + 0.03**2)
    assert ssim(first, torch.zeros_like(first)).item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("height", "width"), SHAPES)
@pytest.mark.parametrize("make", [lambda h, w: random_pair(2, h, w), smooth_pair], ids=["noise", "smooth"])
def test_ssim_equals_scikit_image_with_its_defaults(make, height: int, width: int) -> None:
    reference, distorted = make(height, width)
    expected = [
        structural_similarity(x[0].numpy(), y[0].numpy(), data_range=1)
        for x, y in zip(reference, distorted, strict=True)
    ]
    torch.testing.assert_close(
        ssim(reference, distorted), torch.tensor(expected, dtype=torch.float64), atol=1e-10, rtol=0
    )


def test_ssim_of_single_precision_input_agrees_to_a_millionth() -> None:
    reference, distorted = (image.float() for image in random_pair(2, 65, 40))
    expected = [
        structural_similarity(x[0].double().numpy(), y[0].double().numpy(), data_range=1)
        for x, y in zip(reference, distorted, strict=True)
    ]
    torch.testing.assert_close(
        ssim(reference, distorted), torch.tensor(expected, dtype=torch.float64), atol=1e-6, rtol=0
    )


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_ssim_of_identical_constant_slices_is_one(value: float) -> None:
    constant = torch.full((2, 1, 8, 8), value)
    torch.testing.assert_close(ssim(constant, constant), torch.ones(2, dtype=torch.float64))


def test_ssim_of_nan_is_nan() -> None:
    reference, distorted = random_pair(2, 9, 8)
    distorted[1, 0, 3, 3] = math.nan
    assert torch.isnan(ssim(reference, distorted)).tolist() == [False, True]


@given(st.integers(7, 24), st.integers(7, 24), st.integers(0, 1000))
def test_ssim_is_symmetric_bounded_and_one_of_a_slice_with_itself(height: int, width: int, seed: int) -> None:
    reference, distorted = random_pair(2, height, width, seed)
    scores = ssim(reference, distorted)
    torch.testing.assert_close(ssim(distorted, reference), scores)
    assert (scores < 1).all()
    assert (ssim(reference, 1 - reference) >= -1).all()
    torch.testing.assert_close(ssim(reference, reference), torch.ones(2, dtype=torch.float64))


@given(st.integers(7, 24), st.integers(7, 24), st.integers(0, 1000))
def test_ssim_ignores_flips_transposition_and_the_rest_of_the_batch(height: int, width: int, seed: int) -> None:
    reference, distorted = random_pair(3, height, width, seed)
    scores = ssim(reference, distorted)
    torch.testing.assert_close(ssim(reference.flip(-1), distorted.flip(-1)), scores)
    torch.testing.assert_close(ssim(reference.transpose(-1, -2), distorted.transpose(-1, -2)), scores)
    torch.testing.assert_close(ssim(reference[2:], distorted[2:]), scores[2:])


@given(st.floats(0.01, 0.5), st.integers(0, 1000))
def test_ssim_falls_as_noise_grows(level: float, seed: int) -> None:
    reference, noisy = random_pair(1, 24, 25, seed)
    noise = noisy - reference
    assert ssim(reference, reference + level * noise).item() > ssim(reference, reference + 2 * level * noise).item()


def test_ssim_refuses_a_slice_smaller_than_its_window() -> None:
    with pytest.raises(ValueError, match=r"\(6, 30\) pixels is smaller than SSIM's 7 x 7 window"):
        ssim(torch.zeros(1, 1, 6, 30), torch.zeros(1, 1, 6, 30))
