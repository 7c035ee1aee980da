# SPDX-License-Identifier: Apache-2.0
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from bundle.acquisition import KSpaceAxis
from bundle.data.reading import read_volume
from bundle.phantom.scanner import simulate_subject
from bundle.volumes.acquired_axes import estimate_axes, find_knee

SPACING = (1.0, 1.0)


def head(height: int, width: int, depth: int = 8, seed: int = 0) -> np.ndarray:
    """Return slices like a head's: tissue borders, texture whose spectrum falls with the frequency, noise, air."""
    random = np.random.default_rng(seed)
    rows, columns = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    tissue = (rows**2 / 0.7 + columns**2 / 0.6 < 1)[..., None]
    folds = np.sign(gaussian_filter(random.standard_normal((height, width, depth)), (3, 3, 0)))
    noise = 8 * random.standard_normal((height, width, depth))
    return np.abs(tissue * (600 + 200 * folds) + noise).astype(np.float32)


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
    fields = {"AcquisitionMatrix": [round(width / 1.6), round(height / 4)]}
    rows, columns = estimate_axes(slices, SPACING, fields=fields)
    assert (rows.source, columns.source) == ("image", "header")
    assert columns.factor == pytest.approx(1.6, rel=0.01)
    assert rows.factor == pytest.approx(4, rel=0.02)


def test_header_that_disagrees_makes_an_estimate_unsure(phantom) -> None:
    height, width = phantom["T2w"].shape[:2]
    fields = {"AcquisitionMatrix": [round(height / 2), round(width / 2)]}
    for estimate in estimate_axes(low_res(phantom["T2w"], 4), SPACING, fields=fields):
        assert estimate.factor == pytest.approx(4, rel=0.02)
        assert not estimate.is_sure


def test_lines_of_partial_fourier_are_those_of_the_whole_block(phantom) -> None:
    height, width = phantom["T2w"].shape[:2]
    slices = low_res(phantom["T2w"], 4, partial=0.75)
    fields = {"AcquisitionMatrix": [width // 4, round(0.75 * height / 4)], "PartialFourier": [0.75]}
    assert all(axis.is_sure for axis in estimate_axes(slices, SPACING, fields=fields))


@pytest.mark.parametrize("sigma", [0.7, 1.0])
def test_a_smooth_image_has_no_end(sigma) -> None:
    smooth = gaussian_filter(head(181, 217), (sigma, sigma, 0)).round()
    assert [axis.factor for axis in estimate_axes(smooth, SPACING)] == [1, 1]


def test_a_small_matrix_is_open_unless_its_end_is_sharp() -> None:
    """Few frequencies make rough spectra, which bend by chance."""
    for seed in range(20):
        assert [axis.factor for axis in estimate_axes(head(48, 40, seed=seed), SPACING)] == [1, 1]
    slices = head(72, 64)
    ends = acquired(slices, KSpaceAxis(72, 2), KSpaceAxis(64, 2))
    assert [axis.factor for axis in estimate_axes(ends, SPACING)] == pytest.approx([2, 2], rel=0.05)


def test_a_weak_bend_leaves_it_open_and_puts_nothing_back(phantom) -> None:
    rows, _ = estimate_axes(low_res(phantom["T2w"], 2, noise=0.3), SPACING)
    assert (rows.factor, rows.window, rows.is_sure) == (1, None, False)


@pytest.mark.parametrize("factors", [(2, 2), (3, 3), (4, 4), (4, 2), (2.5, 1)])
def test_block_without_a_window_is_found_to_the_sample(factors) -> None:
    slices = head(128, 160)
    found = estimate_axes(acquired(slices, *map(KSpaceAxis, (128, 160), factors)), SPACING)
    assert [axis.measured for axis in found] == [round(n / f) for n, f in zip((128, 160), factors, strict=True)]


def test_looking_takes_less_than_two_seconds() -> None:
    volume = np.random.default_rng(0).random((348, 384, 44), dtype=np.float32)
    start = time.process_time()
    estimate_axes(volume, SPACING)
    assert time.process_time() - start < 2


def test_peak_beyond_the_block_is_no_knee() -> None:
    level = np.concatenate([-np.linspace(0, 30, 40), np.full(60, -50.0)])
    level[80:84] += 20
    knee = find_knee(level, 6)
    assert knee is not None
    assert (knee.last, knee.is_sharp) == (pytest.approx(39, abs=1), True)


def test_spine_has_the_samples_of_its_scan(shared_data: Path) -> None:
    """288 rows, and 156 columns that cover 0.7 of the stored width."""
    voxels = read_volume(shared_data / "spine" / "sub-S01_T2w.nii.gz").voxels
    for estimate, factor in zip(estimate_axes(voxels, (0.68, 0.68)), (512 / 288, 512 * 0.7 / 156), strict=True):
        assert estimate.factor == pytest.approx(factor, rel=0.1)
