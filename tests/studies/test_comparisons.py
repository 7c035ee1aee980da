# SPDX-License-Identifier: Apache-2.0
"""Paired differences between rows, and whether the order of the paper held."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from bundle.errors import InputError
from bundle.studies.comparisons import Comparison, Difference, compare, least_p
from bundle.studies.scores import StudyScores
from bundle.studies.statistics import SignedRank, holm

Evaluation = Callable[..., Path]
N_SUBJECTS = 8


def scores(gain: float, spread: float = 0.1, consistent: float | None = None) -> dict[tuple[str, int], dict]:
    """Return two slices of each subject; the gain over a low-res of 20 differs from subject to subject."""
    found = {}
    for subject in range(N_SUBJECTS):
        for index in range(2):
            value = 20 + subject + gain + spread * (subject - (N_SUBJECTS - 1) / 2)
            images = {"low_res": [20 + subject], "super_res": [value]}
            found[f"S{subject}", index] = images | ({"super_res_dc": [value + 1]} if consistent else {})
    return found


@pytest.fixture
def study(evaluation: Evaluation) -> StudyScores:
    return StudyScores({
        "best": evaluation("a", scores(3)),
        "good": evaluation("b", scores(2, 0.3, consistent=1.0)),
        "same": evaluation("c", scores(2, 0.9)),
    })  # fmt: skip


def difference(mean: float, p: float, claimed: tuple[str, ...] = ("psnr",), over: str = "subjects") -> Difference:
    return Difference(Comparison("A", "B", claimed), "psnr", 0.288, mean, None, SignedRank(p, 9, over), p)


def test_difference_is_paired_and_over_subjects(study: StudyScores) -> None:
    (found,) = compare(study, [Comparison("best", "good")], {})
    # The gains differ by 1 - 0.2 x (-3.5 ... 3.5): from 1.7 down to 0.3, all of one sign.
    assert found.mean == pytest.approx(1)
    assert found.test == SignedRank(pytest.approx(2 / 2**N_SUBJECTS), N_SUBJECTS, "subjects")
    assert found.interval is not None
    assert 0.3 < found.interval.low < 1 < found.interval.high < 1.7
    assert found.interval.over == "subjects"


def test_low_res_is_the_one_that_the_other_row_was_given(study: StudyScores) -> None:
    first, second = compare(study, [Comparison("best", "LR"), Comparison("LR", "good + DC")], {})
    assert first.mean == pytest.approx(3)
    assert second.mean == pytest.approx(-3)


def test_low_res_of_rows_that_were_given_others_is_that_of_the_partner(evaluation: Evaluation) -> None:
    worse = {key: images | {"low_res": [10]} for key, images in scores(3, spread=0).items()}
    study = StudyScores({"2x": evaluation("a", scores(3)), "4x": evaluation("b", worse)})
    (found,) = compare(study, [Comparison("4x", "LR")], {})
    assert found.mean == pytest.approx(20 + 3.5 + 3 - 10)


def test_output_with_consistency_is_compared_by_its_own_label(study: StudyScores) -> None:
    (found,) = compare(study, [Comparison("good + DC", "good")], {})
    assert found.mean == pytest.approx(1)


def test_p_is_corrected_over_the_pairs_of_a_metric(study: StudyScores) -> None:
    found = compare(study, [Comparison("best", "good"), Comparison("good", "same"), Comparison("best", "LR")], {})
    assert [one.p_holm for one in found] == holm([one.test.p for one in found])
    assert found[0].p_holm == pytest.approx(3 * 2 / 2**N_SUBJECTS)


def test_p_is_corrected_within_a_group_for_what_the_paper_claims(study: StudyScores) -> None:
    pairs = ("best", "good"), ("good", "same"), ("best", "same")
    claims = [Comparison(*pair, ("psnr",), group) for pair, group in zip(pairs, ("2x", "2x", "4x"), strict=True)]
    found = compare(study, [*claims, Comparison("best", "LR", (), "2x")], {})
    p = [one.test.p for one in found]
    assert [one.p_holm for one in found] == [*holm(p[:2]), p[2], p[3]]


def test_comparison_without_scores_is_said_to_have_none_and_does_not_count(evaluation: Evaluation) -> None:
    empty = {key: {"super_res": ["nan"]} for key in scores(1)}
    study = StudyScores({"a": evaluation("a", scores(3)), "b": evaluation("b", empty), "c": evaluation("c", scores(1))})
    missing, there = compare(study, [Comparison("a", "b", ("psnr",)), Comparison("a", "c")], {})
    assert missing.cells()[2:] == ["n/a", "", "n/a", ""]
    assert missing.verdict == ""
    assert there.p_holm == there.test.p


def test_published_difference_stands_beside_ours_where_both_means_are_known(study: StudyScores) -> None:
    published = {name: {"super_res": {"psnr": [mean]}} for name, mean in (("best", 38.513), ("good", 38.225))}
    first, second = compare(study, [Comparison("best", "good"), Comparison("best", "LR")], published)
    assert first.published == pytest.approx(0.288)
    assert first.cells()[3] == "+0.288"
    assert math.isnan(second.published)
    assert second.cells()[3] == ""


@pytest.mark.parametrize(
    ("mean", "p", "claimed", "verdict"),
    [
        (0.3, 0.01, ("psnr",), "held"),
        (-0.3, 0.01, ("psnr",), "not held"),
        (0.3, 0.05, ("psnr",), "not significant"),
        (-0.3, 0.7, ("psnr",), "not significant"),
        (0.3, 0.01, ("ssim",), ""),
        (math.nan, math.nan, ("psnr",), ""),
    ],
)
def test_claim_is_held_against_sign_and_significance(
    mean: float, p: float, claimed: tuple[str, ...], verdict: str
) -> None:
    assert difference(mean, p, claimed).verdict == verdict


@pytest.mark.parametrize(
    ("mean", "verdict"), [(0.3, "same direction\N{DAGGER}"), (-0.3, "opposite direction\N{DAGGER}")]
)
def test_over_slices_of_few_subjects_only_the_direction_is_told(mean: float, verdict: str) -> None:
    assert difference(mean, 0.001, over="slices").verdict == verdict


def test_difference_is_printed_with_one_digit_more_than_its_scores() -> None:
    cells = difference(-0.0444, 0.0123).cells()
    assert cells == [
        "A \N{MINUS SIGN} B",
        "PSNR",
        "-0.044",
        "+0.288",
        "0.012",
        "A > B: not held",
    ]


def test_difference_over_slices_is_marked() -> None:
    assert difference(1, 0.0001, over="slices").cells()[4] == "< 0.001\N{DAGGER}"
    assert difference(1, 0.0001).cells()[4] == "< 0.001"


def test_least_p_is_what_differences_of_one_sign_give_after_correction(study: StudyScores) -> None:
    found = compare(study, [Comparison("best", "LR"), Comparison("good", "LR"), Comparison("same", "LR")], {})
    assert found[0].p_holm == pytest.approx(least_p(found))
    assert least_p([]) == 0


@pytest.mark.parametrize("pair", [("best", "worst"), ("LR", "LR"), ("best + DC ", "LR"), ("LR", "worst")])
def test_comparison_that_is_not_in_the_study_is_refused(study: StudyScores, pair: tuple[str, str]) -> None:
    with pytest.raises(InputError, match="is of no two rows; choose among best, good, same, LR"):
        compare(study, [Comparison(*pair)], {})
