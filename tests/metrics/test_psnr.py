# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio

from bundle.metrics import psnr

SHAPES = [(1, 1), (7, 8), (17, 32), (64, 64), (181, 217)]


def random_pair(n: int, height: int, width: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    reference = torch.rand(n, 1, height, width, generator=generator)
    return reference, reference + 0.1 * torch.randn(n, 1, height, width, generator=generator)


def test_psnr_of_a_constant_offset_is_minus_twenty_times_its_logarithm() -> None:
    offsets = torch.tensor([0.1, 0.01, 0.5], dtype=torch.float64)
    reference = torch.full((3, 1, 8, 9), 0.25, dtype=torch.float64)
    expected = torch.tensor([20.0, 40.0, 20 * math.log10(2)], dtype=torch.float64)
    torch.testing.assert_close(psnr(reference, reference + offsets[:, None, None, None]), expected, atol=1e-9, rtol=0)


def test_psnr_takes_the_peak_as_one_whatever_the_maxima() -> None:
    reference = torch.zeros(1, 1, 4, 4)
    distorted = torch.full((1, 1, 4, 4), 0.1)
    assert psnr(reference, distorted).item() == pytest.approx(20.0, abs=1e-6)
    assert psnr(distorted, reference).item() == pytest.approx(20.0, abs=1e-6)


@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_psnr_equals_scikit_image_with_data_range_one(height: int, width: int) -> None:
    reference, distorted = random_pair(2, height, width)
    expected = [
        peak_signal_noise_ratio(x.double().numpy(), y.double().numpy(), data_range=1)
        for x, y in zip(reference, distorted, strict=True)
    ]
    torch.testing.assert_close(psnr(reference, distorted), torch.tensor(expected, dtype=torch.float64))


def test_psnr_of_identical_slices_is_infinite() -> None:
    reference, _ = random_pair(2, 9, 8)
    assert torch.isposinf(psnr(reference, reference.clone())).all()


def test_psnr_of_nan_is_nan() -> None:
    reference, distorted = random_pair(2, 9, 8)
    distorted[1, 0, 3, 3] = math.nan
    scores = psnr(reference, distorted)
    assert torch.isfinite(scores[0])
    assert torch.isnan(scores[1])


def test_psnr_is_computed_in_double_precision_without_gradient() -> None:
    reference, distorted = random_pair(1, 9, 8)
    scores = psnr(reference.bfloat16(), distorted.requires_grad_())
    assert scores.dtype == torch.float64
    assert not scores.requires_grad


@given(st.integers(1, 20), st.integers(1, 20), st.floats(0.01, 1.0), st.integers(0, 1000))
def test_psnr_rises_by_twenty_times_the_logarithm_as_the_error_shrinks(
    height: int, width: int, scale: float, seed: int
) -> None:
    reference, distorted = (image.double() for image in random_pair(2, height, width, seed))
    shrunk = reference + scale * (distorted - reference)
    expected = psnr(reference, distorted) - 20 * math.log10(scale)
    torch.testing.assert_close(psnr(reference, shrunk), expected, atol=1e-6, rtol=0)


@given(st.integers(1, 20), st.integers(1, 20), st.integers(0, 1000))
def test_psnr_scores_each_slice_by_itself_in_either_order(height: int, width: int, seed: int) -> None:
    reference, distorted = random_pair(3, height, width, seed)
    scores = psnr(reference, distorted)
    torch.testing.assert_close(psnr(distorted, reference), scores)
    torch.testing.assert_close(psnr(reference[1:2], distorted[1:2]), scores[1:2])
    torch.testing.assert_close(psnr(reference.transpose(-1, -2), distorted.transpose(-1, -2)), scores)
