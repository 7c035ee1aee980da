# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bundle.drawing.slice_choice import Box
from bundle.kspace import kept_block, project
from bundle.pages.residual import kspace_residual, measured_block


def noise(shape=(24, 30), seed=0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def projected(image: np.ndarray, *factors: float) -> np.ndarray:
    return project(torch.from_numpy(image)[None], *factors)[0].numpy()


@given(st.integers(2, 70), st.integers(2, 70), st.sampled_from([1.5, 2, 3, 4]))
def test_block_is_where_zero_filling_keeps_k_space(height, width, factor) -> None:
    n_measured = tuple(max(1, round(n / factor)) for n in (height, width))
    block = measured_block((height, width), n_measured)
    for start, size, full, kept in zip(block[:2], block[2:], (height, width), n_measured, strict=True):
        assert (start, start + size) == kept_block(full, full / kept)


def test_equal_images_have_no_residual() -> None:
    found = kspace_residual(noise(), noise(), Box(6, 7, 12, 15))
    assert not found.share.any()
    assert found.inside == 0


@pytest.mark.parametrize("shape", [(48, 60), (49, 61)])
def test_output_that_keeps_the_measurement_is_dark_inside_the_block_and_bright_outside(shape) -> None:
    output = noise(shape)
    measured = projected(output, 2)
    block = measured_block(shape, (round(shape[0] / 2), round(shape[1] / 2)))
    share = kspace_residual(measured, output, block).share
    inner = share[block.top + 4 : block.top + block.height - 4, block.left + 4 : block.left + block.width - 4]
    assert inner.max() < 1e-3
    assert share[: block.top - 3].min() > 0.999
    assert share[:, block.left + block.width + 3 :].min() > 0.999


def test_numbers_are_those_of_parseval() -> None:
    output = noise((26, 39))  # 13 of 26 and of 39: odd blocks are symmetric, so P keeps just what is in them
    measured = projected(output, 2, 3)
    found = kspace_residual(1.1 * measured, output, measured_block((26, 39), (13, 13)))
    assert found.inside == pytest.approx(0.1 / 1.1, abs=1e-4)
    assert found.added == pytest.approx(np.linalg.norm(output - measured) / np.linalg.norm(output), abs=1e-4)


def test_neighbours_are_found_across_the_border_of_k_space() -> None:
    row = np.tile(np.array([[1.0], [-1.0]], dtype=np.float32), (8, 16))  # the highest frequency alone
    share = kspace_residual(np.zeros_like(row), row, None).share
    assert np.flatnonzero(share[:, 8]).tolist() == [0, 1, 2, 14, 15]


def test_unknown_block_leaves_the_picture_without_numbers() -> None:
    found = kspace_residual(noise(), noise(seed=1), None)
    assert found.inside == found.added == 0
    assert found.share.shape == (24, 30)


@pytest.mark.parametrize("value", [0, np.nan, np.inf])
def test_black_and_missing_slices_have_no_residual(value) -> None:
    output = np.full((16, 16), value, np.float32)
    found = kspace_residual(np.zeros((16, 16), np.float32), output, Box(4, 4, 8, 8))
    assert not found.share.any()
    assert found.inside == found.added == 0
