# SPDX-License-Identifier: Apache-2.0
import dataclasses
import json
import logging
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from bundle.case import Case, RegistrationFinding
from bundle.doubts import Doubt
from bundle.keys import CASE, IMAGE, LOW_RES, REFERENCE
from bundle.trust import InputChecksd
from bundle.trust.input_checks import RULES, warnings_of
from bundle.trust.profile import LEVELS, Profile
from bundle.trust.training_profile import summarise

FLAT = [1.0 + 0.5 * level for level in LEVELS]
USUAL = Profile(
    spacing=(0.6, 0.6),
    slice_distance=3.0,
    matrix=(348, 384),
    target_histogram=FLAT,
    target_fluid=2.0,
    target_noise=0.01,
    reference_histogram=FLAT,
    reference_fluid=1.2,
    reference_noise=0.012,
    edge_agreement=0.85,
)


def like_usual(shift: float = 0.0, **changes: Any) -> Profile:
    histograms = {key: [q + shift for q in FLAT] for key in ("target_histogram", "reference_histogram")}
    return dataclasses.replace(USUAL, **histograms | changes)


SEEN = summarise([like_usual(), like_usual(0.02, spacing=(0.5, 0.5)), like_usual(-0.02, slice_distance=4.0)])


def told(found: Profile, seen: dict[str, Any] | None = None) -> list[str]:
    return [sentence for _, sentence in warnings_of(found, SEEN if seen is None else seen)]


def test_a_case_like_those_of_training_gets_no_warning() -> None:
    assert told(USUAL) == []
    assert told(USUAL, {}) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"spacing": (0.8, 0.6)}, "In-plane voxels are 0.80 mm apart, in training 0.50 to 0.60 mm"),
        ({"spacing": (0.6, 0.4)}, "In-plane voxels are 0.40 mm apart"),
        ({"slice_distance": 5.0}, "Slices are 5.00 mm apart, in training 3.00 to 4.00 mm"),
        ({"target_histogram": [q + 0.1 for q in FLAT]}, "brightness of tissues in the target"),
        ({"reference_histogram": [q + 0.1 for q in FLAT]}, "brightness of tissues in the reference"),
        ({"target_noise": 0.05}, "target is noisier"),
        ({"reference_noise": 0.05}, "reference is noisier"),
        ({"target_fluid": 1.2}, "does not look T2-weighted"),
        ({"target_fluid": 1.2, "reference_fluid": 2.0}, "seem to be swapped"),
        ({"reference_fluid": 2.0}, "reference looks T2-weighted"),
        ({"edge_agreement": 0.6}, "edges of the reference do not run along"),
    ],
)
def test_each_departure_gets_its_own_sentence_with_a_remedy(changes, words) -> None:
    (sentence,) = told(like_usual(**changes))
    assert words in sentence
    assert ";" in sentence or ":" in sentence


@pytest.mark.parametrize(
    "changes",
    [
        {"spacing": (0.7, 0.42)},
        {"slice_distance": 4.7},
        {"target_noise": 0.029},
        {"reference_fluid": 1.5, "target_fluid": 1.7},
        {"edge_agreement": 0.76},
        {"target_noise": None, "edge_agreement": None},
        {"matrix": (512, 1024)},
        {"target_histogram": [q + 0.03 for q in FLAT]},
    ],
)
def test_small_departures_get_none(changes) -> None:
    assert told(like_usual(**changes)) == []


def test_without_statistics_of_training_only_what_needs_none_is_checked() -> None:
    assert told(like_usual(spacing=(9, 9), target_noise=0.5, shift=0.5), {}) == []
    assert len(told(like_usual(target_fluid=1, reference_fluid=2, edge_agreement=0.5), {})) == 2


def test_contrasts_are_right_where_those_of_training_were_the_same() -> None:
    flair = summarise([like_usual(shift, target_fluid=1.2) for shift in (-0.02, 0, 0.02)])
    assert told(like_usual(target_fluid=1.3), flair) == []
    twice = summarise([like_usual(shift, reference_fluid=2.0) for shift in (-0.02, 0, 0.02)])
    assert told(like_usual(reference_fluid=2.1), twice) == []


def test_one_target_of_another_contrast_in_training_silences_no_warning_of_contrasts() -> None:
    mixed = summarise([like_usual(), like_usual(0.02, target_fluid=1.2), like_usual(-0.02)])
    (sentence,) = told(like_usual(target_fluid=1.3), mixed)
    assert "does not look T2-weighted" in sentence
    (sentence,) = told(like_usual(target_fluid=1.3, reference_fluid=2.0), mixed)
    assert "seem to be swapped" in sentence


def test_one_odd_volume_in_training_excuses_no_histogram() -> None:
    odd = summarise([like_usual(), like_usual(0.02), like_usual(0.4)])
    assert odd["target_histogram"]["limit"] > 0.3
    assert told(like_usual(-0.09), odd) == []
    assert len(told(like_usual(-0.12), odd)) == 2  # target and reference


def test_edges_are_held_to_those_of_training_where_these_agree_well() -> None:
    close = summarise([like_usual(shift, edge_agreement=0.95) for shift in (-0.02, 0, 0.02)])
    assert told(like_usual(edge_agreement=0.86), close) == []
    assert len(told(like_usual(edge_agreement=0.84), close)) == 1


def test_without_a_reference_nothing_is_said_of_it() -> None:
    alone = dict.fromkeys(("reference_histogram", "reference_fluid", "reference_noise", "edge_agreement"))
    assert told(like_usual(**alone)) == []


def test_every_rule_can_be_found_by_name() -> None:
    assert list(RULES) == ["contrast", "edges", "grid", "histogram", "noise"]


def item(target: np.ndarray, reference: np.ndarray, spacing: tuple = (0.9, 0.9, 3.0)) -> dict[Any, Any]:
    affine = torch.diag(torch.tensor([*spacing, 1.0], dtype=torch.float64))
    volumes = {IMAGE: target, REFERENCE: reference}
    tensors = {key: MetaTensor(torch.from_numpy(v.copy())[None], affine) for key, v in volumes.items()}
    return {CASE: Case("c"), **tensors}


def test_transform_warns_of_swapped_images_and_leaves_the_item_alone(head, caplog) -> None:
    given = item(head["T1w"], head["T2w"])
    before = {key: torch.as_tensor(given[key]).clone() for key in (IMAGE, REFERENCE)}
    with caplog.at_level(logging.WARNING, logger="bundle"):
        out = InputChecksd()(given)
    assert all(torch.equal(torch.as_tensor(out[key]), value) for key, value in before.items())
    (warning,) = out[CASE].warnings
    assert "swapped" in warning
    assert "c: Target and reference" in caplog.text


def test_transform_notes_facts_as_json_and_once_what_could_not_be_compared(head) -> None:
    case = InputChecksd()(item(head["T2w"], head["T1w"]))[CASE]
    facts = case.facts()["input"]
    assert json.loads(json.dumps(facts))["spacing"] == pytest.approx([0.9, 0.9])
    assert "does not say" in facts["not_compared"]
    assert case.warnings == []


def test_transform_looks_at_the_low_res_where_the_image_was_degraded(head) -> None:
    given = item(head["T2w"], head["T1w"]) | {LOW_RES: item(head["T1w"], head["T1w"])[IMAGE]}
    assert "does not look T2-weighted" in InputChecksd()(given)[CASE].warnings[0]


def test_transform_compares_with_training(head) -> None:
    seen = {**SEEN, "target_histogram": None, "reference_histogram": None}
    case = InputChecksd(seen)(item(head["T2w"], head["T1w"], (0.9, 0.9, 7.0)))[CASE]
    assert "not_compared" not in case.measured["input"]
    assert any("Slices are 7.00 mm apart" in warning for warning in case.warnings)


def test_that_there_is_no_reference_is_told(head) -> None:
    given = item(head["T2w"], head["T1w"])
    del given[REFERENCE]
    assert [doubt for doubt, _ in InputChecksd()(given)[CASE].doubts] == [Doubt.NO_REFERENCE]


def test_an_empty_target_is_told(head) -> None:
    case = InputChecksd(SEEN)(item(np.zeros_like(head["T2w"]), head["T1w"]))[CASE]
    assert case.warnings == ["The target holds no tissue: check that this is the right file."]


@pytest.mark.parametrize("doubted", [False, True])
def test_a_reference_that_registration_has_doubted_is_not_doubted_again(doubted: bool, head) -> None:
    given = item(head["T2w"], np.random.default_rng(0).random(head["T1w"].shape, dtype=np.float32))
    given[CASE].registration = RegistrationFinding(doubted=doubted)
    warnings = InputChecksd()(given)[CASE].warnings
    told_of_edges = [warning for warning in warnings if "may be of another patient" in warning]
    assert bool(told_of_edges) is not doubted
