# SPDX-License-Identifier: Apache-2.0
"""The bundle as the Model Zoo would hold it, and MONAI's commands as a user types them."""

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from bundle.networks import build
from bundle.settings import ModelSettings
from bundle.tools.packing import NAME, pack

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def untrained() -> Callable[..., nn.Module]:
    """Return a function that makes a generator past its start as the identity: every layer has a say."""

    def make(**settings: Any) -> nn.Module:
        torch.manual_seed(0)
        network = build(ModelSettings(**settings))
        for name, weight in network.named_parameters():
            if name.endswith("last.weight"):
                nn.init.uniform_(weight, 0, 0.02)
        return network.eval()

    return make


@pytest.fixture(scope="session")
def zoo(
    bundle_root: Path,
    untrained: Callable[..., nn.Module],
    tmp_path_factory: pytest.TempPathFactory,
    pytestconfig: pytest.Config,
) -> Path:
    """Return a copy of the Zoo's ``models`` folder with the bundle in it as it is packed, and untrained weights.

    With ``--packed FILE``, what is in that zip, with its own weights.
    """
    models = tmp_path_factory.mktemp("zoo") / "models"
    packed = pytestconfig.getoption("packed")
    with zipfile.ZipFile(packed or pack(bundle_root, models)) as archive:
        archive.extractall(models)
    if packed:
        return models
    for weights in (models / NAME / "models").glob("model.*"):
        weights.unlink()
    torch.save(untrained().state_dict(), models / NAME / "models" / "model.pt")
    return models


def _python(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    words = [sys.executable, "-W", "ignore", *map(str, arguments)]
    result = subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result


@pytest.fixture(scope="session")
def monai_bundle(zoo: Path) -> Run:
    """Return a function that runs ``python -m monai.bundle ...`` in the bundle's folder and succeeds."""
    return lambda *arguments: _python("-m", "monai.bundle", *arguments, cwd=zoo / NAME)


@pytest.fixture(scope="session")
def script() -> Run:
    """Return a function that runs Python code in a folder, in a process that has not got this package installed."""
    hidden = "import sys; sys.meta_path[:] = [f for f in sys.meta_path if 'editable' not in f.__module__]\n"
    return lambda code, *arguments, cwd: _python("-c", hidden + code, *arguments, cwd=cwd)
