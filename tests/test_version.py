# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path

import bundle.version
from bundle.version import package_version

METADATA = Path(__file__).parents[1] / "configs" / "metadata.json"


def test_version_is_that_of_the_bundle() -> None:
    assert package_version() == json.loads(METADATA.read_text())["version"]


def test_version_of_a_package_apart_from_its_bundle_is_that_installed_or_unknown(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(bundle.version, "__file__", str(tmp_path / "bundle" / "version.py"))
    monkeypatch.setattr(bundle.version, "DISTRIBUTION", "no-such-distribution")
    assert package_version() == "unknown"
