# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from torch.testing import assert_close

from bundle.baselines import SRGR
from bundle.baselines.guided import MAX_SLOPE, RIDGE, regress, sweep
from bundle.kspace import project, zero_fill
from bundle.metrics import psnr


def structure(height: int = 40, width: int = 45, seed: int = 0) -> torch.Tensor:
    image = torch.rand(1, 1, height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return project(image, 1.5).clamp(0, 1)


def written_out_sweep(image: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """The definition, pixel by pixel, on images (H, W)."""
    height, width = image.shape

    def difference(array: torch.Tensor, row: int, column: int, step: tuple[int, int]) -> float:
        after = array[(row + step[0]) % height, (column + step[1]) % width]
        return (after - array[(row - step[0]) % height, (column - step[1]) % width]).item()

    result = torch.zeros_like(image)
    for step in ((1, 0), (0, 1)):
        pixels = [(row, column) for row in range(height) for column in range(width)]
        mean_square = sum(difference(reference, *pixel, step) ** 2 for pixel in pixels) / len(pixels)
        for row, column in pixels:
            window = [(row + i, column + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
            covariance = sum(difference(image, *p, step) * difference(reference, *p, step) for p in window) / 9
            variance = sum(difference(reference, *p, step) ** 2 for p in window) / 9
            slope = covariance / (variance + RIDGE * mean_square)
            slope = min(max(slope, -MAX_SLOPE), MAX_SLOPE)
            for sign in (1, -1):
                other = (row + sign * step[0]) % height, (column + sign * step[1]) % width
                result[row, column] += (image[other] + slope * (reference[row, column] - reference[other])) / 4
    return result


def test_sweep_is_the_definition_written_out() -> None:
    image, reference = torch.rand(2, 7, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert_close(sweep(image[None, None], reference[None, None])[0, 0], written_out_sweep(image, reference))


@pytest.mark.parametrize("slope", [-2.0, 0.3, 1.0])
def test_sweep_leaves_a_target_that_follows_its_reference_nearly_alone(slope) -> None:
    reference = structure()
    target = slope * reference
    blurred = sweep(target, torch.zeros_like(reference))
    assert (sweep(target, reference) - target).std() < 0.1 * (blurred - target).std()


def test_slope_is_clipped() -> None:
    reference = structure()
    across = reference.roll(-1, -1) - reference.roll(1, -1)
    assert_close(regress(50 * across, across), torch.full_like(across, MAX_SLOPE))
    assert_close(regress(-50 * across, across), torch.full_like(across, -MAX_SLOPE))


def test_flat_reference_gives_slope_0_not_nan() -> None:
    image = structure()
    flat = torch.full_like(image, 0.5)
    assert not regress(image, torch.zeros_like(image)).any()
    neighbours = (image.roll(1, -1) + image.roll(-1, -1) + image.roll(1, -2) + image.roll(-1, -2)) / 4
    assert_close(sweep(image, flat), neighbours)


@pytest.mark.parametrize(("factor", "gain"), [(2, 10), (3, 2.5)])
def test_srgr_restores_a_target_that_follows_its_reference(factor, gain) -> None:
    reference = structure()
    target = 0.2 + 0.6 * reference
    low_res = zero_fill(target, factor, magnitude=False)
    output = SRGR(factor, magnitude=False)(torch.cat((low_res, reference), dim=1))
    assert psnr(target, output) > psnr(target, low_res) + gain
