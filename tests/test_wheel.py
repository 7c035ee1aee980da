# SPDX-License-Identifier: Apache-2.0
"""The wheel of `make wheel`: the bundle works from it alone, without a checkout and without what only some need."""

import os
import subprocess
import sys
import sysconfig
import tomllib
import venv
from pathlib import Path

import pytest

from bundle.tools.packing import contents

OPTIONAL = {"nilearn", "mlflow", "itk", "skimage", "sklearn", "onnx", "onnxruntime", "hypothesis", "jsonschema"}


def test_every_config_and_all_weights_are_in_the_wheel(bundle_root) -> None:
    settings = tomllib.loads((bundle_root / "pyproject.toml").read_text())["tool"]["setuptools"]["data-files"]
    found = set()
    for folder, patterns in settings.items():
        for file in (path for pattern in patterns for path in bundle_root.glob(pattern)):
            place = Path(folder, file.name).relative_to("share/mcsr-bundle")
            assert place == file.relative_to(bundle_root)
            found.add(place.as_posix())
    exports = {"models/model.ts", "models/model.pt2", "models/model.onnx"}
    needed = {name for name in contents(bundle_root) if name.startswith(("configs/", "models/"))} - exports
    assert needed <= found
    assert "docs/attribution.md" in found  # of the weights


def outside() -> dict[str, str]:
    """Return the environment without what leads to a checkout."""
    return {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "MCSR"))}


@pytest.fixture(scope="module")
def environment(bundle_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the programs of an environment that holds the wheel, and what it depends on."""
    pytest.importorskip("setuptools")
    folder = tmp_path_factory.mktemp("wheel")
    listed = subprocess.run(["git", "ls-files"], cwd=bundle_root, capture_output=True, text=True, check=False)
    names = listed.stdout.splitlines() if listed.returncode == 0 else contents(bundle_root)
    for name in names:  # a copy, since setuptools builds in the source's folder
        if (bundle_root / name).is_file():
            (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "source" / name).write_bytes((bundle_root / name).read_bytes())
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    build = ["wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", str(folder), str(folder / "source")]
    subprocess.run([*pip, *build], check=True)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "venv", with_pip=False)
    install = ["--python", str(folder / "venv" / "bin" / "python"), "install", "--no-deps", "--no-index", str(wheel)]
    subprocess.run([*pip, *install], check=True, env=outside())
    (site,) = (folder / "venv" / "lib").glob("python*/site-packages")
    for package in Path(sysconfig.get_path("purelib")).iterdir():  # what the wheel depends on, and no checkout
        unwanted = package.name in OPTIONAL or package.suffix == ".pth" or package.name.startswith("__editable__")
        if not (unwanted or (site / package.name).exists()):
            (site / package.name).symlink_to(package)
    return folder / "venv" / "bin"


@pytest.mark.long
def test_enhance_and_inference_work_from_the_wheel_in_an_environment_of_its_own(
    environment, small_dataset, tmp_path
) -> None:
    def run(*words: object) -> str:
        command = [*map(str, words)]
        done = subprocess.run(command, cwd=tmp_path, env=outside(), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    where = "import bundle; from bundle.config_files import bundle_root; print(bundle.__file__); print(bundle_root())"
    package, root = run(environment / "python", "-c", where).splitlines()
    assert Path(package).is_relative_to(environment.parent)
    assert Path(root) == environment.parent / "share" / "mcsr-bundle"
    anatomy = small_dataset / "sub-A" / "anat"
    pair = (anatomy / "sub-A_T2w.nii.gz", "--reference", anatomy / "sub-A_PDw.nii.gz")
    options = ("--low-res", "zero_filled", "--factor", 4)
    run(environment / "mcsr", "enhance", *pair, *options, "-o", "by_command")
    config = f"{root}/configs/inference.yaml"
    keys = ("--low_res", "zero_filled", "--factor", 4, "--output_dir", "by_monai")
    monai = (environment / "python", "-W", "ignore", "-m", "monai.bundle", "run", "inference")
    run(*monai, "--config_file", config, "--image", *pair, *keys)
    first, second = (tmp_path / name / "sub-A_sr.nii.gz" for name in ("by_command", "by_monai"))
    assert first.is_file()
    assert first.read_bytes() == second.read_bytes()
