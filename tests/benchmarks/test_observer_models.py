# SPDX-License-Identifier: Apache-2.0

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from observer_models import (
    area_under_curve,
    bootstrap_counts,
    cross_fitted_scores,
    crossing,
    fitted_scores,
    hotelling_template,
    interval,
    laguerre_gauss,
    line_pairs,
    long_point,
    point_pair,
    stripe_channels,
    turned,
)
from scipy.special import ndtr
from scipy.stats import mannwhitneyu

SPACING = (0.5, 0.8)
PLACES = turned((121, 91), (60.3, 44.8), 0.7, SPACING)


def moments(image: np.ndarray) -> list[float]:
    """Sum, centre and second moments along and across."""
    along, across = PLACES
    total = image.sum()
    means = [float((image * x).sum() / total) for x in (along, across, along**2, across**2, along * across)]
    return [float(total), *means]


def test_turned_places_are_millimetres_along_and_across_the_direction() -> None:
    along, across = turned((5, 7), (2, 3), np.pi / 2, (2.0, 0.5))
    np.testing.assert_allclose(along[2], 0.5 * (np.arange(7) - 3), atol=1e-12)
    np.testing.assert_allclose(across[:, 3], -2.0 * (np.arange(5) - 2), atol=1e-12)


@given(separation=st.floats(0.5, 8), width=st.floats(2.0, 4.0))
@settings(deadline=None, max_examples=20)
def test_pair_of_points_and_long_point_agree_in_sum_and_second_moments(separation, width) -> None:
    pair, long = (draw(*PLACES, separation, width) for draw in (point_pair, long_point))
    np.testing.assert_allclose(moments(pair), moments(long), rtol=1e-3, atol=1e-3)


def test_pair_of_points_peaks_at_half_its_separation_with_its_width() -> None:
    across = np.zeros(5)
    along = np.array([-5.0, -6.0, -4.0, 5.0, 0.0])
    np.testing.assert_allclose(point_pair(along, across, 10, 2), [1, 0.5, 0.5, 1, 0], atol=1e-7)


def test_pair_without_separation_is_the_long_point() -> None:
    np.testing.assert_allclose(point_pair(*PLACES, 0, 2), long_point(*PLACES, 0, 2), atol=1e-12)


def test_line_pairs_have_their_period_and_the_mean_of_the_spot_without_lines() -> None:
    period, width = 3.0, 12.0
    lines, flat = line_pairs(*PLACES, period, 0.4, width), line_pairs(*PLACES, np.inf, np.pi / 2, width)
    assert lines.sum() == pytest.approx(flat.sum(), rel=1e-3)
    wave = np.exp(2j * np.pi * PLACES[0] / period)
    assert (lines * wave).sum() / flat.sum() == pytest.approx(0.5 * np.exp(-0.4j), abs=1e-3)


def test_laguerre_gauss_channels_are_orthonormal() -> None:
    channels = laguerre_gauss(*PLACES, 12.0, 4, (0, 2, 4)).reshape(12, -1)
    np.testing.assert_allclose(channels @ channels.T, np.eye(12), atol=2e-3)


def test_first_laguerre_gauss_channel_is_a_gaussian() -> None:
    channel = laguerre_gauss(*PLACES, 12.0, 1)[0]
    gaussian = np.exp(-np.pi * (PLACES[0] ** 2 + PLACES[1] ** 2) / 12.0**2)
    np.testing.assert_allclose(channel, gaussian / np.linalg.norm(gaussian), atol=1e-12)


def test_round_channels_are_blind_to_the_direction_and_even_orders_are_not() -> None:
    pair = point_pair(*PLACES, 5, 2)
    turned_pair = point_pair(PLACES[1], PLACES[0], 5, 2)
    round_, even = laguerre_gauss(*PLACES, 9.0, 4), laguerre_gauss(*PLACES, 9.0, 4, (2,))
    difference = pair - turned_pair
    assert np.abs((round_ * difference).sum((1, 2))).max() < 1e-2
    assert np.abs((even * difference).sum((1, 2))).max() > 1


def test_stripe_channel_sees_lines_of_its_period_and_phase_alone() -> None:
    channels = stripe_channels(*PLACES, [3.0, 6.0], 0.4, 12.0)
    np.testing.assert_allclose(np.linalg.norm(channels, axis=(1, 2)), 1)
    contrast = line_pairs(*PLACES, 3.0, 0.4, 12.0) - line_pairs(*PLACES, 3.0, 0.4 + np.pi, 12.0)
    mean, own, other = (channels * contrast).sum((1, 2))
    assert own > 10
    assert abs(mean) < 1e-3 * own
    assert abs(other) < 1e-3 * own


@pytest.mark.parametrize("detectability", [0.5, 1.0, 2.0])
def test_area_of_the_ideal_observer_in_white_noise_is_the_normal_integral_of_its_detectability(detectability) -> None:
    """AUC = Phi(d' / sqrt 2) with d' the norm of the signal over the deviation of the noise."""
    generator = np.random.default_rng(3)
    signal = point_pair(*(x[50:70, 35:55] for x in PLACES), 3, 2)
    signal *= detectability / np.linalg.norm(signal)
    present, absent = generator.normal(size=(2, 4000, *signal.shape))
    scores = [np.tensordot(images, signal, 2) for images in (present + signal, absent)]
    assert area_under_curve(*scores, np.zeros(4000)) == pytest.approx(ndtr(detectability / np.sqrt(2)), abs=0.015)


def test_hotelling_template_prewhitens() -> None:
    """In noise of a known covariance the template is its inverse times the signal, and its area the ideal one."""
    generator = np.random.default_rng(4)
    mixing = np.array([[1.0, 0.0, 0.0], [0.9, 0.5, 0.0], [0.1, -0.4, 2.0]])
    signal = np.array([0.5, 0.2, 1.0])
    first, second = generator.normal(size=(2, 20000, 3)) @ mixing.T + np.stack((signal, 0 * signal))[:, None]
    ideal = np.linalg.solve(mixing @ mixing.T, signal)
    template = hotelling_template(first, second)
    cosine = template @ ideal / np.linalg.norm(template) / np.linalg.norm(ideal)
    assert cosine > 0.98
    detectability = np.sqrt(signal @ ideal)
    area = area_under_curve(first[:4000] @ template, second[:4000] @ template, np.zeros(4000))
    assert area == pytest.approx(ndtr(detectability / np.sqrt(2)), abs=0.015)


def test_fitted_scores_are_centred_and_scaled_by_the_examples() -> None:
    generator = np.random.default_rng(5)
    train = (generator.normal(size=(50, 2)) + 3, generator.normal(size=(60, 2)))
    first, second = fitted_scores(train, *train)
    assert first.mean() + second.mean() == pytest.approx(0, abs=1e-12)
    assert (first.var() + second.var()) / 2 == pytest.approx(1)


def test_area_of_cross_fitted_scores_of_noise_is_not_biased_upward() -> None:
    areas, own = [], []
    for seed in range(40):
        generator = np.random.default_rng(seed)
        train = (generator.normal(size=(60, 8)), generator.normal(size=(60, 8)))
        folds, one = np.arange(60) % 4, np.zeros(60, dtype=int)
        areas.append(area_under_curve(*cross_fitted_scores(train, folds, one, *train), one)[0])
        own.append(area_under_curve(*fitted_scores(train, *train), one)[0])
    assert np.mean(areas) < 0.52
    assert np.mean(own) > 0.6  # what testing on the examples would have said


def test_area_is_the_statistic_of_mann_and_whitney_with_ties() -> None:
    generator = np.random.default_rng(6)
    first, second = generator.integers(0, 9, (2, 40)).astype(float)
    expected = mannwhitneyu(first, second).statistic / 40**2
    assert area_under_curve(first, second, np.zeros(40))[0] == pytest.approx(expected)


def test_cross_fitted_scores_do_not_depend_on_what_all_images_of_a_patient_have_in_common() -> None:
    generator = np.random.default_rng(8)
    train = (generator.normal(size=(40, 3)) + 0.5, generator.normal(size=(40, 3)))
    folds, strata = np.arange(40) % 4, np.arange(40) // 20
    moved = tuple(kind + 7.0 * strata[:, None] for kind in train)
    scores = [cross_fitted_scores(examples, folds, strata, *examples) for examples in (train, moved)]
    np.testing.assert_allclose(scores[0], scores[1], atol=1e-9)


def test_area_compares_images_of_one_patient_alone() -> None:
    generator = np.random.default_rng(9)
    first, second = generator.normal(size=(2, 30))
    strata = np.arange(30) // 15
    parts = [area_under_curve(first[half], second[half], strata[half])[0] for half in (strata == 0, strata == 1)]
    assert area_under_curve(first + 9 * strata, second + 9 * strata, strata)[0] == pytest.approx(np.mean(parts))


def test_area_of_counts_is_that_of_repeated_scores() -> None:
    generator = np.random.default_rng(7)
    first, second = generator.normal(size=(2, 12))
    strata = np.repeat([0, 1], (5, 7))
    counts = bootstrap_counts(strata, 3, seed=0)
    assert (counts[:, :5].sum(1) == 5).all()
    assert (counts[:, 5:].sum(1) == 7).all()
    expected = [area_under_curve(first.repeat(c), second.repeat(c), strata.repeat(c))[0] for c in counts]
    np.testing.assert_allclose(area_under_curve(first, second, strata, counts), expected)


def test_interval_holds_the_true_area_of_most_samples() -> None:
    truth, held = ndtr(1 / np.sqrt(2)), 0
    for seed in range(100):
        first, second = np.random.default_rng(seed).normal(size=(2, 80))
        one = np.zeros(80, dtype=int)
        low, high = interval(area_under_curve(first + 1, second, one, bootstrap_counts(one, 200, seed)))
        held += low <= truth <= high
    assert 88 <= held <= 100


def test_crossing_is_interpolated_after_the_last_size_below_the_level() -> None:
    areas = np.array([[0.5, 0.8, 1.0], [0.95, 0.6, 0.95], [0.9, 0.95, 1.0], [0.5, 0.95, 0.8]])
    np.testing.assert_allclose(crossing([1, 2, 4], areas, 0.9), [3, 2 + 2 * 0.3 / 0.35, 1, np.inf])
