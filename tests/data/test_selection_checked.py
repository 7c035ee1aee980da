# SPDX-License-Identifier: Apache-2.0
"""One bad case neither stops the others nor goes unnoticed."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from monai.transforms import Compose

from bundle.data import CheckedPairs, find_pairs
from bundle.data.datalist import Pair
from bundle.errors import InputError, SomeFailedError
from bundle.transforms import LoadPaird


def make_pairs(*cases: str) -> list[Pair]:
    return [{"image": f"{case}.nii", "reference": "r.nii", "subject": case, "case": case} for case in cases]


def refuse_bad(pair: Mapping[Any, Any]) -> None:
    """Stand in for a loader: cases called bad cannot be used."""
    if pair["case"].startswith("bad"):
        raise InputError(f"{pair['image']}: it is bad; mend it.")


def test_usable_pairs_are_kept_in_order_and_nothing_is_said(caplog: pytest.LogCaptureFixture) -> None:
    pairs = make_pairs("c", "a", "b")
    checked = CheckedPairs(pairs, refuse_bad)
    assert checked.usable == pairs
    assert checked.failures == {}
    assert caplog.text == ""
    checked.raise_failures()


def test_every_pair_is_loaded_once() -> None:
    loaded = []
    CheckedPairs(make_pairs("a", "b"), lambda pair: loaded.append(pair["case"]))
    assert loaded == ["a", "b"]


def test_one_bad_case_of_three_is_left_out_at_once_and_raised_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    checked = CheckedPairs(make_pairs("a", "bad", "b"), refuse_bad)
    assert [pair["case"] for pair in checked.usable] == ["a", "b"]
    assert checked.failures == {"bad": "bad.nii: it is bad; mend it."}
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (logging.ERROR, "bad is left out: bad.nii: it is bad; mend it.")
    ]
    with pytest.raises(InputError) as caught:
        checked.raise_failures()
    assert str(caught.value) == ("1 of 3 cases were left out, the others are done. bad: bad.nii: it is bad; mend it.")


def test_several_bad_cases_are_counted_at_the_end_and_their_reasons_not_repeated(
    caplog: pytest.LogCaptureFixture,
) -> None:
    checked = CheckedPairs(make_pairs("bad1", "a", "bad2"), refuse_bad)
    assert [record.getMessage()[:17] for record in caplog.records] == ["bad1 is left out:", "bad2 is left out:"]
    with pytest.raises(InputError) as caught:
        checked.raise_failures()
    counted = "2 of 3 cases were left out, the others are done."
    assert str(caught.value) == f"{counted} See the lines above for the reasons."


def test_data_without_a_usable_case_are_refused_with_the_first_reason() -> None:
    with pytest.raises(InputError, match=r"^none of 2 cases can be used; the first: bad1\.nii: it is bad; mend it\.$"):
        CheckedPairs(make_pairs("bad1", "bad2"), refuse_bad)


def test_a_single_bad_case_is_refused_with_its_own_reason() -> None:
    with pytest.raises(InputError, match=r"^bad\.nii: it is bad; mend it\.$"):
        CheckedPairs(make_pairs("bad"), refuse_bad)


def test_empty_data_are_refused_with_a_remedy() -> None:
    with pytest.raises(InputError, match=r"^there are no pairs; check dataset_dir and the split file\.$"):
        CheckedPairs([], refuse_bad)


def test_any_other_error_leaves_its_case_out_too(caplog: pytest.LogCaptureFixture) -> None:
    def fail(item: Mapping[Any, Any]) -> None:
        if item["case"] == "b":
            raise KeyError("scale")

    caplog.set_level(logging.DEBUG)
    checked = CheckedPairs(make_pairs("a", "b"), Compose([fail]))  # which wraps what a transform raises
    assert checked.failures == {"b": "unexpected: KeyError: 'scale'"}
    assert "Traceback" in caplog.text


def test_some_failures_are_told_from_nothing_done() -> None:
    with pytest.raises(SomeFailedError):
        CheckedPairs(make_pairs("bad", "a"), refuse_bad).raise_failures()
    with pytest.raises(InputError) as caught:
        CheckedPairs(make_pairs("bad", "bad2"), refuse_bad)
    assert not isinstance(caught.value, SomeFailedError)


def test_a_damaged_volume_is_left_out(small_dataset: Path, tmp_path: Path) -> None:
    pairs = find_pairs(small_dataset)[:2]
    cut = tmp_path / "cut.nii.gz"
    cut.write_bytes(Path(pairs[0]["image"]).read_bytes()[:-50])
    checked = CheckedPairs([pairs[0] | {"image": str(cut)}, pairs[1]], LoadPaird())
    assert checked.usable == [pairs[1]]
    assert list(checked.failures) == [pairs[0]["case"]]
    assert "cut short or damaged" in checked.failures[pairs[0]["case"]]
