# SPDX-License-Identifier: Apache-2.0
"""Statistics of scores against worked examples, scipy, and what defines them."""

import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from bundle.metrics.score_text import Spread
from bundle.studies.statistics import (
    Interval,
    bootstrap_interval,
    holm,
    interval_text,
    signed_rank,
    subject_means,
    summarise,
)


def sample(*groups: list[float]) -> pd.Series:
    """Return the scores of subjects A, B, C ..., a list each."""
    names = [chr(ord("A") + number) for number, group in enumerate(groups) for _ in group]
    index = pd.Index(names, name="subject", dtype=object)
    return pd.Series([value for group in groups for value in group], index, dtype=float)


def of_subjects(values: list[float]) -> pd.Series:
    return sample(*([value] for value in values))


def test_summary_counts_each_subject_once_and_each_slice_once() -> None:
    summary = summarise(sample([1.0, 2.0, 6.0], [7.0]))
    assert summary.subjects == Spread(5.0, pytest.approx(math.sqrt(8)), 2)
    assert summary.slices == Spread(4.0, pytest.approx(math.sqrt(26 / 3)), 4)


def test_slices_of_a_subject_need_not_stand_together() -> None:
    mixed = sample([1.0, 7.0], [3.0]).iloc[[0, 2, 1]]
    np.testing.assert_array_equal(subject_means(mixed), [4, 3])


def test_summary_of_nothing_is_empty() -> None:
    summary = summarise(sample())
    assert (summary.subjects.n, summary.slices.n, summary.interval) == (0, 0, None)


@pytest.mark.parametrize(("n_subjects", "over"), [(4, "slices"), (5, "subjects")])
def test_interval_says_what_was_resampled(n_subjects: int, over: str) -> None:
    interval = bootstrap_interval(sample(*([float(number), number + 1.0] for number in range(n_subjects))))
    assert interval is not None
    assert interval.over == over


def test_interval_over_subjects_equals_scipys() -> None:
    values = np.random.default_rng(3).normal(30, 2, 12)
    ours = bootstrap_interval(of_subjects(list(values)), 40_000)
    theirs = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=40_000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert ours is not None
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.03)  # of a width of 2.2


def test_interval_over_subjects_says_nothing_of_their_slices() -> None:
    assert bootstrap_interval(sample(*[[0.0, 60.0]] * 5)) == Interval(30, 30, "subjects")


def test_interval_over_slices_equals_the_normal_one_of_the_strata() -> None:
    # Resampling within subjects: the variance of the mean of subject means is the sum of s^2 / n over strata / 4.
    random = np.random.default_rng(0)
    groups = [list(random.normal(20, 1, 200)), list(random.normal(30, 3, 100))]
    interval = bootstrap_interval(sample(*groups))
    error = math.sqrt(sum(np.var(group) / len(group) for group in groups)) / 2
    middle = np.mean([np.mean(group) for group in groups])
    assert interval == Interval(
        pytest.approx(middle - 1.96 * error, abs=0.01), pytest.approx(middle + 1.96 * error, abs=0.01), "slices"
    )


def test_interval_covers_the_true_mean_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    n, covered = 400, 0
    for _ in range(n):
        interval = bootstrap_interval(of_subjects(list(random.normal(0, 1, 24))), 400)
        assert interval is not None
        covered += interval.low <= 0 <= interval.high
    assert 0.90 <= covered / n <= 0.97  # percentile intervals of 24 are a little narrow


@given(st.lists(st.lists(st.floats(0, 60), min_size=2, max_size=5), min_size=1, max_size=7), st.floats(-9, 9))
def test_interval_lies_within_the_scores_and_moves_with_them(groups: list[list[float]], shift: float) -> None:
    scores = sample(*groups)
    interval = bootstrap_interval(scores, 200)
    moved = bootstrap_interval(scores + shift, 200)
    assert interval is not None
    assert moved is not None
    assert scores.min() - 1e-9 <= interval.low <= interval.high <= scores.max() + 1e-9
    assert (moved.low, moved.high) == pytest.approx((interval.low + shift, interval.high + shift), abs=1e-9)


def test_interval_is_the_same_each_time_whatever_came_before() -> None:
    scores = sample([1.0, 4.0, 2.0], [3.0, 9.0])
    first = bootstrap_interval(scores)
    np.random.default_rng().random(9)
    assert bootstrap_interval(scores) == first


@pytest.mark.parametrize("groups", [[[5.0]], [[1.0, 2.0], [3.0]], [[1.0], [2.0], [3.0]]])
def test_interval_is_left_out_where_a_subjects_only_slice_cannot_be_resampled(groups: list[list[float]]) -> None:
    assert bootstrap_interval(sample(*groups)) is None


def test_interval_is_printed_with_the_digits_of_its_metric() -> None:
    assert interval_text(Interval(0.9012, 0.95, "subjects"), "ssim") == " [0.901, 0.950]"
    assert interval_text(Interval(30, 31.234, "slices"), "psnr") == " [30.00, 31.23]\N{DAGGER}"
    assert interval_text(None, "psnr") == ""


def test_signed_rank_test_of_six_gains_of_six_is_one_in_32() -> None:
    # All 2^6 assignments of signs are equally likely; two of them are as extreme.
    test = signed_rank(of_subjects([0.1, 0.3, 0.2, 0.7, 0.5, 0.4]))
    assert (test.p, test.n, test.over) == (pytest.approx(2 / 64), 6, "subjects")


def test_signed_rank_test_of_darwins_maize_is_the_known_one() -> None:
    # scipy's documentation of wilcoxon (1.17): statistic 24, p-value 0.041259765625.
    differences = [6, 8, 14, 16, 23, 24, 28, 29, 41, -48, 49, 56, 60, -67, 75]
    assert signed_rank(of_subjects(differences)).p == pytest.approx(0.04125976, abs=1e-7)


def test_signed_rank_test_of_few_subjects_is_over_slices() -> None:
    test = signed_rank(sample([1.0, 2.0, 3.5], [0.5, 0.7], [4.0]))
    assert (test.p, test.n, test.over) == (pytest.approx(2 / 64), 6, "slices")


def test_signed_rank_test_over_subjects_uses_their_means() -> None:
    groups = [[number + 1.0, number + 2.0, -0.5] for number in range(7)]
    assert signed_rank(sample(*groups)).p == pytest.approx(2 / 2**7)


def test_signed_rank_test_of_equal_rows_finds_nothing() -> None:
    assert signed_rank(of_subjects([0.0] * 8)).p == 1


def test_signed_rank_test_of_nothing_has_no_p() -> None:
    test = signed_rank(sample())
    assert test.n == 0
    assert math.isnan(test.p)


def test_holm_adjusts_a_worked_example() -> None:
    # 0.005 x 4, 0.01 x 3, 0.03 x 2, and 0.04 x 1 raised to the one before.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_counts_only_the_tests_that_were_made() -> None:
    adjusted = holm([math.nan, 0.04, 0.01])
    assert math.isnan(adjusted[0])
    assert adjusted[1:] == pytest.approx([0.04, 0.02])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_lies_between_no_correction_and_bonferronis_and_keeps_the_order(p: list[float]) -> None:
    adjusted = np.array(holm(p))
    assert (adjusted >= np.array(p) - 1e-12).all()
    assert (adjusted <= np.minimum(len(p) * np.array(p), 1) + 1e-12).all()
    assert adjusted.max() <= 1
    order = np.argsort(p, kind="stable")
    assert (np.diff(adjusted[order]) >= 0).all()
    assert adjusted[order[0]] == pytest.approx(min(len(p) * min(p), 1))
    # Rejecting where adjusted <= level is Holm's stepping down: stop at the first p > level / (m - k + 1).
    for level in (0.01, 0.05, 0.2):
        steps = [p[place] * (len(p) - rank) <= level for rank, place in enumerate(order)]
        n_rejected = steps.index(False) if False in steps else len(steps)
        assert (adjusted <= level).sum() == n_rejected
