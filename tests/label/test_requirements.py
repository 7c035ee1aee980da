# SPDX-License-Identifier: Apache-2.0
"""The pins of MONAI Label's environment."""

from pathlib import Path


def pins(file: Path) -> dict[str, str]:
    lines = (line.partition("==") for line in file.read_text().splitlines() if "==" in line)
    return {name.lower().replace("_", "-"): version for name, _, version in lines}


def test_a_package_has_one_version_in_both_environments(bundle_root) -> None:
    ours, label_s = pins(bundle_root / "constraints.txt"), pins(bundle_root / "label" / "requirements.txt")
    shared = ours.keys() & label_s.keys() - {"pydicom"}  # MONAI Label converts DICOM itself, by an older one
    assert {name: ours[name] for name in shared} == {name: label_s[name] for name in shared}
    assert {"monailabel", "fastapi", "setuptools"} <= label_s.keys()


def test_what_draws_in_another_pytorch_is_left_out(bundle_root) -> None:
    assert not {"torch", "torchvision", "sam2"} & pins(bundle_root / "label" / "requirements.txt").keys()
