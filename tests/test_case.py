# SPDX-License-Identifier: Apache-2.0
import copy
import dataclasses
import json
import logging
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset, decollate_batch, list_data_collate

from bundle.acquisition import AxisEstimate
from bundle.case import Case, LowResFinding, RegistrationFinding
from bundle.doubts import Doubt, Verdict
from bundle.volumes.geometry import Volume

LOW_RES = LowResFinding(
    said="in plane 4 x 4 times coarser than its grid",
    slice_axis=2,
    matrix_before=[128, 144, 5],
    matrix_after=[128, 144, 5],
    spacing_before=[0.6, 0.6, 3.3],
    spacing_after=[0.6, 0.6, 3.3],
    axes=(AxisEstimate(128, 4.0, 0.02), AxisEstimate(144, 4.0, 0.0, "hann", source="header")),
)


def known() -> Case:
    """Return a case of which every kind of thing is known."""
    case = Case("sub-1_ses-2")
    voxels = np.broadcast_to(np.float32(0), (4, 5, 6))
    case.header = Volume(voxels, np.diag([1.0, 1, 3, 1]), Path("sub-1.nii"), nib.Nifti1Header())
    case.low_res = LOW_RES
    case.registration = RegistrationFinding(resampled=True, details={"shift_mm": 1.5})
    case.measured["input"] = {"spacing": (0.6, 0.6)}
    case.seconds = {"prepare": 1.234, "network": 2.0}
    case.warn(Doubt.GRID, "Look at it.")
    return case


def assert_same(found: Any, expected: Case) -> None:
    assert type(found) is Case
    assert found == expected
    assert found.facts() == expected.facts()
    assert found.warnings == expected.warnings
    assert found.header.header == expected.header.header
    np.testing.assert_array_equal(found.header.affine, expected.header.affine)


def through_collation(case: Case) -> Case:
    batch = list_data_collate([{"case": case, "image": torch.zeros(1, 2, 2, 2)}])
    return decollate_batch(batch)[0]["case"]


def through_a_loader(case: Case) -> Case:
    batch = next(iter(DataLoader(Dataset([{"case": case, "image": torch.zeros(1, 2, 2, 2)}]), batch_size=1)))
    return decollate_batch(batch)[0]["case"]


@pytest.mark.parametrize(
    "way",
    [through_collation, through_a_loader, copy.deepcopy, lambda case: pickle.loads(pickle.dumps(case))],
    ids=["collation", "loader", "deepcopy", "pickle"],
)
def test_a_case_keeps_its_type_and_findings(way: Callable[[Case], Case]) -> None:
    assert_same(way(known()), known())


def test_cases_of_one_batch_stay_apart() -> None:
    cases = [known(), Case("sub-2")]
    batch = list_data_collate([{"case": case, "image": torch.zeros(1, 2, 2, 2)} for case in cases])
    first, second = (item["case"] for item in decollate_batch(batch))
    assert_same(first, known())
    assert (second, second.facts(), second.warnings) == ("sub-2", {}, [])


def test_a_copy_learns_nothing_of_what_the_other_finds_out() -> None:
    case = known()
    other = copy.deepcopy(case)
    case.warn(Doubt.GRID, "Another thing.")
    case.measured["input"]["matrix"] = (1, 2)
    assert other.warnings == ["Look at it."]
    assert other.measured == known().measured


def test_a_new_case_knows_nothing_and_shares_nothing() -> None:
    first, second = Case("a"), Case("a")
    first.warn(Doubt.GRID, "Look.")
    first.measured["input"] = {}
    first.seconds["network"] = 1.0
    assert (second.facts(), second.warnings, second.seconds) == ({}, [], {})
    assert second.header is second.low_res is second.registration is None


def test_facts_are_json_by_topic() -> None:
    facts = known().facts()
    assert list(facts) == ["low_res", "input", "registration", "time"]
    assert json.loads(json.dumps(facts)) == facts | {"input": {"spacing": [0.6, 0.6]}}
    left_out = {"slice_axis", "axes", "slices"}
    found = {name: facts["low_res"].pop(name) for name in ("factor", "measured", "deviation", "window", "source")}
    assert facts["low_res"].pop("zero_filled_by") == 0  # a window over the columns
    assert facts["low_res"].keys() == {f.name for f in dataclasses.fields(LowResFinding)} - left_out
    assert list(found.values()) == [[4.0, 4.0], [32, 36], [0.02, 0.0], ["box", "hann"], ["image", "header"]]
    assert facts["registration"] == {"shift_mm": 1.5, "usable": True, "resampled": True, "doubted": False}
    assert facts["time"] == {"seconds": 3.23, "prepare_seconds": 1.23, "network_seconds": 2.0}


def test_facts_name_why_a_reference_was_not_used() -> None:
    case = Case("a")
    case.registration = RegistrationFinding(usable=False, reason="it lies elsewhere")
    found = {"usable": False, "resampled": False, "doubted": False, "reason": "it lies elsewhere"}
    assert case.facts() == {"registration": found}


def test_a_warning_is_kept_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    case = Case("sub-1")
    with caplog.at_level(logging.WARNING, logger="bundle"):
        for sentence in ("Look.", "Look.", "Look again."):
            case.warn(Doubt.GRID, sentence)
    assert case.warnings == ["Look.", "Look again."]
    assert [record.getMessage() for record in caplog.records] == ["sub-1: Look.", "sub-1: Look again."]


def test_the_case_of_an_item_is_the_one_it_carries_or_a_new_one_of_its_name() -> None:
    case = known()
    assert Case.of({"case": case}) is case
    for item, name in (({"case": "sub-2"}, "sub-2"), ({}, "case")):
        assert type(Case.of(item)) is Case
        assert (Case.of(item), Case.of(item).facts()) == (name, {})


def test_the_gravest_doubt_gives_the_verdict_and_stands_first() -> None:
    case = Case("sub-1")
    assert case.told() == {"verdict": "fine", "headline": "", "warnings": []}
    case.warn(Doubt.BORDER, "A border.")
    assert case.told()["verdict"] == Verdict.FINE
    case.warn(Doubt.GRID, "A grid.")
    case.warn(Doubt.EDGES, "Edges.")
    assert case.told() == {
        "verdict": "look",
        "headline": Doubt.EDGES.headline,
        "warnings": ["Edges.", "A grid.", "A border."],
    }
    case.warn(Doubt.OTHER_PATIENT, "Another patient.")
    assert case.told()["verdict"] == Verdict.DO_NOT_USE
    assert case.warnings[0] == "Another patient."
