# SPDX-License-Identifier: Apache-2.0
"""Random acquisitions: a pure function of their numbers, within their ranges, and cheap."""

from dataclasses import replace

import pytest
import torch

from bundle.acquisition import scan
from bundle.acquisition.family import N_UNIFORM, ScannerFamily, Uniform
from bundle.kspace import zero_fill

REGION = (10, 4, 32, 32)
FAMILY = ScannerFamily()


@pytest.fixture(scope="module")
def image() -> torch.Tensor:
    rows, columns = torch.meshgrid(torch.linspace(-1, 1, 60), torch.linspace(-1, 1, 50), indexing="ij")
    head = ((rows**2 + columns**2) < 0.8).float()
    return head * (0.4 + 0.2 * torch.sin(9 * rows) * torch.cos(7 * columns))


def draws(count: int, seed: int = 0) -> list[torch.Tensor]:
    return list(torch.rand(count, N_UNIFORM, generator=torch.Generator().manual_seed(seed)))


def test_draw_is_a_function_of_its_numbers(image: torch.Tensor) -> None:
    for row in draws(20):
        torch.testing.assert_close(
            *(scan(image, FAMILY.acquisition(image, Uniform(row)), REGION) for _ in range(2)), rtol=0, atol=0
        )
        pair = (image, image.flip(0))
        torch.testing.assert_close(*(FAMILY.reference(pair, REGION, Uniform(row)) for _ in range(2)), rtol=0, atol=0)


def test_no_draw_runs_out_of_numbers_or_leaves_the_scale(image: torch.Tensor) -> None:
    for row in draws(600):
        uniform = Uniform(row)
        low_res = scan(image, FAMILY.acquisition(image, uniform), REGION)
        reference = FAMILY.reference((image, image.flip(0)), REGION, uniform)
        assert low_res.shape == reference.shape == (32, 32)
        assert torch.isfinite(low_res).all()
        assert torch.isfinite(reference).all()
        assert float(low_res.min()) > -0.3
        assert float(low_res.max()) < 1.2


def test_clean_draws_are_zero_filling(image: torch.Tensor) -> None:
    clean = replace(FAMILY, clean=1.0)
    lows = torch.stack([scan(image, clean.acquisition(image, Uniform(row))) for row in draws(40)])
    fills = torch.stack([zero_fill(image, f) for f in (2.0, 3.0, 4.0)])
    nearest = (lows[:, None] - fills).abs().amax((2, 3)).amin(1)
    assert 0.4 < float((nearest < 1e-5).float().mean()) < 0.75  # 0.7 of the 0.8 that are alike on both axes


def test_shares_of_references_are_as_asked_for(image: torch.Tensor) -> None:
    rows = draws(400, 1)
    plain = replace(FAMILY, no_reference=0.12, partial_reference=0.0)
    absent = [not plain.reference((image, image), REGION, Uniform(row)).any() for row in rows]
    assert sum(absent) / 400 == pytest.approx(0.12, abs=0.04)
    ended = replace(FAMILY, no_reference=0.0, partial_reference=1.0, remapped_reference=0.0)
    for row in rows[:50]:
        found = ended.reference((image, image), REGION, Uniform(row))
        empty = (found == 0).all(0).sum() + (found == 0).all(1).sum()
        assert empty >= 2


def test_reference_without_changes_is_the_slice_itself(image: torch.Tensor) -> None:
    same = replace(FAMILY, no_reference=0.0, partial_reference=0.0, remapped_reference=0.0, wrong_reference=0.0)
    found = [same.reference((image, 0 * image), REGION, Uniform(row)) for row in draws(60)]
    equal = [torch.equal(one, image[10:42, 4:36]) for one in found]
    assert 0.1 < sum(equal) / 60 < 0.45  # neither aside, blurred nor noisy: 0.5 * 0.7 * 0.7
