# SPDX-License-Identifier: Apache-2.0
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from nibabel.affines import apply_affine

from bundle import kspace
from bundle.data.reading import read_volume
from bundle.errors import InputError
from bundle.registration import PlacedVolume, Registration, register
from bundle.registration.rigid import displacement_mm

from .conftest import Scan, grid, rigid

TARGET_SHAPE, REFERENCE_SHAPE = (80, 97, 33), (71, 88, 45)
TARGET = grid((2.1, 2.1, 4.2), TARGET_SHAPE, (4, -3, 6))
REFERENCE = grid((-2.4, 2.4, 3.1), REFERENCE_SHAPE, (-7, 2, 1))
"""Left-handed."""
FAR = rigid((3, -2, 4), (200, -150, 90))
CASES = {
    "in place": np.eye(4),
    "moved": rigid((3, -2, 4), (4, -6, 5)),
    "turned": rigid((-9, 6, 5), (0, 0, 0)),
}


def blurred(volume: PlacedVolume, factor: float) -> PlacedVolume:
    low_res = kspace.zero_fill(torch.from_numpy(volume.voxels).movedim(-1, 0), factor).movedim(0, -1)
    return PlacedVolume(low_res.contiguous().numpy(), volume.affine, volume.name)


def error(found: np.ndarray, true: np.ndarray) -> float:
    """Return the mean distance in mm over points of a head."""
    points = np.random.default_rng(0).normal(size=(1000, 3)) * [30, 40, 28]
    return float(np.linalg.norm(apply_affine(found, points) - apply_affine(true, points), axis=1).mean())


@pytest.fixture(scope="module")
def target(scan: Scan) -> PlacedVolume:
    return scan("T2w", TARGET_SHAPE, TARGET)


@pytest.fixture(scope="module")
def moved(scan: Scan, target: PlacedVolume) -> Registration:
    return register(blurred(target, 2), scan("T1w", REFERENCE_SHAPE, REFERENCE, CASES["moved"]))


@pytest.mark.parametrize("name", ["in place", "turned"])
def test_register_finds_a_known_motion(name: str, scan: Scan, target: PlacedVolume) -> None:
    found = register(target, scan("T1w", REFERENCE_SHAPE, REFERENCE, CASES[name]))
    assert error(found.matrix, CASES[name]) < 0.1
    assert found.start == "header"


def test_register_finds_a_known_motion_of_a_zero_filled_target(moved: Registration) -> None:
    assert error(moved.matrix, CASES["moved"]) < 0.1


def test_register_tells_what_it_did(moved: Registration) -> None:
    assert moved.rotation_degrees == pytest.approx(5.42, abs=0.1)  # of turns by 3, -2 and 4 degrees
    assert moved.shift_mm == pytest.approx(np.linalg.norm([4, -6, 5]), abs=1.5)  # the head's centre is near the origin
    assert moved.overlap > 0.99
    assert 1.5 * moved.metric_start < moved.metric_end
    assert moved.seconds > 0
    np.testing.assert_allclose(moved.matrix[:3, :3] @ moved.matrix[:3, :3].T, np.eye(3), atol=1e-9)


def test_register_gives_the_same_result_again_on_any_number_of_threads(
    moved: Registration, scan: Scan, target: PlacedVolume, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "1" if os.cpu_count() != 1 else "2")
    reference = scan("T1w", REFERENCE_SHAPE, REFERENCE, CASES["moved"])
    again = register(blurred(target, 2), reference)
    np.testing.assert_array_equal(again.matrix, moved.matrix)
    assert again.metric_end == moved.metric_end


def test_register_starts_from_the_heads_centres_where_headers_share_no_space(scan: Scan, target: PlacedVolume) -> None:
    found = register(target, scan("T1w", REFERENCE_SHAPE, FAR @ REFERENCE, FAR))
    assert error(found.matrix, FAR) < 0.1
    assert found.start == "moments"
    assert (found.metric_start, found.overlap_start) == (0, 0)
    assert found.shift_mm == pytest.approx(np.linalg.norm([200, -150, 90]), abs=15)


def test_register_refuses_sheared_axes(target: PlacedVolume) -> None:
    sheared = target.affine @ np.array([[1, 0.2, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    with pytest.raises(InputError, match=r"^T1w\.nii\.gz: the voxel axes are \d+\.\d degrees off a right angle"):
        register(target, PlacedVolume(target.voxels, sheared, "T1w.nii.gz"))


def test_displacement_of_a_point_by_a_turn_about_itself_is_none() -> None:
    centre = np.array([10.0, -20, 30])
    matrix = rigid((5, 6, 7), (0, 0, 0))
    matrix[:3, 3] = centre - matrix[:3, :3] @ centre
    assert displacement_mm(matrix, np.array([centre])) == pytest.approx(0, abs=1e-9)


def test_register_finds_a_known_motion_of_real_scans(shared_data: Path) -> None:
    # A motion written into the header of the T1w, on top of the one that is there; the target as low-res as in use.
    paths = [shared_data / f"open_ms_native/sub-L12_ses-1_{contrast}.nii.gz" for contrast in ("T2w", "T1w")]
    volumes = [PlacedVolume(volume.voxels, volume.affine, str(volume.path)) for volume in map(read_volume, paths)]
    target, reference = blurred(volumes[0], 4), volumes[1]
    known = rigid((2, -3, 1), (5, -4, 6))
    as_scanned = register(target, reference)
    moved = register(target, PlacedVolume(reference.voxels, known @ reference.affine, reference.name))
    assert error(moved.matrix, known @ as_scanned.matrix) < 0.3


def test_displacement_is_the_mean_of_the_ways_of_the_points() -> None:
    turn = rigid((0, 0, 180), (0, 0, 1))
    places = np.array([[3.0, 0, 0], [0, 4.0, 0]])  # go to the other side, and up by 1
    assert displacement_mm(turn, places) == pytest.approx((np.hypot(6, 1) + np.hypot(8, 1)) / 2)
