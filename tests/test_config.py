# SPDX-License-Identifier: Apache-2.0
import pytest

from bundle.config import check_keys, unknown_keys

KNOWN = {"epochs": 1, "train": {"trainer": {"_target_": "Trainer", "epochs": 1}, "steps": {"first": 1}}, "more": {}}


@pytest.mark.parametrize(
    ("config", "unknown"),
    [
        ({"epochs": 5}, []),
        ({"epoch": 5}, ["epoch"]),
        ({"train": {"trainer": {"_target_": "Other", "other": 1}}}, []),  # the component checks its own arguments
        ({"train": {"trainr": {}}}, ["train::trainr"]),
        ({"train": {"steps": {"first": 2, "second": 3}}}, ["train::steps::second"]),
        ({"_meta_": {"version": "1"}, "tracking_uri": "here"}, []),  # MONAI's own
        ({"train": {"_meta_": 1}}, ["train::_meta_"]),
        ({"more": {"anything": 1}}, []),  # empty in the base: takes any key
    ],
)
def test_unknown_keys_are_those_that_the_base_does_not_define(config, unknown) -> None:
    assert list(unknown_keys(config, KNOWN)) == unknown


def test_keys_can_be_checked_only_while_a_config_is_evaluated(tmp_path) -> None:
    (tmp_path / "base.yaml").write_text("a: 1\n")
    with pytest.raises(RuntimeError, match="from a bundle's initialize section"):
        check_keys(tmp_path / "base.yaml")
