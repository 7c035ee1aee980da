# SPDX-License-Identifier: Apache-2.0
"""Commands in the documentation can be typed as they stand: checked by the bundle's own parsers, and not run."""

import ast
import inspect
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import monai.bundle
import pytest
import yaml
from torch.distributed.run import get_args_parser

from bundle.cli import enhance, main
from bundle.cli.command import build_parser
from bundle.cli.options import read_settings
from bundle.cli.stages import STAGES
from bundle.config_files import read_config, refuse_unknown_keys

OTHERS = {"cd", "cp", "curl", "export", "mkdir", "mlflow", "pip", "pre-commit", "source", "tensorboard", "trtexec"}
"""Programs that are not ours."""
BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
SCRIPTS = sorted(path.name for path in BENCHMARKS.glob("*.py") if "\ndef main" in path.read_text())
OUR_MODULES = {"bundle": "mcsr", "monai.bundle": "monai"}
NESTED = {"training_settings": "train.yaml", "evaluation_settings": "evaluate.yaml"}


def commands_of(pages, program: str) -> list[tuple[str, list[str]]]:
    """Return the page's name and the arguments of each command that runs one of our programs."""
    found = [(page.path.name, *told_apart(words)) for page in pages for words in page.commands]
    return [(name, words) for name, kind, words in found if kind == program]


def told_apart(words: list[str]) -> tuple[str, list[str]]:
    """Return which program a command runs, and its arguments."""
    if re.match(r"\w+=\$\(", words[0]):
        return "other", words
    first, *rest = [word for word in words if not re.match(r"[A-Z_]+=", word) and word != "srun"]
    first = first.removeprefix(".venv/bin/")
    if first == "torchrun":
        started = get_args_parser().parse_args(rest)  # ends the test where it has no such option
        return OUR_MODULES[started.training_script], started.training_script_args
    if first == "python" and rest[0] == "-m":
        return OUR_MODULES.get(rest[1], "other"), rest[2:]
    if first == "python":
        return ("code", rest[1:]) if rest[0] == "-c" else ("script", rest)
    if first in ("make", "mcsr"):
        return first, rest
    return ("other" if first in OTHERS or first.startswith(".venv") else "", words)


def options_of(words: list[str]) -> Iterator[tuple[str, str]]:
    """Yield the options of a command of MONAI, ``--key value`` or ``--key=value``, with their values."""
    rest = list(words)
    while rest:
        word = rest.pop(0)
        assert word.startswith("--"), f"{word} stands alone in: {' '.join(words)}"
        key, equals, value = word[2:].partition("=")
        yield key, value if equals else rest.pop(0)


def files_of(text: str) -> list[str]:
    """Return the names in an argument that is a file or a list of files."""
    return list(ast.literal_eval(text)) if text.startswith("[") else [text]


def config_problems(words: list[str], root: Path) -> Iterator[str]:
    """Yield what is wrong with a command ``monai.bundle run``."""
    options = list(options_of(words[1:]))
    configs = files_of(dict(options)["config_file"])
    missing = [name for name in configs if not name.startswith("output/") and not (root / name).is_file()]
    if missing:
        yield f"no such config: {missing}"
        return
    base = read_config(root / next(name for name in configs if name.startswith("configs/")))
    if words[0] not in base:
        yield f"{configs[0]} has no {words[0]}"
    keys = [(key, value) for key, value in options if key != "config_file"]
    yield from key_problems(read_settings(keys), base, configs[0])
    for key, value in keys:
        if key in NESTED:
            inner = read_config(root / "configs" / NESTED[key])
            yield from key_problems(ast.literal_eval(value), inner, NESTED[key])


def key_problems(keys, config, name: str) -> Iterator[str]:
    """Yield the sentence of the command line on keys that a config does not have."""
    try:
        refuse_unknown_keys(keys, config, name)
    except ValueError as error:
        yield str(error)


def test_every_block_of_commands_runs_programs_that_are_known(pages) -> None:
    assert [words for _, words in commands_of(pages, "")] == []


def test_every_run_of_monai_names_configs_that_exist_and_keys_that_they_know(pages, bundle_root) -> None:
    runs = [(name, words[1:]) for name, words in commands_of(pages, "monai") if words[0] == "run"]
    assert len(runs) > 20
    problems = [f"{name}: {problem}" for name, words in runs for problem in config_problems(words, bundle_root)]
    assert problems == []


def test_every_other_command_of_monai_exists_and_takes_what_it_is_given(pages, bundle_root) -> None:
    found = [(name, words) for name, words in commands_of(pages, "monai") if words[0] != "run"]
    assert len(found) > 5
    for name, (command, *words) in found:
        known = set(inspect.signature(getattr(monai.bundle, command)).parameters)
        options = dict(options_of(words))
        arguments = dict(options)
        if file := options.get("args_file"):
            arguments |= yaml.safe_load((bundle_root / file).read_text())
        config = read_config(bundle_root / arguments.get("config_file", "configs/inference.yaml"))
        assert set(options) <= known | set(config), f"{name}: {command} {sorted(set(options) - known - set(config))}"
        for key in ("config_file", "meta_file", "args_file"):
            assert key not in options or (bundle_root / options[key]).is_file(), f"{name}: {options[key]}"


def test_every_mcsr_command_is_understood(pages, tmp_path, monkeypatch, capsys) -> None:
    found = commands_of(pages, "mcsr")
    assert len(found) > 20
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(enhance, "MODELS", "none")  # which are chosen by what lies in a folder, and these are empty
    for name, words in found:
        put_placeholders(words)
        assert understood(words) == 0, f"{name}: mcsr {' '.join(words)}: {capsys.readouterr().err}"


def put_placeholders(words: list[str]) -> None:
    """Make an empty file or folder for whatever a command may name, since it asks whether its inputs are there."""
    for path in (Path(word) for word in words if not word.startswith(("-", "/", "~", "$")) and "=" not in word):
        if path.suffix:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        else:
            path.mkdir(parents=True, exist_ok=True)


def understood(words: list[str]) -> int:
    """Return the exit status of a command that is parsed and checked, and not run."""
    if words[0] in STAGES:
        return main([*words, "--show-config"])
    try:
        build_parser()[0].parse_args(words)
    except SystemExit as end:  # --help
        return int(end.code or 0)
    except ValueError as error:
        sys.stderr.write(str(error))
        return 2
    return 0


def test_every_command_of_mcsr_in_the_text_exists(pages) -> None:
    commands = set(build_parser()[1])
    named = {match[1] for page in pages for code in page.inline_code if (match := re.match(r"mcsr ([a-z]\S*)", code))}
    assert named
    assert named <= commands


def test_every_script_exists_and_takes_the_options_it_is_given(pages, bundle_root) -> None:
    in_text = [
        (page.path.name, code.split()[1:])
        for page in pages
        for code in page.inline_code
        if code.startswith("python ben")
    ]
    found = [*commands_of(pages, "script"), *in_text]
    assert {"benchmarks/inference.py", "benchmarks/trust.py"} <= {words[0] for _, words in found}
    for name, (script, *words) in found:
        assert (bundle_root / script).is_file(), f"{name}: {script}"
        options, choices = parser_of(bundle_root / script)
        given = {word.partition("=")[0] for word in words if word.startswith("-")}
        assert given <= options, f"{name}: {script} knows no {given - options}"
        assert not choices or words[0] in choices, f"{name}: {script} {words[0]}"


def parser_of(script: Path) -> tuple[set[str], set[str]]:
    """Return the options that a script adds to its parser, and what its first argument may be, empty for anything."""
    tree = ast.parse(script.read_text())
    added = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and "add_argument" in ast.unparse(node.func)]
    options = {word.value for node in added for word in node.args if word.value.startswith("-")}
    positional = [node for node in added if not node.args[0].value.startswith("-")]
    if not positional or not (choices := [word for word in positional[0].keywords if word.arg == "choices"]):
        return options, set()
    named = ast.unparse(choices[0].value)  # a tuple, or a dictionary that is assigned above
    assigned = [
        node.value for node in ast.walk(tree) if isinstance(node, ast.Assign) and named == ast.unparse(node.targets)
    ]
    words = ast.walk(assigned[0] if assigned else choices[0].value)
    return options, {word.value for word in words if isinstance(word, ast.Constant)}


@pytest.mark.long
@pytest.mark.parametrize("script", SCRIPTS)
def test_script_explains_itself(script) -> None:
    command = [sys.executable, "-W", "ignore", BENCHMARKS / script, "--help"]
    told = subprocess.run(command, cwd=BENCHMARKS.parent, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    assert told.stdout.startswith(f"usage: {script}")
    options, _ = parser_of(BENCHMARKS / script)
    assert {option for option in options if option not in told.stdout} == set()


def test_every_target_of_make_exists(pages, bundle_root) -> None:
    told = subprocess.run(["make", "-pn", "lint"], cwd=bundle_root, capture_output=True, text=True, check=False).stdout
    rules = re.sub(r"# Not a target:\n.*", "", told)
    known = set(re.findall(r"^([^\s#:=]+):(?!=)", rules, re.MULTILINE))
    in_text = [
        (page.path.name, shlex.split(code)[1:])
        for page in pages
        for code in page.inline_code
        if code.startswith("make ")
    ]
    asked = [
        (name, word) for name, words in [*commands_of(pages, "make"), *in_text] for word in words if "=" not in word
    ]
    assert {word for _, word in asked} >= {"demo", "test", "docs", "bundle"}
    assert [f"{name}: make {word}" for name, word in asked if word not in known] == []


def test_every_extra_that_pip_is_asked_for_exists(pages, bundle_root) -> None:
    known = set(tomllib.loads((bundle_root / "pyproject.toml").read_text())["project"]["optional-dependencies"])
    asked = {extra for page in pages for extra in re.findall(r'pip install .*"?\.\[(\w+)\]', page.text)}
    assert asked
    assert asked <= known


def test_python_in_the_docs_compiles_and_imports_what_exists(pages) -> None:
    codes = [(page.path.name, block.text) for page in pages for block in page.blocks if block.language == "python"]
    codes += [(name, words[0]) for name, words in commands_of(pages, "code")]
    assert len(codes) > 3
    for name, code in codes:
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ("bundle", "monai"):
                module = __import__(node.module, fromlist=["x"])
                assert all(hasattr(module, alias.name) for alias in node.names), f"{name}: {ast.unparse(node)}"
