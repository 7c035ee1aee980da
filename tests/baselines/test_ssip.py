# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch
from torch.testing import assert_close

from bundle.baselines import SSIP
from bundle.baselines.guided import guided_average
from bundle.kspace import zero_fill
from bundle.metrics import psnr


def written_out_average(image: torch.Tensor, reference: torch.Tensor, width: float, k: float) -> torch.Tensor:
    """The definition, pixel by pixel, on images (H, W)."""
    height, columns = image.shape

    def at(array: torch.Tensor, row: int, column: int) -> float:
        return array[row % height, column % columns].item()

    def mean(row: int, column: int) -> float:
        return sum(at(image, row + i, column + j) for i in (-1, 0, 1) for j in (-1, 0, 1)) / 9

    result = torch.zeros_like(image)
    for row in range(height):
        for column in range(columns):
            total = total_weight = 0.0
            for i in range(row - 3, row + 4):
                for j in range(column - 3, column + 4):
                    weight = math.exp(-((at(reference, row, column) - at(reference, i, j)) ** 2) / width**2)
                    weight *= math.exp(-((mean(row, column) - mean(i, j)) ** 2) / (k * width**2))
                    total, total_weight = total + weight * at(image, i, j), total_weight + weight
            result[row, column] = total / total_weight
    return result


def test_guided_average_is_the_definition_written_out() -> None:
    image, reference = torch.rand(2, 7, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    output = guided_average(image[None, None], reference[None, None], width=0.2, k=3)
    assert_close(output[0, 0], written_out_average(image, reference, width=0.2, k=3))


def test_guided_average_mixes_no_regions_that_the_reference_tells_apart() -> None:
    image = torch.rand(1, 1, 12, 16)
    reference = torch.zeros(1, 1, 12, 16)
    reference[..., 4:9] = 1
    averaged = guided_average(image, reference, width=0.05, k=1e12)
    image[..., :4] += 5  # what lies beyond the edge
    assert_close(guided_average(image, reference, width=0.05, k=1e12)[..., 4:9], averaged[..., 4:9])


def test_ssip_restores_regions_whose_edges_the_reference_shows() -> None:
    region = torch.zeros(1, 1, 48, 60)
    region[..., 11:37, 17:43] = 1
    truth, reference = 0.3 + 0.4 * region, 0.8 - 0.5 * region
    low_res = zero_fill(truth, 3)
    output = SSIP(3)(torch.cat((low_res, reference), dim=1))
    assert psnr(truth, output) > psnr(truth, low_res) + 20


def test_ssip_with_larger_k_relies_more_on_the_reference() -> None:
    image = torch.rand(1, 1, 12, 16)
    flat = torch.zeros_like(image)
    spread = [guided_average(image, flat, width=0.05, k=k).std() for k in (0.1, 4, 1000)]
    assert spread[0] > spread[1] > spread[2]


@pytest.mark.parametrize("k", [0, -1, float("nan")])
def test_ssip_refuses_a_k_that_is_not_positive(k) -> None:
    with pytest.raises(ValueError, match="above 0"):
        SSIP(2, k=k)
