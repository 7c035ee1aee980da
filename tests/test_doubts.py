# SPDX-License-Identifier: Apache-2.0
import pytest

from bundle.doubts import Doubt, Verdict, by_gravity


@pytest.mark.parametrize("doubt", Doubt)
def test_a_headline_is_one_sentence_of_at_most_twelve_words(doubt: Doubt) -> None:
    assert len(doubt.headline.split()) <= 12
    assert doubt.headline.endswith(".")
    assert doubt.headline.count(".") == 1


def test_doubts_stand_in_the_order_of_their_verdicts() -> None:
    gravity = list(reversed(Verdict))
    ranks = [gravity.index(doubt.verdict) for doubt in Doubt]
    assert ranks == sorted(ranks)
    assert set(ranks) == {0, 1, 2}


def test_doubts_are_sorted_by_gravity_and_else_as_they_came() -> None:
    told = [(Doubt.NOISE, "b"), (Doubt.BORDER, "x"), (Doubt.NOISE, "a"), (Doubt.SWAPPED, "y")]
    assert by_gravity(told) == [(Doubt.SWAPPED, "y"), (Doubt.NOISE, "b"), (Doubt.NOISE, "a"), (Doubt.BORDER, "x")]
