# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import mutual_info_score

from bundle.data.reading import read_volume
from bundle.registration import PlacedVolume, agreement
from bundle.registration.agreement import ENOUGH, mutual_information
from bundle.registration.plausibility import SAME_HEAD, SHIFTED

from .conftest import Scan, grid, rigid

SHAPE = (96, 112, 36)
AFFINE = grid((1.8, 1.8, 3.6), SHAPE, (3, -2, 5))


def test_mutual_information_of_independent_variables_is_none() -> None:
    assert mutual_information(np.outer([1, 2, 3], [4, 5])) == pytest.approx(0, abs=1e-12)


def test_mutual_information_of_a_variable_with_itself_is_its_entropy() -> None:
    assert mutual_information(3 * np.eye(8)) == pytest.approx(np.log(8))


def test_mutual_information_of_nothing_is_none() -> None:
    assert mutual_information(np.zeros((4, 4))) == 0


@given(st.integers(0, 100))
def test_mutual_information_is_that_of_scikit_learn(seed: int) -> None:
    first, second = np.random.default_rng(seed).integers(0, 6, (2, 60))
    counts = np.histogram2d(first, second, bins=np.arange(7))[0]
    assert mutual_information(counts) == pytest.approx(mutual_info_score(first, second), abs=1e-9)


@pytest.mark.parametrize("shift", [(0.0, 0.0, 0.0), (3.0, 0.0, 0.0), (0.0, -2.0, 0.0), (1.0, 2.0, -5.0)])
def test_agreement_finds_how_far_the_reference_lies_off(shift: tuple[float, float, float], scan: Scan) -> None:
    axes = AFFINE[:3, :3] / np.linalg.norm(AFFINE[:3, :3], axis=0)
    displaced = rigid((0, 0, 0), tuple(axes @ shift))
    found = agreement(scan("T2w", SHAPE, AFFINE), scan("T1w", SHAPE, AFFINE, displaced))
    assert found is not None
    np.testing.assert_allclose(found.displacement, shift, atol=0.5 if np.count_nonzero(shift) < 2 else 1.0)
    assert found.shift_mm == pytest.approx(np.linalg.norm(found.displacement))
    assert found.sharpness > SAME_HEAD


def test_agreement_of_two_heads_depends_less_on_where_they_lie(scan: Scan) -> None:
    target = scan("T2w", SHAPE, AFFINE)
    same, other = (agreement(target, scan("T1w", SHAPE, AFFINE, person=person)) for person in (0, 1))
    assert same is not None
    assert other is not None
    assert other.sharpness < SAME_HEAD < same.sharpness
    assert other.information < same.information


def test_agreement_says_nothing_of_a_small_head() -> None:
    voxels = np.ones((20, 20, ENOUGH // 400 - 1), dtype=np.float32)
    volume = PlacedVolume(voxels, np.diag([2, 2, 2, 1.0]), "a.nii")
    assert agreement(volume, volume) is None


def test_agreement_of_featureless_volumes_is_none_at_all() -> None:
    volume = PlacedVolume(np.ones((40, 40, 40), dtype=np.float32), np.diag([2, 2, 2, 1.0]), "a.nii")
    found = agreement(volume, volume)
    assert found is not None
    assert (found.information, found.sharpness, found.shift_mm) == (0, 0, 0)


@pytest.mark.parametrize("session", ["L01_ses-2", "L12_ses-1"])
def test_agreement_knows_real_pairs_as_registered_and_another_patient(session: str, shared_data: Path) -> None:
    def volume(path: str) -> PlacedVolume:
        read = read_volume(shared_data / "open_ms" / f"sub-{path}.nii.gz")
        return PlacedVolume(read.voxels, read.affine, path)

    target = volume(f"{session}_T2w")
    same = agreement(target, volume(f"{session}_T1w"))
    another = volume("L03_ses-2_T1w")
    other = agreement(target, PlacedVolume(another.voxels, target.affine, another.name))
    assert same is not None
    assert other is not None
    assert same.shift_mm < SHIFTED / 2
    assert other.sharpness < SAME_HEAD < same.sharpness
