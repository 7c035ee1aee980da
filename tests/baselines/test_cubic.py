# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import CubicSpline
from scipy.ndimage import map_coordinates
from torch.testing import assert_close

from bundle.baselines import Cubic
from bundle.baselines.unguided import measured_samples
from bundle.kspace import kept_block, zero_fill
from bundle.metrics import psnr


def waves(height: int, width: int) -> torch.Tensor:
    """A function of few periods, sampled from voxel 0: Tensor (1, 1, H, W) in [0, 1], float64."""
    rows = torch.arange(height, dtype=torch.float64)[:, None] / height
    columns = torch.arange(width, dtype=torch.float64) / width
    image = torch.cos(2 * np.pi * (rows + 0.1)) + torch.sin(2 * np.pi * (2 * columns - rows))
    return (0.5 + 0.2 * image)[None, None]


def with_reference(low_res: torch.Tensor) -> torch.Tensor:
    return torch.cat((low_res, torch.zeros_like(low_res)), dim=1)


@pytest.mark.parametrize(
    ("height", "width", "factor"), [(64, 64, 2), (60, 72, 3), (64, 48, 4), (61, 75, 3), (66, 50, 4)]
)
def test_cubic_follows_a_smooth_function_and_half_pixel_centres_do_not(height, width, factor) -> None:
    truth = waves(height, width)
    aligned = Cubic(factor)(with_reference(zero_fill(truth, factor, magnitude=False)))
    small = measured_samples(zero_fill(truth, factor, magnitude=False), factor)[0, 0].numpy()
    centres = np.meshgrid(
        *((np.arange(n) + 0.5) * m / n - 0.5 for n, m in zip((height, width), small.shape, strict=True)), indexing="ij"
    )
    shifted = torch.from_numpy(map_coordinates(small, centres, order=3, mode="grid-wrap"))[None, None]
    assert psnr(truth, aligned) > 50
    assert psnr(truth, shifted) < psnr(truth, aligned) - 15


@given(height=st.integers(8, 40), width=st.integers(8, 40), factor=st.sampled_from([1, 1.5, 2, 3, 4]))
@settings(deadline=None)
def test_cubic_is_scipys_periodic_spline_on_both_axes(height, width, factor) -> None:
    low_res = torch.rand(1, 1, height, width, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = measured_samples(low_res, factor)[0, 0].numpy()
    for axis, size in enumerate((height, width)):
        kept = expected.shape[axis]
        closed = np.concatenate([expected, expected.take([0], axis)], axis)
        spline = CubicSpline(np.arange(kept + 1), closed, axis=axis, bc_type="periodic")
        expected = spline(np.arange(size) * kept / size)
    assert_close(Cubic(factor)(with_reference(low_res))[0, 0].numpy(), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("magnitude", [False, True])
def test_measured_samples_are_every_factor_th_voxel_where_the_factor_divides_the_size(magnitude) -> None:
    image = torch.rand(2, 1, 24, 36, dtype=torch.float64)
    low_res = zero_fill(image, 3, magnitude)
    assert_close(measured_samples(low_res, 3), low_res[..., ::3, ::3])


@given(height=st.integers(8, 40), width=st.integers(8, 40), factor=st.sampled_from([1, 1.5, 2, 3, 4]))
@settings(deadline=None)
def test_measured_samples_have_the_measured_k_space_and_mean_intensity(height, width, factor) -> None:
    image = torch.rand(1, 1, height, width, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    low_res = zero_fill(image, factor, magnitude=False)
    small = measured_samples(low_res, factor)
    kept = [stop - start for start, stop in (kept_block(n, factor) for n in (height, width))]
    assert list(small.shape[-2:]) == kept
    assert_close(small.mean(), image.mean())
    whole, cropped = (torch.fft.fft2(x, norm="forward")[0, 0] for x in (low_res, small))
    within = [(n - 1) // 2 for n in kept]  # the frequencies that have a partner
    assert_close(cropped[: within[0] + 1, : within[1] + 1], whole[: within[0] + 1, : within[1] + 1])


def test_cubic_of_a_constant_is_that_constant() -> None:
    assert_close(Cubic(3)(torch.full((1, 2, 20, 25), 0.7)), torch.full((1, 1, 20, 25), 0.7))
