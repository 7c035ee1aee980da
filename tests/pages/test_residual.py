# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bundle.drawing.slice_choice import Box
from bundle.kspace import kept_block, project
from bundle.pages.residual import KspaceResidual, measured_block


def noise(shape=(24, 30, 2), seed=0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def projected(stack: np.ndarray, factor: float) -> np.ndarray:
    return project(torch.from_numpy(stack).movedim(-1, 0), factor).movedim(0, -1).numpy()


@given(st.integers(2, 70), st.integers(2, 70), st.sampled_from([1.5, 2, 3, 4]))
def test_block_is_where_zero_filling_keeps_k_space(height, width, factor) -> None:
    n_measured = tuple(max(1, round(n / factor)) for n in (height, width))
    block = measured_block((height, width), n_measured)
    for start, size, full, kept in zip(block[:2], block[2:], (height, width), n_measured, strict=True):
        assert (start, start + size) == kept_block(full, full / kept)


def test_equal_images_have_no_residual() -> None:
    stack = noise()
    found = KspaceResidual.of(stack, stack, Box(6, 7, 12, 15))
    assert not found.share.any()
    assert found.inside == (0, 0)


@pytest.mark.parametrize("shape", [(48, 60, 2), (49, 61, 1)])
def test_output_that_keeps_the_measurement_is_dark_inside_the_block_and_bright_outside(shape) -> None:
    output = noise(shape)
    measured = projected(output, 2)
    block = measured_block(shape[:2], (round(shape[0] / 2), round(shape[1] / 2)))
    share = KspaceResidual.of(measured, output, block).share
    inner = share[block.top + 4 : block.top + block.height - 4, block.left + 4 : block.left + block.width - 4]
    assert inner.max() < 1e-3
    assert share[: block.top - 3].min() > 0.999
    assert share[:, block.left + block.width + 3 :].min() > 0.999


def test_numbers_are_those_of_parseval() -> None:
    output = noise((26, 39, 1))  # 13 of 26 and of 39: odd blocks are symmetric, so P keeps just what is in them
    low_res = torch.from_numpy(output).movedim(-1, 0)
    measured = project(low_res, 2, 3).movedim(0, -1).numpy()
    block = measured_block((26, 39), (13, 13))
    found = KspaceResidual.of(1.1 * measured, output, block)
    assert found.inside[0] == pytest.approx(0.1 / 1.1, abs=1e-4)
    added = np.linalg.norm(output - measured) / np.linalg.norm(output)
    assert found.added[0] == pytest.approx(added, abs=1e-4)


def test_neighbours_are_found_across_the_border_of_k_space() -> None:
    row = np.tile(np.array([[1.0], [-1.0]], dtype=np.float32), (8, 16))[..., None]  # the highest frequency alone
    share = KspaceResidual.of(np.zeros_like(row), row, None).share[..., 0]
    assert np.flatnonzero(share[:, 8]).tolist() == [0, 1, 2, 14, 15]


def test_unknown_block_leaves_the_picture_without_numbers() -> None:
    found = KspaceResidual.of(noise(), noise(seed=1), None)
    assert found.inside == found.added == ()
    assert found.share.shape == (24, 30, 2)


def test_black_and_missing_slices_have_no_residual() -> None:
    low_res, output = np.zeros((16, 16, 2), np.float32), np.zeros((16, 16, 2), np.float32)
    output[..., 1] = np.nan
    found = KspaceResidual.of(low_res, output, Box(4, 4, 8, 8))
    assert not found.share.any()
    assert found.inside == found.added == (0, 0)
