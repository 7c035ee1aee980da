# SPDX-License-Identifier: Apache-2.0
import os
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
import yaml

from bundle.tools import packing
from bundle.tools.packing import NAME, contents, main, model_card, pack, remarks

KEPT = [
    "CITATION.cff",
    "LICENSE",
    "README.md",
    "bundle/__init__.py",
    "bundle/pages/templates/case.html",
    "configs/metadata.json",
    "configs/train.yaml",
    "configs/variants/quick.yaml",
    "constraints.txt",
    "docs/README.md",
    "docs/data_license.txt",
    "docs/images/patient.png",
    "docs/model_card.yaml",
    "models/model.json",
    "models/model.pt",
    "models/model.pt2",
    "models/model.ts",
    "models/vgg.npz",
    "pyproject.toml",
]
LEFT_OUT = [
    ".git/config",
    ".venv/lib/LICENSE",
    "Makefile",
    "bundle/__pycache__/x.pyc",
    "bundle/.hidden/x.py",
    "configs/.train.yaml",
    "data/phantom/sub-1_T2w.nii.gz",
    "dist/old.zip",
    "docs/.README.md.swp",
    "eval/schema.json",
    "mcsr_bundle.egg-info/PKG-INFO",
    "models/.0123.partial.model.pt",
    "models/verify_model.ts",
    "output/model.pt",
    "tests/test_x.py",
]


@pytest.fixture
def root(tmp_path) -> Path:
    """A bundle in small, with what lies about in a checkout that is worked in."""
    for name in KEPT + LEFT_OUT:
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('{"version": "1.2.3"}' if name == "configs/metadata.json" else name)
    return tmp_path / "root"


def test_zip_is_named_for_the_version_and_holds_one_folder_with_what_a_bundle_needs(root, tmp_path) -> None:
    path = pack(root, tmp_path / "dist")
    assert path.name == f"{NAME}_v1.2.3.zip"
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == [f"{NAME}/{name}" for name in KEPT]
        assert archive.read(f"{NAME}/bundle/__init__.py") == b"bundle/__init__.py"
        assert {entry.external_attr >> 16 for entry in archive.infolist()} == {0o100644}
    assert [file.name for file in (tmp_path / "dist").iterdir()] == [path.name]


def test_same_files_give_the_same_bytes_whenever_and_wherever_they_were_written(root, tmp_path) -> None:
    first = pack(root, tmp_path / "first").read_bytes()
    other = tmp_path / "elsewhere" / "root"
    for name in reversed(KEPT):
        (other / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / name, other / name)
        os.utime(other / name, (1e9, 1e9))
        (other / name).chmod(0o700)
    assert pack(other, tmp_path / "second").read_bytes() == first


def test_everything_of_the_bundle_that_is_kept_in_git_is_packed(bundle_root) -> None:
    folders = ["bundle", "configs", "docs", "models"]
    command = ["git", "-C", str(bundle_root), "ls-files", *folders]
    listed = subprocess.run(command, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("this is not a git checkout")
    site = {name for name in listed.stdout.splitlines() if re.match(r"docs/.*\.(py|rst)$", name)}  # how it is built
    assert set(listed.stdout.splitlines()) - site - set(contents(bundle_root)) == set()


def test_links_between_the_packed_pages_lead_to_packed_files(bundle_root) -> None:
    packed = set(contents(bundle_root))
    for name in packed:
        if name.endswith(".md"):
            page = bundle_root / name
            for link in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
                if "://" not in link:
                    target = os.path.normpath(page.parent / link)
                    assert Path(target).relative_to(bundle_root).as_posix() in packed, f"{name}: {link}"


def test_readme_of_the_zip_is_the_model_card_with_metadata_on_top_and_links_that_lead_somewhere(bundle_root) -> None:
    _, metadata, card = model_card(bundle_root).split("---\n", 2)
    assert yaml.safe_load(metadata)["library_name"] == "monai"
    assert "\n# Model Overview" in card
    links = {link for link in re.findall(r"\]\(([^)#]+)[^)]*\)", card) if "://" not in link}
    assert {"docs/method.md", "configs/metadata.json", "LICENSE"} <= links <= set(contents(bundle_root))


def test_readme_of_the_zip_has_the_metadata_and_moved_links(root, tmp_path) -> None:
    (root / "docs" / "README.md").write_text("# Card\n[a](b.md#c) [d](../LICENSE) [e](#f) [g](https://h/i)\n")
    (root / "docs" / "model_card.yaml").write_text("license: other\n")
    with zipfile.ZipFile(pack(root, tmp_path / "dist")) as archive:
        text = archive.read(f"{NAME}/README.md").decode()
    assert text == "---\nlicense: other\n---\n\n# Card\n[a](docs/b.md#c) [d](LICENSE) [e](#f) [g](https://h/i)\n"


def test_missing_weights_are_told_in_one_sentence_and_the_rest_is_packed(root, tmp_path, monkeypatch, capsys) -> None:
    (root / "models" / "model.pt").unlink()
    monkeypatch.setattr(packing, "bundle_root", lambda: root)
    assert main([str(tmp_path / "dist")]) == 0
    told = capsys.readouterr()
    assert told.err.startswith("models/model.pt is not there, so the bundle is packed without weights")
    assert told.err.count("\n") == 1
    assert Path(told.out.strip()).is_file()


def test_weights_without_a_record_are_told(root) -> None:
    assert list(remarks(root)) == []
    (root / "models" / "model.json").unlink()
    assert ["models/model.json is not there" in sentence for sentence in remarks(root)] == [True]


def test_a_file_too_large_for_the_zoo_is_told_unless_large_files_names_it(root) -> None:
    with (root / "models" / "model.pt").open("r+b") as stream:
        stream.truncate(29_700_000)
    (sentence,) = remarks(root)
    assert sentence.startswith("models/model.pt has 29.7 MB")
    listed = {"large_files": [{"path": "models/model.pt", "url": "https://example.org/model.pt"}]}
    (root / "large_files.yml").write_text(yaml.safe_dump(listed))
    assert list(remarks(root)) == []


def test_a_folder_that_cannot_be_written_is_told(root, tmp_path, monkeypatch, capsys) -> None:
    (tmp_path / "dist").write_text("in the way")
    monkeypatch.setattr(packing, "bundle_root", lambda: root)
    assert main([str(tmp_path / "dist")]) == 2
    assert "cannot write into this output folder" in capsys.readouterr().err


USE = """
from pathlib import Path
import torch
from monai.bundle import create_workflow, load
models, name, dataset = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
root = models / name
weights = load(name, bundle_dir=models)
flow = create_workflow(
    config_file=str(root / "configs" / "inference.yaml"), workflow_type="inference", bundle_root=str(root),
    dataset_dir=dataset, output_dir="out", low_res="zero_filled", quality_page=False,
)
import bundle
assert Path(bundle.__file__).is_relative_to(root), bundle.__file__
assert flow.check_properties() == []
network = load(name, bundle_dir=models, model=flow.network_def)
assert all(torch.equal(weights[key], value) for key, value in network.state_dict().items())
flow.run()
flow.finalize()
"""


def test_the_unpacked_bundle_serves_load_and_create_workflow_from_any_folder(zoo, script, small_dataset, tmp_path):
    """``load`` gives the weights, and fills a network that it is given; a workflow runs from end to end."""
    dataset = small_dataset / "sub-A"
    script(USE, zoo, NAME, dataset, cwd=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out" / "sub-A_sr.nii.gz").is_file()
