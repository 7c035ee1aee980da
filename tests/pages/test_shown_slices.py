# SPDX-License-Identifier: Apache-2.0
from itertools import permutations, product

import numpy as np
import pytest
import torch

from bundle.keys import LOW_RES, PRED, REFERENCE
from bundle.kspace import project
from bundle.pages.shown_slices import CaseImages, ShownSlices

SIDES = {0: "RL", 1: "AP", 2: "SI"}


def case(matrix: np.ndarray, shape=(40, 60), factors=(2, 4)) -> CaseImages:
    """A bright square in the corner of low indices, measured at another factor along each axis."""
    affine = np.eye(4)
    affine[:3, :3] = matrix
    output = 0.01 * np.random.default_rng(0).random((*shape, 2)).astype(np.float32)
    output[3:17, 3:23] += 1
    slices = torch.from_numpy(output).movedim(-1, 0)
    low_res = project(slices, *factors).movedim(0, -1).numpy()
    n_measured = (shape[0] // factors[0], shape[1] // factors[1])
    return CaseImages({LOW_RES: low_res, PRED: output, REFERENCE: output}, affine, [4, 5], n_measured)


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("signs", list(product((-1, 1), repeat=2)))
def test_measured_block_is_the_dark_part_of_k_space_however_slices_are_turned(order, signs) -> None:
    matrix = np.eye(3)[:, list(order)] * np.array([*signs, 1]) * np.array([0.5, 0.8, 3])
    shown = ShownSlices.of(case(matrix))
    share, block = shown.residual.share[..., 0], shown.block
    assert block is not None
    assert sorted((block.height, block.width)) == [15, 20]
    assert block.crop(share)[5:-5, 5:-5].max() < 0.01
    outside = np.ones(share.shape, dtype=bool)
    outside[block.top - 3 : block.top + block.height + 3, block.left - 3 : block.left + block.width + 3] = False
    assert share[outside].min() > 0.99


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("signs", list(product((-1, 1), repeat=2)))
def test_sides_name_where_the_patient_is(order, signs) -> None:
    matrix = np.eye(3)[:, list(order)] * np.array([*signs, 1])
    shown = ShownSlices.of(case(matrix))
    bright = np.argwhere(shown.whole[PRED][..., 0] > 0.5).mean(axis=0) / shown.whole[PRED].shape[:2]
    for at_low_end, side in zip(bright < 0.5, (shown.sides[1], shown.sides[0]), strict=True):
        world = next(axis for axis, letters in SIDES.items() if side in letters)
        voxel = order.index(world)
        towards_high_world = {"R": 1, "L": 0, "A": 1, "P": 0, "S": 1, "I": 0}[side]
        at_high_world = signs[voxel] < 0  # the square lies at low indices
        assert bool(at_low_end) == (bool(towards_high_world) == at_high_world)


def test_pixels_keep_the_proportions_of_voxels(images) -> None:
    assert ShownSlices.of(images).aspect == pytest.approx(0.8 / 0.5)


def test_slices_are_cropped_to_the_head_alike(images) -> None:
    shown = ShownSlices.of(images)
    shapes = {volume.shape for volume in shown.images.values()}
    assert len(shapes) == 1
    rows, columns, _ = shapes.pop()
    assert rows < shown.whole[PRED].shape[0]
    assert columns < shown.whole[PRED].shape[1]
    assert all(volume.max() == shown.whole[key].max() for key, volume in shown.images.items())


def test_unknown_measurement_leaves_out_the_block(volumes) -> None:
    shown = ShownSlices.of(CaseImages(volumes, np.eye(4), [0, 1, 2]))
    assert shown.block is None
    assert shown.residual.inside == ()
