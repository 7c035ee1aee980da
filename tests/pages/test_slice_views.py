# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from bundle.keys import HIGH_RES, LOW_RES, PRED, REFERENCE, UNCERTAINTY
from bundle.pages.shown_slices import ShownSlices
from bundle.pages.slice_views import DIFFERENCE_LIMIT, Frame, scores, slice_views

MINUS = "\N{MINUS SIGN}"


def headings(case, *without: str) -> list[str]:
    volumes = {key: volume for key, volume in case.volumes.items() if key not in without}
    return [tile.heading for tile in slice_views(ShownSlices.of(replace(case, volumes=volumes)))[0].tiles]


def test_tiles_are_those_that_the_case_has_images_for(images) -> None:
    always = ["Input", "Output", f"Output {MINUS} input", "K-space residual"]
    assert headings(images, REFERENCE, UNCERTAINTY, HIGH_RES) == always
    assert headings(images, UNCERTAINTY, HIGH_RES) == [*always[:2], "Reference", *always[2:]]
    assert headings(images, HIGH_RES, REFERENCE) == [*always, "Uncertainty"]
    assert headings(images, UNCERTAINTY, REFERENCE) == [*always, "High-res", f"Output {MINUS} high-res"]


def test_uncertainty_is_shown_of_slices_where_it_is_known(images) -> None:
    known = images.volumes[UNCERTAINTY].copy()
    known[..., [0, 2]] = np.nan
    views = slice_views(ShownSlices.of(replace(images, volumes={**images.volumes, UNCERTAINTY: known})))
    assert [sum(tile.heading == "Uncertainty" for tile in view.tiles) for view in views] == [0, 1, 0]


def test_input_and_output_share_one_grey_window(images, picture_of) -> None:
    shown = ShownSlices.of(images)
    for view, position in zip(slice_views(shown), range(3), strict=True):
        for address, key in ((view.before, LOW_RES), (view.after, PRED)):
            expected = 255 * np.clip(shown.images[key][..., position] / shown.limit, 0, 1)
            assert np.abs(np.asarray(picture_of(address).convert("L")) - expected).mean() < 2


def test_reference_outlines_lie_over_output_and_reference_alone(images) -> None:
    for view in slice_views(ShownSlices.of(images)):
        outlined = {tile.heading: tile.edges for tile in view.tiles if tile.edges}
        assert outlined.keys() == {"Output", "Reference"}
        assert len(set(outlined.values())) == 1


def test_difference_has_one_scale_whatever_its_size(images, picture_of) -> None:
    volumes = dict(images.volumes)
    limit = ShownSlices.of(images).limit
    volumes[LOW_RES] = volumes[PRED] - DIFFERENCE_LIMIT / 2 * limit  # a shift of both would move the window
    shown = ShownSlices.of(replace(images, volumes=volumes))
    tile = next(t for t in slice_views(shown)[1].tiles if t.heading == f"Output {MINUS} input")
    painted = np.asarray(picture_of(tile.picture).convert("RGB"))
    expected = np.array([0xD9, 0x70, 0x1A])
    assert np.abs(np.median(painted, axis=(0, 1)) - expected).max() < 12
    assert (tile.legend.low, tile.legend.high) == (f"{MINUS}20%", "+20%")


def test_k_space_marks_the_measured_block(images) -> None:
    tile = next(t for t in slice_views(ShownSlices.of(images))[0].tiles if t.heading == "K-space residual")
    assert tile.frame == Frame(top=25, left=25, height=50, width=50)
    assert "in the box" in tile.note


def test_scores_are_those_of_whole_slices(images) -> None:
    shown = ShownSlices.of(images)
    truth, output = shown.whole[HIGH_RES][..., 1], shown.whole[PRED][..., 1]
    found = scores(shown, 1)["output"]
    assert found["psnr"] == pytest.approx(peak_signal_noise_ratio(truth, output, data_range=1), abs=1e-3)
    assert found["ssim"] == pytest.approx(structural_similarity(truth, output, data_range=1), abs=1e-3)


def test_scores_need_a_ground_truth(images) -> None:
    volumes = {key: volume for key, volume in images.volumes.items() if key != HIGH_RES}
    assert scores(ShownSlices.of(replace(images, volumes=volumes)), 0) == {}


def test_every_tile_is_described_in_words(images) -> None:
    for view in slice_views(ShownSlices.of(images)):
        assert len({tile.alt for tile in view.tiles}) == len(view.tiles)
        assert all(f"Slice {view.index}" in tile.alt for tile in view.tiles)


def test_missing_values_do_not_keep_slices_from_being_drawn(images) -> None:
    volumes = {key: torch.from_numpy(volume.copy()).numpy() for key, volume in images.volumes.items()}
    volumes[PRED][:5] = np.nan
    volumes[LOW_RES][5:9] = np.inf
    assert len(slice_views(ShownSlices.of(replace(images, volumes=volumes)))) == 3
