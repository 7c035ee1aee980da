# SPDX-License-Identifier: Apache-2.0
import dataclasses
import re

import numpy as np
import pytest

from bundle.doubts import Doubt
from bundle.registration import Agreement, Registration
from bundle.registration.plausibility import (
    agreement_doubts,
    displacement_doubts,
    is_displaced,
    overlap_doubts,
    registration_doubts,
    registration_failure,
)

GOOD = Registration(np.eye(4), 0.5, 0.7, 1.0, 0.99, 2.0, 5.0, 5.2, "header", 4.0)


def test_a_good_registration_is_believed() -> None:
    assert registration_failure(GOOD) is None
    assert registration_doubts(GOOD) == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"overlap": 0.32}, "only 32% of the head lies in its field of view"),
        ({"metric_end": 0.45}, r"ended worse than it began \(mutual information 0\.450 against 0\.500\)"),
        ({"rotation_degrees": 25.0}, "turn it by 25 degrees and move it by 5 mm, further than a patient moves"),
        ({"shift_mm": 61.0}, "turn it by 2 degrees and move it by 61 mm"),
        ({"shift_mm": 61.0, "start": "moments"}, "move it by 61 mm"),
        ({"rotation_degrees": 25.0, "overlap_start": 0.1, "start": "moments"}, "turn it by 25 degrees"),
    ],
)
def test_a_bad_registration_is_refused_with_its_reason(changes: dict[str, object], reason: str) -> None:
    found = registration_failure(dataclasses.replace(GOOD, **changes))  # type: ignore[arg-type]
    assert found is not None
    assert re.search(reason, found), found


@pytest.mark.parametrize("changes", [{"metric_end": 0.495}, {"rotation_degrees": 19.0}, {"shift_mm": 49.0}])
def test_what_patients_and_samples_do_is_believed(changes: dict[str, float]) -> None:
    assert registration_failure(dataclasses.replace(GOOD, **changes)) is None  # type: ignore[arg-type]


def test_a_shift_between_headers_that_share_no_space_is_believed_and_said() -> None:
    found = dataclasses.replace(GOOD, shift_mm=200.0, overlap_start=0.0, start="moments")
    assert registration_failure(found) is None
    ((doubt, sentence),) = registration_doubts(found)
    assert doubt is Doubt.FAR_APART
    assert "the headers put it 200 mm away" in sentence


def test_a_part_of_the_head_without_reference_is_said() -> None:
    assert overlap_doubts(0.95) == []
    said = "20% of the head lies outside its field of view, where it cannot help"
    assert overlap_doubts(0.8) == [(Doubt.OUTSIDE, said)]
    assert registration_doubts(dataclasses.replace(GOOD, overlap=0.8)) == overlap_doubts(0.8)


@pytest.mark.parametrize(
    ("shift", "information", "sharpness", "doubt", "said"),
    [
        (0.9, 0.5, 0.6, Doubt.DISPLACED, "it looks shifted by about 0.9 mm"),
        (2.4, 0.5, 0.6, Doubt.MISPLACED, "it looks shifted by about 2.4 mm"),
        (0.1, 0.2, 0.1, Doubt.OTHER_PATIENT, "it may be of another patient or misplaced"),
        (9.0, 0.05, 0.6, Doubt.OTHER_PATIENT, "it may be of another patient or misplaced"),
    ],
)
def test_disagreement_is_said(shift: float, information: float, sharpness: float, doubt: Doubt, said: str) -> None:
    found = Agreement(np.array([0, shift, 0]), information, sharpness)
    ((kind, sentence),) = agreement_doubts(found, registered=False)
    assert kind is doubt
    assert sentence.startswith(said)


def test_agreement_is_not_doubted() -> None:
    assert agreement_doubts(Agreement(np.array([0, 0.6, 0]), 0.5, 0.6), registered=False) == []


def test_the_remedy_for_a_shift_is_not_what_was_just_done() -> None:
    shifted = Agreement(np.array([3.0, 0, 0]), 0.5, 0.6)
    assert "--register true" in agreement_doubts(shifted, registered=False)[0][1]
    assert "--register" not in agreement_doubts(shifted, registered=True)[0][1]


@pytest.mark.parametrize(
    ("changes", "displaced"),
    [
        ({"displacement_mm": 0.8}, True),
        ({"displacement_mm": 0.6}, False),
        ({"overlap": 0.2}, False),
        ({"metric_end": 0.05, "metric_start": 0.04}, False),
    ],
)
def test_a_reference_is_displaced_where_a_believed_registration_moves_it(changes: dict, displaced: bool) -> None:
    assert is_displaced(dataclasses.replace(GOOD, **changes)) is displaced


@pytest.mark.parametrize(("displacement", "doubts"), [(0.9, []), (1.5, [Doubt.REGISTERED])])
def test_small_corrections_are_made_without_a_word(displacement: float, doubts: list[Doubt]) -> None:
    told = displacement_doubts(dataclasses.replace(GOOD, displacement_mm=displacement))
    assert [doubt for doubt, _ in told] == doubts
    assert all("it lies 1.5 mm off" in sentence for _, sentence in told)
    outside = dataclasses.replace(GOOD, displacement_mm=displacement, overlap=0.8)
    assert displacement_doubts(outside) == told + overlap_doubts(0.8)
