# SPDX-License-Identifier: Apache-2.0
from typing import Any

import pytest
import yaml
from monai.bundle import ConfigParser

from bundle.config import start
from bundle.errors import InputError

KNOWN = {"epochs": 1, "train": {"trainer": {"_target_": "Trainer"}}, "more": {}, "sizes": [1, 2]}


def check(config: dict[str, Any], known: dict[str, Any], folder: Any) -> None:
    """Check keys as a bundle does: by an expression of the config that is running."""
    base = folder / "base.yaml"
    base.write_text(yaml.safe_dump(known | {"imports": [], "check": ""}))
    expression = {"imports": ["$import bundle.config as config"], "check": f"$config.start({str(base)!r})"}
    try:
        ConfigParser(config | expression).get_parsed_content("check")
    except RuntimeError as error:
        raise error.__cause__ from error


def test_a_running_config_may_have_the_keys_of_its_base_and_those_of_monai(tmp_path) -> None:
    added = {
        "_meta_": {"version": "1"},
        "finalize": [],
        "tracking_uri": "here",
        "trainer": {"_target_": "MLFlowHandler"},
    }
    check(KNOWN | {"epochs": 5} | added, KNOWN, tmp_path)


def test_a_running_config_with_a_mistyped_key_is_refused(tmp_path) -> None:
    with pytest.raises(
        InputError, match=r"train::trainr: base.yaml has no key trainr, .* did you mean train::trainer\?"
    ):
        check({"train": {"trainr": {}}}, KNOWN, tmp_path)


def test_keys_can_be_checked_only_while_a_config_is_evaluated(tmp_path) -> None:
    (tmp_path / "base.yaml").write_text("a: 1\n")
    with pytest.raises(RuntimeError, match="from a bundle's initialize section"):
        start(tmp_path / "base.yaml")
