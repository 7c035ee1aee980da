# SPDX-License-Identifier: Apache-2.0
"""A slice as a scanner shows it: the paper's zero-filling as one member, noise, phase and thick slices."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bundle.acquisition import KSpaceAxis, Scan, SliceAxis, scan
from bundle.kspace import zero_fill


@settings(deadline=None)
@given(st.integers(9, 30), st.integers(9, 30), st.floats(1, 4), st.floats(1, 4))
def test_box_on_both_axes_is_zero_filling(height: int, width: int, factor: float, column_factor: float) -> None:
    image = torch.rand(height, width, dtype=torch.float64)
    found = scan(image, Scan(KSpaceAxis(height, factor), KSpaceAxis(width, column_factor)))
    torch.testing.assert_close(found, zero_fill(image, factor, True, column_factor), atol=1e-12, rtol=0)


@pytest.mark.parametrize("across", [False, True])
def test_region_is_part_of_the_whole(across: bool) -> None:
    image = torch.rand(31, 26)
    rows = SliceAxis(31, 3, 2.5, 1) if across else KSpaceAxis(31, 2, "hann", partial=0.7)
    settings = Scan(rows, KSpaceAxis(26, 1.7), torch.randn(2, 31, 26), torch.rand(31, 26))
    torch.testing.assert_close(scan(image, settings, (5, 7, 16, 12)), scan(image, settings)[5:21, 7:19])


def test_rows_and_columns_are_treated_alike() -> None:
    image, noise, phase = torch.rand(20, 28), torch.randn(2, 20, 28), torch.rand(20, 28)
    axes = SliceAxis(20, 4, 4, 1.5), KSpaceAxis(28, 2.5, "tukey", 0.3)
    # each slice has noise of its own, so that of the turned image is the turned noise
    found = scan(image.mT, Scan(axes[1], axes[0], noise.mT, phase.mT))
    torch.testing.assert_close(found, scan(image, Scan(*axes, noise, phase)).mT)


def test_smooth_phase_hides_behind_the_magnitude_where_all_is_measured() -> None:
    image, phase = torch.rand(16, 17, dtype=torch.float64), torch.rand(16, 17, dtype=torch.float64)
    found = scan(image, Scan(KSpaceAxis(16, 1), KSpaceAxis(17, 1), phase=phase))
    torch.testing.assert_close(found, image)


def test_noise_in_air_is_rayleigh_and_filtered_with_the_block() -> None:
    noise = 0.1 * torch.randn(2, 200, 200, generator=torch.Generator().manual_seed(3))
    found = scan(torch.zeros(200, 200), Scan(KSpaceAxis(200, 2), KSpaceAxis(200, 2), noise))
    # a quarter of the samples keeps a quarter of the variance; the mean of a Rayleigh variable is sd * sqrt(pi / 2)
    assert float(found.mean()) == pytest.approx(0.05 * (torch.pi / 2) ** 0.5, rel=0.03)
