# SPDX-License-Identifier: Apache-2.0
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from monai.bundle import ConfigParser, run

from bundle.config import start
from bundle.errors import InputError

ROOT = Path(__file__).resolve().parents[1]
NAMES = ("recipe::gradient", "max_gradient_norm")
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


@pytest.fixture
def base(tmp_path) -> str:
    """Return a config that prints what it was given."""
    content = {
        "split_file": "given",
        "recipe": {"gradient": 1.0, "max_gradient_norm": 1.0, "_target_": "dict"},
        "imports": ["$import bundle.config as config", "$import json"],
        "initialize": [f"$config.start({str(tmp_path / 'base.yaml')!r})"],
        "show": ["$print('found', json.dumps([@split_file, *@recipe.values()]))"],
    }
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(content))
    return str(tmp_path / "base.yaml")


def shown(text: str) -> list[Any]:
    (line,) = (line for line in text.splitlines() if line.startswith("found"))
    return json.loads(line.removeprefix("found"))


@pytest.mark.parametrize("given", [None, "null"])
@pytest.mark.parametrize("key", ["split_file", "recipe::gradient", "max_gradient_norm"])
def test_null_reaches_the_config(key, given, base, capfd) -> None:
    run("show", config_file=base, **{key: given})
    found = shown(capfd.readouterr().out)
    assert [name for name, value in zip(["split_file", *NAMES], found, strict=True) if value is None] == [key]


def test_null_of_a_command_line_reaches_the_config_in_the_words_of_python_too(base) -> None:
    keys = ["--split_file=None", "--recipe::gradient=null", "--max_gradient_norm", "None"]
    words = [sys.executable, "-m", "monai.bundle", "run", "show", f"--config_file={base}", *keys]
    done = subprocess.run(words, check=True, cwd=ROOT, capture_output=True, text=True)
    assert shown(done.stdout) == [None, None, None]
