# SPDX-License-Identifier: Apache-2.0
import time
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from bundle.kspace import block_mask, zero_fill
from bundle.volumes.geometry import through_plane_axis
from bundle.volumes.measured_block import OccupiedAxis, find_edge, occupied_block, power_profile


def head(height: int, width: int, depth: int = 8, seed: int = 0) -> np.ndarray:
    """Return slices like a head's: tissue borders, texture whose spectrum falls with the frequency, noise, air."""
    random = np.random.default_rng(seed)
    rows, columns = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    tissue = (rows**2 / 0.7 + columns**2 / 0.6 < 1)[..., None]
    folds = np.sign(gaussian_filter(random.standard_normal((height, width, depth)), (3, 3, 0)))
    noise = 8 * random.standard_normal((height, width, depth))
    return np.abs(tissue * (600 + 200 * folds) + noise).astype(np.float32)


def degraded(volume: np.ndarray, factors: tuple[float, float], magnitude: bool = True) -> np.ndarray:
    slices = torch.from_numpy(volume.astype(np.float64)).movedim(-1, 0)
    low_res = zero_fill(slices, factors[0], magnitude, factors[1]).movedim(0, -1)
    return low_res.round().float().numpy()  # as integers are stored


def n_paired(n_kept: int, magnitude: bool) -> int:
    """Return how many of the kept samples are in a real part, which has lost the unpaired one."""
    return n_kept if magnitude else n_kept - (n_kept + 1) % 2


@pytest.mark.parametrize("shape", [(128, 160), (129, 150), (181, 127)])
@pytest.mark.parametrize("factors", [(2, 2), (3, 3), (4, 4), (4, 2), (1, 2), (2.5, 1)])
@pytest.mark.parametrize("magnitude", [True, False])
def test_block_of_zero_filled_slices_is_found_to_the_sample(shape, factors, magnitude) -> None:
    for found, size, factor in zip(
        occupied_block(degraded(head(*shape), factors, magnitude)), shape, factors, strict=True
    ):
        assert found.kept == (size if factor == 1 else n_paired(round(size / factor), magnitude))
        assert found.found == (factor != 1)


@pytest.mark.parametrize("kept", range(40, 56))
def test_even_and_odd_blocks_are_told_apart(kept) -> None:
    slices = degraded(head(160, 128), (160 / kept, 1))
    assert occupied_block(slices)[0].kept == kept


@pytest.mark.parametrize("shape", [(128, 160), (129, 150), (48, 40), (20, 17)])
def test_full_resolution_is_full(shape) -> None:
    assert [axis.found for axis in occupied_block(head(*shape))] == [False, False]


@pytest.mark.parametrize("sigma", [0.7, 1.0, 1.5])
def test_a_smooth_image_has_no_edge(sigma) -> None:
    smooth = gaussian_filter(head(181, 217), (sigma, sigma, 0)).round()
    assert [axis.found for axis in occupied_block(smooth)] == [False, False]


@pytest.mark.parametrize("phase", [0.5, 1.0])
def test_an_object_with_phase_moves_the_edge_by_two_samples_at_most(phase) -> None:
    """A scanner's echo is never quite centred: the block is shifted, and magnitudes have symmetric spectra."""
    volume = torch.from_numpy(head(160, 128)).movedim(-1, 0)
    ramp = torch.linspace(-1, 1, 160)[:, None]
    k_space = torch.fft.fft2(volume * torch.exp(1j * phase * (ramp + 0.5 * ramp**2)))
    rows, columns = (torch.fft.ifftshift(block_mask(n, 4)) for n in (160, 128))
    measured = torch.fft.ifft2(k_space * (rows[:, None] & columns)).abs().round().movedim(0, -1)
    found = occupied_block(measured.numpy())
    assert abs(found[0].kept - 40) <= 2
    assert found[1].kept == 32


def test_noise_of_the_scanner_is_part_of_what_was_measured() -> None:
    """Complex noise inside the block alone, a tenth of the tissue after zero-filling."""
    generator = torch.Generator().manual_seed(0)
    volume = torch.from_numpy(head(160, 128)).movedim(-1, 0)
    noise = torch.randn(2, *volume.shape, generator=generator) * 600 * 0.1 * 4
    k_space = torch.fft.fft2(volume + torch.complex(noise[0], noise[1]))
    rows, columns = (torch.fft.ifftshift(block_mask(n, 4)) for n in (160, 128))
    measured = torch.fft.ifft2(k_space * (rows[:, None] & columns)).abs().round().movedim(0, -1)
    assert [axis.kept for axis in occupied_block(measured.numpy())] == [40, 32]


def test_slices_of_air_are_passed_over_however_many() -> None:
    padded = np.zeros((128, 128, 300), np.float32)
    padded[..., 2:10] = degraded(head(128, 128, 8), (4, 4))
    assert [axis.kept for axis in occupied_block(padded)] == [32, 32]


def test_power_profile_is_that_of_two_dimensional_k_space() -> None:
    slices = head(48, 41, 3)
    k_space = np.abs(np.fft.fft2(slices, axes=(0, 1))) ** 2
    np.testing.assert_allclose(power_profile(slices, 0), k_space.mean((1, 2))[:24] / 41, rtol=1e-4)
    np.testing.assert_allclose(power_profile(slices, 1), k_space.mean((0, 2))[:21] / 48, rtol=1e-4)


def test_drop_is_in_decibels_beyond_the_slope() -> None:
    frequency = np.arange(100)
    level = 60 - 0.3 * frequency - 12 * (frequency > 40)
    found = find_edge(10 ** (level / 10), 200)
    assert (found.size, found.kept) == (200, 81)
    assert found.drop_db == pytest.approx(12)
    assert found.factor == pytest.approx(200 / 81)


def test_a_second_edge_at_twice_the_frequency_is_not_that_of_the_block() -> None:
    """Magnitudes of objects with phase have one, where the spectrum of their square ends."""
    frequency = np.arange(100)
    found = find_edge(10 ** ((60 - 6 * (frequency > 20) - 8 * (frequency > 41)) / 10), 200)
    assert (found.kept, found.drop_db) == (41, pytest.approx(6))
    elsewhere = find_edge(10 ** ((60 - 6 * (frequency > 20) - 8 * (frequency > 70)) / 10), 200)
    assert elsewhere.kept == 141


def test_a_step_too_small_for_an_edge_is_none_but_told() -> None:
    level = 60 - 3 * (np.arange(100) > 40)
    found = find_edge(10 ** (level / 10), 200)
    assert found == OccupiedAxis(200, 200, pytest.approx(3))
    assert found.factor == 1


def volumes(folder: Path) -> list[Path]:
    """Return real and simulated volumes that were measured at full resolution, of BrainWeb's twelve subjects two."""
    names = ("brainweb_sim", "ixi_slices", "open_ms", "open_ms_mni", "open_ms_native")
    images = [path for name in names for path in sorted((folder / name).glob("*.nii.gz"))]
    return [path for path in images if "label" not in path.name and ("BW" not in path.name or path.name[6] == "0")]


def slices_of(path: Path) -> np.ndarray:
    image = nib.load(path)
    axis = through_plane_axis(image.header.get_zooms()[:3], image.shape)
    return np.moveaxis(image.get_fdata(dtype=np.float32), axis, -1)


@pytest.mark.long
@pytest.mark.parametrize("change", [lambda volume: volume, lambda volume: degraded(volume, (4, 2))])
def test_every_full_volume_is_found_full_and_its_zero_filled_one_is_found(shared_data: Path, change: Callable) -> None:
    for path in volumes(shared_data):
        volume = slices_of(path)
        changed = change(volume)
        expected = [round(n / f) for n, f in zip(volume.shape, (4, 2), strict=False)]
        kept = [axis.kept for axis in occupied_block(changed)]
        assert kept == (list(volume.shape[:2]) if changed is volume else expected), path.name


def test_real_volumes_are_told_apart(shared_data: Path) -> None:
    for name in ("open_ms/sub-L12_ses-1_T2w", "open_ms_mni/sub-C19_T2w", "ixi_slices/sub-IXI_T2w"):
        volume = slices_of(shared_data / f"{name}.nii.gz")
        volume = volume[..., volume.shape[-1] // 2 - 4 :][..., :8]
        assert [axis.kept for axis in occupied_block(volume)] == list(volume.shape[:2])
        found = occupied_block(degraded(volume, (4, 3)))
        assert [axis.kept for axis in found] == [round(volume.shape[0] / 4), round(volume.shape[1] / 3)]


def test_looking_takes_less_than_two_seconds() -> None:
    volume = np.random.default_rng(0).random((348, 384, 44), dtype=np.float32)
    start = time.process_time()
    occupied_block(volume)
    assert time.process_time() - start < 2
