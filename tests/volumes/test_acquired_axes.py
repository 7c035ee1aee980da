# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import numpy as np
import pytest
import torch

from bundle.acquisition import KSpaceAxis
from bundle.data.reading import read_volume
from bundle.phantom.scanner import simulate_subject
from bundle.volumes.acquired_axes import estimate_axes, find_knee

SPINE = Path("/work/shared/data/spine/sub-S01_T2w.nii.gz")
SPACING = (1.0, 1.0)


def some_of(volume: np.ndarray) -> np.ndarray:
    middle = volume.shape[-1] // 2
    return volume[..., max(middle - 4, 0) : middle + 4]


@pytest.fixture(scope="module")
def phantom() -> dict[str, np.ndarray]:
    """Return the 8 middle slices (H, W, 8) of each contrast of one subject."""
    return {contrast: some_of(np.asarray(voxels, np.float64)) for contrast, voxels in simulate_subject(1, 0)[0].items()}


def acquired(slices: np.ndarray, rows: KSpaceAxis, columns: KSpaceAxis, noise: float = 0) -> np.ndarray:
    """Return the magnitude of slices (H, W, D), as integers are stored."""
    random = np.random.default_rng(0)
    channels = noise * slices.max() * rows.factor * random.standard_normal((2, *slices.shape))
    response = torch.fft.ifftshift(rows.response()[:, None] * columns.response()).numpy()[..., None]
    k_space = np.fft.fft2(slices + channels[0] + 1j * channels[1], axes=(0, 1)) * response
    return np.abs(np.fft.ifft2(k_space, axes=(0, 1))).round().astype(np.float32)


def low_res(slices: np.ndarray, factor: float, *window, noise: float = 0, partial: float = 1.0) -> np.ndarray:
    rows, columns = (KSpaceAxis(n, factor, *window) for n in slices.shape[:2])
    if partial < 1:
        rows = KSpaceAxis(slices.shape[0], factor, partial=partial)
    return acquired(slices, rows, columns, noise)


@pytest.mark.parametrize(
    "window",
    [("box",), ("hann",), ("hamming",), ("tukey", 0.5), ("tukey", 0.25), ("fermi", 0.1), ("gaussian", 1.0)],
)
@pytest.mark.parametrize("factor", [2, 3, 4])
def test_factor_is_found_under_every_window(phantom, window, factor) -> None:
    for estimate in estimate_axes(low_res(phantom["T2w"], factor, *window), SPACING):
        assert estimate.factor == pytest.approx(factor, rel=0.1)
        assert abs(estimate.factor / factor - 1) <= 2 * estimate.deviation
        assert estimate.is_sure


@pytest.mark.parametrize("options", [{"noise": 0.03}, {"partial": 0.75}])
def test_factor_is_found_in_noise_and_partial_fourier(phantom, options) -> None:
    for estimate in estimate_axes(low_res(phantom["T2w"], 4, **options), SPACING):
        assert estimate.factor == pytest.approx(4, rel=0.05)


def test_axes_are_estimated_apart(phantom) -> None:
    height, width = phantom["T2w"].shape[:2]
    slices = acquired(phantom["T2w"], KSpaceAxis(height, 2, "hann"), KSpaceAxis(width, 3.5))
    rows, columns = estimate_axes(slices, SPACING)
    assert rows.factor == pytest.approx(2, rel=0.1)
    assert columns.factor == pytest.approx(3.5, rel=0.02)
    assert (columns.window, rows.window) != ("box", "box")


def test_sharp_end_without_a_fade_is_a_box(phantom) -> None:
    assert [axis.window for axis in estimate_axes(low_res(phantom["T2w"], 4), SPACING)] == ["box", "box"]


@pytest.mark.parametrize("contrast", ["T1w", "T2w"])
def test_full_resolution_is_factor_one_and_sure(phantom, contrast) -> None:
    for estimate in estimate_axes(phantom[contrast].astype(np.float32), SPACING):
        assert (estimate.factor, estimate.window, estimate.deviation) == (1, "box", 0)


def test_narrow_view_that_was_filled_up_counts_its_own_samples(phantom) -> None:
    whole = phantom["T2w"]
    quarter = whole.shape[1] // 4
    narrow = low_res(whole[:, quarter:-quarter], 3)
    filled = np.zeros(whole.shape, np.float32)
    filled[:, quarter:-quarter] = narrow
    _, columns = estimate_axes(filled, SPACING)
    assert columns.size == whole.shape[1]
    assert columns.factor == pytest.approx(3, rel=0.05)


def test_header_speaks_where_the_image_shows_nothing(phantom) -> None:
    height, width = phantom["T2w"].shape[:2]
    slices = acquired(phantom["T2w"], KSpaceAxis(height, 4), KSpaceAxis(width, 1))
    facts = {"AcquisitionMatrix": [0, round(width / 1.6), round(height / 4), 0]}
    rows, columns = estimate_axes(slices, SPACING, facts=facts)
    assert (rows.source, columns.source) == ("image", "header")
    assert columns.factor == pytest.approx(1.6, rel=0.01)
    assert rows.factor == pytest.approx(4, rel=0.02)


def test_header_that_disagrees_makes_an_estimate_unsure(phantom) -> None:
    height, width = phantom["T2w"].shape[:2]
    facts = {"AcquisitionMatrix": [round(height / 2), 0, 0, round(width / 2)]}
    for estimate in estimate_axes(low_res(phantom["T2w"], 4), SPACING, facts=facts):
        assert estimate.factor == pytest.approx(4, rel=0.02)
        assert not estimate.is_sure


def test_lines_of_partial_fourier_are_those_of_the_whole_block(phantom) -> None:
    height, width = phantom["T2w"].shape[:2]
    slices = low_res(phantom["T2w"], 4, partial=0.75)
    facts = {"AcquisitionMatrix": [0, width // 4, round(0.75 * height / 4), 0], "PartialFourier": 0.75}
    assert all(axis.is_sure for axis in estimate_axes(slices, SPACING, facts=facts))


def test_reference_of_full_resolution_leaves_a_full_target_full(phantom) -> None:
    slices, reference = (phantom[contrast].astype(np.float32) for contrast in ("T2w", "T1w"))
    assert [axis.factor for axis in estimate_axes(slices, SPACING, reference, SPACING)] == [1, 1]


def test_weak_end_in_noise_counts_where_the_reference_goes_on(phantom) -> None:
    slices, reference = low_res(phantom["T2w"], 2, noise=0.3), phantom["T1w"].astype(np.float32)
    assert estimate_axes(slices, SPACING)[0].factor == 1
    rows, _ = estimate_axes(slices, SPACING, reference, SPACING)
    assert (rows.source, rows.factor) == ("reference", pytest.approx(2, rel=0.1))
    same, _ = estimate_axes(slices, SPACING, slices, SPACING)
    assert same.factor == 1  # the reference ends there too


def test_peak_beyond_the_block_is_no_knee() -> None:
    level = np.concatenate([-np.linspace(0, 30, 40), np.full(60, -50.0)])
    level[80:84] += 20
    knee = find_knee(level, 6)
    assert knee is not None
    assert (knee.last, knee.is_sharp) == (pytest.approx(39, abs=1), True)


@pytest.mark.skipif(not SPINE.exists(), reason="the shared spine volume is absent")
def test_spine_has_the_samples_of_its_scan() -> None:
    voxels = read_volume(SPINE).voxels  # 288 rows, 156 columns of a view that is 0.7 as wide
    for estimate, factor in zip(estimate_axes(voxels, (0.68, 0.68)), (512 / 288, 512 * 0.7 / 156), strict=True):
        assert estimate.factor == pytest.approx(factor, rel=0.1)
