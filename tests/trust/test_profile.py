# SPDX-License-Identifier: Apache-2.0
import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundle.phantom.scanner import rician
from bundle.trust.profile import LEVELS, Profile, edge_agreement, profile

SPACING = (0.9, 0.8, 3.0)


def measured(target: np.ndarray, reference: np.ndarray | None) -> Profile:
    found = profile(target, reference, SPACING)
    assert found is not None
    return found


def test_profile_states_the_grid_as_it_is(head) -> None:
    found = measured(head["T2w"], head["T1w"])
    assert (found.spacing, found.slice_distance, found.matrix) == ((0.9, 0.8), 3.0, (96, 80))


@given(scale=st.floats(1e-3, 1e4), other=st.floats(1e-3, 1e4))
@settings(deadline=None, max_examples=10)
def test_nothing_but_the_intensity_scale_differs_nothing_in_the_profile_does(head, scale, other) -> None:
    one, two = (
        vars(measured(a * head["T2w"], b * head["T1w"])) for a, b in ((1, 1), (np.float32(scale), np.float32(other)))
    )
    for name, value in one.items():
        assert two[name] == pytest.approx(value, rel=1e-3, abs=1e-4), name


def test_fluid_is_bright_in_the_target_alone(head) -> None:
    found = measured(head["T2w"], head["T1w"])
    assert found.target_fluid == pytest.approx(3, rel=0.1)  # 0.9 over 0.3
    assert found.reference_fluid == pytest.approx(1.1, abs=0.05)


def test_histogram_of_even_tissue_is_flat_at_its_mean(head) -> None:
    even = (head["T2w"] > 0).astype(np.float32)
    assert measured(even, None).target_histogram == pytest.approx([1.0] * len(LEVELS))


@pytest.mark.parametrize("noise", [0.02, 0.05, 0.1])
def test_noise_is_found_in_air_and_between_neighbours(head, noise) -> None:
    level = noise * float(np.median(head["T1w"][head["T1w"] > 0.3]))
    target, reference = (rician(head[key], level, np.random.default_rng(1)) for key in ("T2w", "T1w"))
    found = measured(target, reference)
    assert found.reference_noise == pytest.approx(noise, rel=0.15)
    # the lower quartile of a Rayleigh distribution is 0.76 sd; fluid-free tissue of this T2w has half the signal
    assert found.target_noise == pytest.approx(
        0.76 * level / float(np.median(head["T2w"][head["T2w"] > 0.15])), rel=0.15
    )


def test_an_image_without_air_has_no_noise_of_air(head) -> None:
    assert measured(head["T2w"][30:66, 25:55] + 0.1, None).target_noise is None


def test_edges_of_two_contrasts_of_one_head_agree_and_those_of_two_heads_do_not(head) -> None:
    target, reference = head["T2w"], head["T1w"]
    assert measured(target, reference).edge_agreement > 0.9
    assert measured(target, reference[::-1].copy()).edge_agreement < 0.72
    assert measured(target, np.roll(reference, 6, axis=1)).edge_agreement < 0.72


def test_edges_running_along_each_other_agree_whatever_their_sign_and_crossing_edges_do_not() -> None:
    along = np.sin(np.arange(64.0) / 3)[None, :, None] * np.ones((1, 1, 64))
    everywhere = np.ones((1, 64, 64), dtype=bool)
    assert edge_agreement(along, -2 * along, everywhere) == pytest.approx(1, abs=1e-6)
    assert edge_agreement(along, along.transpose(0, 2, 1), everywhere) == pytest.approx(0, abs=1e-3)


def test_too_few_edges_say_nothing() -> None:
    flat = np.zeros((1, 64, 64))
    assert edge_agreement(flat, flat, np.ones(flat.shape, dtype=bool)) is None


@pytest.mark.parametrize("reference", [None, np.zeros((96, 80, 8), dtype=np.float32)])
def test_without_a_reference_only_the_target_is_measured(head, reference) -> None:
    found = measured(head["T2w"], reference)
    assert dataclasses.replace(found, reference_histogram=None) == found
    assert found.reference_fluid is found.reference_noise is found.edge_agreement is None


def test_a_volume_without_tissue_has_no_profile() -> None:
    assert profile(np.zeros((20, 20, 3), dtype=np.float32), None, SPACING) is None


@pytest.mark.parametrize("shape", [(17, 18, 1), (31, 20, 2)])
def test_small_volumes_can_be_measured(shape) -> None:
    volumes = np.random.default_rng(0).random((2, *shape), dtype=np.float32)
    assert measured(*volumes).matrix == shape[:2]
