# SPDX-License-Identifier: Apache-2.0
"""A key that a config does not define is refused, wherever it stands, and the nearest one is named."""

import re
from typing import Any

import pytest
from fire.parser import DefaultParseValue
from hypothesis import example, given, settings
from hypothesis import strategies as st
from monai.bundle import ConfigParser

from bundle.config_files import Expression, fire_text, inert, marked, refuse_unknown_keys
from bundle.errors import InputError

KNOWN = {
    "epochs": 1,
    "train": {"trainer": {"_target_": "Trainer", "epochs": 1}, "steps": {"first": 1}},
    "more": {},
    "sizes": [{"width": 1}],
}


@pytest.mark.parametrize(
    "settings",
    [
        {"epochs": 5},
        {"epochs": {"_target_": "Schedule"}},  # one value replaced by a mapping
        {"train": {"trainer": {"_target_": "Other", "other": 1}}},  # the component checks its own arguments
        {"train::trainer::other": 1},
        {"train::trainer": {"other": 1}},
        {"train::steps": {"first": 2}},
        {"sizes::0::width": 2},
        {"tracking_uri": "here"},  # MONAI's own
        {"more": {"anything": 1}},  # empty in the base: takes any key
        {"more::anything": 1},
    ],
    ids=str,
)
def test_keys_that_the_config_defines_are_taken(settings) -> None:
    refuse_unknown_keys(settings, KNOWN, "base.yaml")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"epoch": 5}, "epoch: base.yaml has no key epoch, so it would change nothing; did you mean epochs?"),
        ({"train": {"trainr": {}}}, "train::trainr: base.yaml has no key trainr, "),
        ({"train::trainr": {}}, "did you mean train::trainer?"),
        ({"train": {"steps": {"first": 2, "secnd": 3}}}, "train::steps::secnd: base.yaml has no key secnd, "),
        ({"train::steps": {"secnd": 3}}, "did you mean train::steps::first?"),
        ({"train": {"_meta_": 1}}, "train::_meta_: base.yaml has no key _meta_"),
        ({"epochs::first": 2}, "epochs::first: epochs of base.yaml is one value (1), with nothing below it"),
        ({"sizes::1": 2}, "sizes::1: sizes of base.yaml is a list of 1; name one by its number, from 0."),
    ],
    ids=str,
)
def test_other_keys_are_refused(settings, sentence) -> None:
    with pytest.raises(InputError, match=re.escape(sentence)):
        refuse_unknown_keys(settings, KNOWN, "base.yaml")


def test_an_option_of_the_command_line_may_have_been_meant() -> None:
    with pytest.raises(InputError, match=r"did you mean --no-resume\?"):
        refuse_unknown_keys({"no_resum": 1}, KNOWN, "base.yaml", ["-o", "--no-resume"])


# whatever a file system takes, and code that would leave a trace
NAMES = st.text(st.characters() | st.sampled_from("#$@%:'\"\\{}[]\n")) | st.sampled_from(["$1 / 0", "@b", "%b", "null"])
VALUES = st.recursive(NAMES | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.just("a"), inner))


@given(VALUES)
@settings(max_examples=200)
@example("/data/Study #1/$(touch x)/@b/%b/a::b/@#c/\\#.nii")
@example("$__import__('os').mkdir('pwned')")
@example("\udcff#")
def test_monai_s_two_parsers_read_a_text_as_it_is_and_evaluate_nothing(value: Any) -> None:
    typed = DefaultParseValue(fire_text(inert(value)))
    for written in (inert(value), typed):
        found = ConfigParser({"a": written, "b": "another"}).get_parsed_content("a")
        assert found == value or written in ("null", "true", "false")


def test_an_expression_is_evaluated_and_only_what_is_marked_is_one() -> None:
    assert ConfigParser({"a": inert(Expression("$1 + 1"))}).get_parsed_content("a") == 2
    assert inert(marked({"a": ["$x", "y#", 3, None]})) == {"a": ["$x", "$'y\\x23'", 3, None]}
    assert inert("/data/sub 1/T2.nii.gz") == "/data/sub 1/T2.nii.gz"
    assert inert("null") == "$'null'"
