# SPDX-License-Identifier: Apache-2.0
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle.pages.fact_text import fact_groups, fact_text, sentence_text

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def test_topics_keep_the_order_of_the_page_and_unknown_ones_follow() -> None:
    facts = {"new_thing": {"a": 1}, "time": {"seconds": 2.0}, "low_res": {"factor": 4}, "interval": {}}
    assert [title for title, _ in fact_groups(facts)] == ["Low-res input", "Time", "New thing"]


@pytest.mark.parametrize(
    ("topic", "name", "value", "text"),
    [
        ("registration", "shift_mm", 3.14159, "3.14 mm"),
        ("registration", "rotation_degrees", -1.5, "\N{MINUS SIGN}1.5 °"),
        ("time", "seconds", 74.23, "74.2 s"),
        ("time", "seconds", 12345.67, "12346 s"),
        ("interval", "typical", 0.314, "31.4%"),
        ("data_consistency", "restored", True, "yes"),
        ("low_res", "measured", [87, 96], "87 \N{MULTIPLICATION SIGN} 96"),
        ("low_res", "spacing_after", [0.5, 0.6], "0.5 \N{MULTIPLICATION SIGN} 0.6 mm"),
        ("registration", "shift_mm", None, "\N{EM DASH}"),
        ("interval", "widest", float("nan"), "nan%"),
        ("low_res", "kind", "zero-filled", "zero-filled"),
    ],
)
def test_values_are_plain_text_with_their_units(topic, name, value, text) -> None:
    assert fact_text(topic, name, value) == text


def test_labels_are_words_without_the_unit() -> None:
    ((_, rows),) = fact_groups({"else": {"shift_mm": 1.0, "n_slices": 3, "seconds": 1, "deep": {"size_mm": 2}}})
    assert rows == [("Shift", "1 mm"), ("Number of slices", "3"), ("Seconds", "1 s"), ("Deep size", "2 mm")]


def test_facts_for_programs_are_left_out() -> None:
    ((_, rows),) = fact_groups({"input": {"target_histogram": [0.1] * 19, "slice_distance": 3.3}})
    assert rows == [("Distance of slices", "3.3 mm")]


@given(st.dictionaries(st.text(), st.dictionaries(st.text(), JSON, max_size=3), max_size=3))
def test_any_json_record_can_be_shown(facts) -> None:
    for _, rows in fact_groups(json.loads(json.dumps(facts))):
        assert all(isinstance(text, str) for row in rows for text in row)


@pytest.mark.parametrize(
    ("sentence", "text"),
    [
        ("the file is cut off.", "The file is cut off."),
        ("sub-01_T2w.nii.gz: the file is cut off.", "sub-01_T2w.nii.gz: the file is cut off."),
        ("/data/x.nii: is empty.", "x.nii: is empty."),
        ("/my data/a b/x y.nii: is empty.", "x y.nii: is empty."),
        ("this was made of /data/a/x.nii, not of (/b/y.nii).", "This was made of x.nii, not of (y.nii)."),
        ("4 mm/voxel, see https://a/b/c.", "4 mm/voxel, see https://a/b/c."),
        ("", ""),
    ],
)
def test_sentences_begin_with_a_capital_and_file_names_do_not(sentence, text) -> None:
    assert sentence_text(sentence) == text
