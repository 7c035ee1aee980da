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
from bundle.errors import InputError, input_error

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


TYPED = {  # by the key that is to have it
    "dataset_dir": "study#2",
    "output_dir": "1e5",
    "image": "2024",
    "reference": "(old)",
    "report": "[x]",
    "ckpt_path": "010",
    "split_file": "a=b, c",
    "cache_dir": "/data/Study #1/@b/a::b",
}


@pytest.fixture
def named(tmp_path) -> str:
    """Return a config that prints the names that it was given."""
    content = {
        **dict.fromkeys(TYPED, ""),
        "imports": ["$import bundle.config as config", "$import json"],
        "initialize": [f"$config.start({str(tmp_path / 'named.yaml')!r})"],
        "show": [f"$print('found' + json.dumps([{', '.join(f'@{key}' for key in TYPED)}]))"],
    }
    (tmp_path / "named.yaml").write_text(yaml.safe_dump(content))
    return str(tmp_path / "named.yaml")


@pytest.mark.parametrize(
    ("given", "read"),
    [(name, name) for name in TYPED.values()] + [(2024, "2024"), ("$'a' + 'b'", "ab")],
)
def test_a_program_gives_names_of_any_character(given, read, named, capfd) -> None:
    run("show", config_file=named, dataset_dir=given)
    assert shown(capfd.readouterr().out)[0] == read


def test_a_command_line_of_monai_gives_names_of_any_character(named) -> None:
    keys = [word for key, name in TYPED.items() for word in ([f"--{key}", name] if "_" in key else [f"--{key}={name}"])]
    words = [sys.executable, "-m", "monai.bundle", "run", "show", f"--config_file={named}", *keys]
    done = subprocess.run(words, check=True, cwd=ROOT, capture_output=True, text=True)
    assert shown(done.stdout) == list(TYPED.values())


def test_a_name_that_monai_has_changed_for_good_is_refused(named, tmp_path) -> None:
    (tmp_path / "more.yaml").write_text("output_dir: /data/run#2")
    with pytest.raises(RuntimeError) as caught:
        run("show", config_file=[named, str(tmp_path / "more.yaml")])
    assert "output_dir is /data/run::2: is there a # in this" in str(input_error(caught.value))


@pytest.mark.parametrize("value", ["maybe", 5, "no!", None, [], "$'maybe'"])
def test_a_switch_is_true_or_false(value, tmp_path) -> None:
    known = KNOWN | {"resume": True}
    with pytest.raises(InputError, match=r"resume is .*; write true or false"):
        check(KNOWN | {"resume": value}, known, tmp_path)
    for fine in (True, False, "$1 == 2"):
        check(KNOWN | {"resume": fine}, known, tmp_path)
