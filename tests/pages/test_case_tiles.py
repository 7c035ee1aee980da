# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace
from itertools import permutations, product

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from bundle.drawing.case_slices import CaseSlices
from bundle.drawing.tile import Tile
from bundle.keys import HIGH_RES, INTERVAL, LOW_RES, PRED, REFERENCE
from bundle.kspace import project
from bundle.pages.case_page import DIFFERENCE_LIMIT, case_tiles, with_scores
from bundle.pages.template import painted

MINUS = "\N{MINUS SIGN}"
ALWAYS = ["Input", "Output", f"Output {MINUS} input", "K-space residual"]
SIDES = {0: "RL", 1: "AP", 2: "SI"}


def by_heading(case: CaseSlices, position: int = 0, **changed: np.ndarray) -> dict[str, Tile]:
    """The tiles of a slice, of a case where some images are others."""
    tiles = case_tiles(replace(case, images={**case.images, **changed}))[position]
    return {tile.heading: tile for tile in tiles}


def turned_case(matrix: np.ndarray, shape=(40, 60), factors=(2, 4)) -> CaseSlices:
    """A bright square in the corner of low indices, measured at another factor along each axis."""
    affine = np.eye(4)
    affine[:3, :3] = matrix
    output = 0.01 * np.random.default_rng(0).random((*shape, 2)).astype(np.float32)
    output[3:17, 3:23] += 1
    low_res = project(torch.from_numpy(output).movedim(-1, 0), *factors).movedim(0, -1).numpy()
    n_measured = (shape[0] // factors[0], shape[1] // factors[1])
    return CaseSlices.of({LOW_RES: low_res, PRED: output}, affine, [4, 5], n_measured=n_measured)


@pytest.mark.parametrize(
    ("without", "headings"),
    [
        ([REFERENCE, INTERVAL, HIGH_RES], ALWAYS),
        ([INTERVAL, HIGH_RES], [*ALWAYS[:2], "Reference", *ALWAYS[2:]]),
        ([HIGH_RES, REFERENCE], [*ALWAYS, "Error bars"]),
        ([INTERVAL, REFERENCE], [*ALWAYS, "High-res", f"Output {MINUS} high-res"]),
    ],
)
def test_tiles_are_those_that_the_case_has_images_for(images, without, headings) -> None:
    few = {name: image for name, image in images.images.items() if name not in without}
    assert [tile.heading for tile in case_tiles(replace(images, images=few))[0]] == headings


def test_input_and_output_share_one_grey_window_and_the_reference_has_its_own(images) -> None:
    tiles = by_heading(images, reference=5 * images.images[REFERENCE])
    limit = np.percentile([images.images[LOW_RES], images.images[PRED]], 99.8)
    assert tiles["Input"].scale == tiles["Output"].scale == tiles["High-res"].scale
    assert tiles["Input"].scale.high == pytest.approx(limit)
    assert tiles["Reference"].scale.high > 2 * limit


def test_slices_are_cropped_to_the_head_alike(images) -> None:
    tiles = by_heading(images)
    whole = tiles.pop("K-space residual").image.shape
    assert whole == images.images[PRED].shape[1:]
    ((rows, columns),) = {tile.image.shape for tile in tiles.values()}
    assert rows < whole[0]
    assert columns < whole[1]
    assert tiles["Output"].image.max() == images.images[PRED][0].max()


def test_difference_has_one_scale_whatever_its_size(images) -> None:
    limit = by_heading(images)["Output"].scale.high
    shifted = images.images[PRED] - DIFFERENCE_LIMIT / 2 * limit  # a shift of both would move the window
    tile = by_heading(images, 1, low_res=shifted)[f"Output {MINUS} input"]
    picture = np.asarray(painted(tile.image, tile.scale))
    assert np.abs(np.median(picture, axis=(0, 1)) - [0xD9, 0x70, 0x1A]).max() < 12
    assert tile.scale.ends == (f"{MINUS}20%", "+20%")


def test_k_space_marks_the_measured_block(images) -> None:
    tile = by_heading(images)["K-space residual"]
    assert tile.mark == (10, 12, 20, 24)
    assert "in the box" in tile.caption
    unknown = by_heading(replace(images, n_measured=None))["K-space residual"]
    assert (unknown.mark, unknown.caption) == (None, "")


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("signs", list(product((-1, 1), repeat=2)))
def test_measured_block_is_the_dark_part_of_k_space_however_slices_are_turned(order, signs) -> None:
    matrix = np.eye(3)[:, list(order)] * np.array([*signs, 1]) * np.array([0.5, 0.8, 3])
    tile = by_heading(turned_case(matrix))["K-space residual"]
    share, block = tile.image, tile.mark
    assert block is not None
    assert sorted((block.height, block.width)) == [15, 20]
    assert block.crop(share)[5:-5, 5:-5].max() < 0.01
    outside = np.ones(share.shape, dtype=bool)
    outside[block.top - 3 : block.top + block.height + 3, block.left - 3 : block.left + block.width + 3] = False
    assert share[outside].min() > 0.99


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("signs", list(product((-1, 1), repeat=2)))
def test_sides_name_where_the_patient_is(order, signs) -> None:
    case = turned_case(np.eye(3)[:, list(order)] * np.array([*signs, 1]))
    image = case.images[PRED][0]
    bright = np.argwhere(image > 0.5).mean(axis=0) / image.shape
    for at_low_end, side in zip(bright < 0.5, (case.sides[1], case.sides[0]), strict=True):
        world = next(axis for axis, letters in SIDES.items() if side in letters)
        voxel = order.index(world)
        towards_high_world = {"R": 1, "L": 0, "A": 1, "P": 0, "S": 1, "I": 0}[side]
        at_high_world = signs[voxel] < 0  # the square lies at low indices
        assert bool(at_low_end) == (bool(towards_high_world) == at_high_world)


def test_scores_are_those_of_whole_slices(images) -> None:
    truth, output = images.images[HIGH_RES][1], images.images[PRED][1]
    found = with_scores(images).scores[1][PRED]
    assert found["psnr"] == pytest.approx(peak_signal_noise_ratio(truth, output, data_range=1), abs=1e-3)
    assert found["ssim"] == pytest.approx(structural_similarity(truth, output, data_range=1), abs=1e-3)
    caption = by_heading(with_scores(images), 1)[f"Output {MINUS} high-res"].caption
    assert caption.endswith(f"; output {found['psnr']:.2f} dB, SSIM {found['ssim']:.3f}")


def test_scores_need_a_ground_truth(images) -> None:
    few = {name: image for name, image in images.images.items() if name != HIGH_RES}
    assert with_scores(replace(images, images=few)).scores == ()


def test_every_tile_is_described_in_words(images) -> None:
    for index, tiles in zip(images.slices, case_tiles(images), strict=True):
        assert len({tile.description for tile in tiles}) == len(tiles)
        assert all(f"Slice {index}" in tile.description for tile in tiles)


def test_missing_values_do_not_keep_slices_from_being_drawn(images) -> None:
    pred, low_res = images.images[PRED].copy(), images.images[LOW_RES].copy()
    pred[:, :5], low_res[:, 5:9] = np.nan, np.inf
    for tile in by_heading(images, pred=pred, low_res=low_res).values():
        painted(tile.image, tile.scale)
