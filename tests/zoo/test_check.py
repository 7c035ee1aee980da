# SPDX-License-Identifier: Apache-2.0
"""What the Model Zoo verifies before it takes a bundle, and what Hugging Face reads of it.

After ``ci/verify_bundle.py``, ``ci/verify_tensorrt.py`` and ``CONTRIBUTING.md`` of Project-MONAI/model-zoo, in the copy
of commit 018b313a of the first, with MONAI 1.6.1 and its metadata schema of 20240725.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from bundle.tools.packing import LARGE, NAME, contents

TENSOR = {
    "type": "object",
    "required": ["type", "format", "num_channels", "spatial_shape", "dtype", "value_range", "is_patch_data"],
    "properties": {
        "type": {"const": "image"},
        "format": {"const": "magnitude"},
        "modality": {"const": "MR"},
        "num_channels": {"type": "integer", "minimum": 1},
        "spatial_shape": {"type": "array", "items": {"type": ["string", "integer"]}, "minItems": 2, "maxItems": 2},
        "dtype": {"const": "float32"},
        "value_range": {"type": "array", "items": {"type": "number"}},
        "is_patch_data": {"type": "boolean"},
        "channel_def": {"type": "object", "propertyNames": {"pattern": "^[0-9]+$"}},
    },
}
TEXTS = [
    *("schema", "version", "monai_version", "pytorch_version", "numpy_version", "name", "task", "description"),
    *("authors", "copyright", "data_source", "data_type", "image_classes", "pred_classes", "intended_use"),
]
OBJECTS = ["changelog", "required_packages_version", "supported_apps", "eval_metrics"]
SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": [*TEXTS, *OBJECTS, "references", "network_data_format"],
    "properties": {
        **{key: {"type": "string", "minLength": 1} for key in TEXTS},
        **{key: {"type": "object"} for key in OBJECTS},
        "version": {"type": "string", "pattern": r"^\d+\.\d+\.\d+$"},
        "references": {"type": "array", "items": {"type": "string"}, "minItems": 1},
        "network_data_format": {
            "type": "object",
            "required": ["inputs", "outputs"],
            "properties": {
                "inputs": {"type": "object", "required": ["image"], "properties": {"image": TENSOR}},
                "outputs": {"type": "object", "required": ["pred"], "properties": {"pred": TENSOR}},
            },
        },
    },
}
"""Stricter than the schema that ``metadata.json`` names, which cannot be had offline: that one has the same kinds of
values, and does without name, changelog, intended use, data, classes, metrics and references."""

# the Zoo runs its check beside the folder "models", with the bundle's folder on Python's path
VERIFY = """
import os
import torch
from monai.bundle import ckpt_export, create_workflow, verify_metadata, verify_net_in_out
root, dataset = sys.argv[1:]
sys.path.insert(0, root)
file = lambda name: os.path.join(root, name)
meta, config = file("configs/metadata.json"), file("configs/inference.yaml")
verify_metadata(meta_file=meta, filepath=file("eval/schema.json"))
flow = create_workflow(
    workflow_type="inference", bundle_root=root, config_file=config, meta_file=meta, dataset_dir=dataset,
    logging_file=file("configs/logging.conf"), low_res="zero_filled", factor=4,
)
assert flow.check_properties() == []
verify_net_in_out(net_id="network_def", meta_file=meta, config_file=config, bundle_root=root)
exported = file("models/verify_model.ts")
ckpt_export(
    net_id="network_def", filepath=exported, ckpt_file=file("models/model.pt"), meta_file=meta, config_file=config,
    bundle_root=root,
)
assert torch.jit.load(exported)(torch.rand(1, 2, 17, 17)).shape == (1, 1, 17, 17)
os.chdir(root)  # training is tried in the bundle's folder
small = {"patch_size": 24, "batch_size": 2}
flow = create_workflow(workflow_type="train", config_file="configs/train.yaml", dataset_dir=dataset, **small)
assert flow.check_properties() == []
"""


@pytest.fixture(scope="module")
def folder(zoo: Path) -> Path:
    return zoo / NAME


@pytest.fixture(scope="module")
def metadata(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "configs" / "metadata.json").read_text())


def config(folder: Path, stage: str) -> dict[str, Any]:
    return yaml.safe_load((folder / "configs" / f"{stage}.yaml").read_text())


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)
    elif isinstance(value, str):
        yield value


def test_the_zoo_s_own_steps_pass_from_its_working_directory(folder, script, small_dataset) -> None:
    (folder / "eval").mkdir(exist_ok=True)
    (folder / "eval" / "schema.json").write_text(json.dumps(SCHEMA))
    script(VERIFY, Path("models") / NAME, small_dataset, cwd=folder.parents[1])


def test_name_is_lower_case_words_that_tell_data_and_task() -> None:
    assert re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)+", NAME)
    assert "mri" in NAME.split("_")
    assert "_v" not in NAME  # the Zoo splits name and version there


def test_every_file_that_the_zoo_asks_for_is_there(folder) -> None:
    asked = [
        "LICENSE",
        "configs/metadata.json",
        "configs/inference.yaml",
        "configs/train.yaml",
        "configs/evaluate.yaml",
    ]
    asked += ["configs/logging.conf", "models/model.pt", "docs/README.md", "docs/data_license.txt"]
    assert [name for name in asked if not (folder / name).is_file()] == []
    stages = [path.name for path in (folder / "configs").iterdir() if path.stem in ("train", "inference", "evaluate")]
    assert len(stages) == 3  # in one format each


def test_no_file_is_larger_than_the_zoo_takes_unless_it_is_downloaded(bundle_root, folder) -> None:
    listed = folder / "large_files.yml"
    elsewhere = [file["path"] for file in yaml.safe_load(listed.read_text())["large_files"]] if listed.exists() else []
    large = [name for name in contents(bundle_root) if (bundle_root / name).stat().st_size > LARGE]
    own = [name for name in large if not name.startswith("models/model.")]  # what a user has trained or exported here
    assert set(own) <= set(elsewhere)


def test_metadata_is_complete(metadata) -> None:
    jsonschema.validate(metadata, SCHEMA)
    assert metadata["schema"].startswith("https://github.com/Project-MONAI/")
    for package in ("monai", "torch", "numpy"):
        assert package not in metadata["required_packages_version"]


@pytest.mark.parametrize("key", ["schema", "authors", "network_data_format", "references"])
def test_schema_refuses_metadata_without_a_key(key, metadata) -> None:
    with pytest.raises(jsonschema.ValidationError, match=key):
        jsonschema.validate({name: value for name, value in metadata.items() if name != key}, SCHEMA)


def test_version_is_the_newest_of_the_changelog(metadata) -> None:
    versions = [tuple(map(int, version.split("."))) for version in metadata["changelog"]]
    assert versions == sorted(versions, reverse=True)
    assert next(iter(metadata["changelog"])) == metadata["version"]


def test_metadata_requires_what_the_package_depends_on(bundle_root, metadata) -> None:
    depends = (bundle_root / "pyproject.toml").read_text().split("dependencies = [", 1)[1].split("]", 1)[0]
    names = {re.match(r"[\w-]+", line.strip(' ",')).group().lower() for line in depends.strip().splitlines()}
    assert set(metadata["required_packages_version"]) == names - {"torch", "monai", "numpy"}


def test_network_data_format_names_every_channel_and_the_same_size_on_both_sides(metadata) -> None:
    image = metadata["network_data_format"]["inputs"]["image"]
    pred = metadata["network_data_format"]["outputs"]["pred"]
    for tensor in (image, pred):
        assert list(tensor["channel_def"]) == [str(index) for index in range(tensor["num_channels"])]
    assert (image["num_channels"], pred["num_channels"]) == (2, 1)
    assert image["spatial_shape"] == pred["spatial_shape"]


def test_keys_of_the_configs_are_named_as_the_zoo_names_them(folder) -> None:
    inference, train = config(folder, "inference"), config(folder, "train")
    assert {"bundle_root", "device", "network_def", "inferer", "output_dir"} <= set(inference)
    assert {"bundle_root", "device", "dataset_dir", "output_dir", "val_interval"} <= set(train)
    assert {"trainer", "dataset", "handlers", "preprocessing", "inferer"} <= set(train["train"])
    assert {"evaluator", "dataset", "handlers", "preprocessing", "inferer", "key_metric"} <= set(train["validate"])
    assert "max_epochs" in train["train"]["trainer"]


def test_no_config_names_a_folder_of_somebody_s_machine(folder) -> None:
    for path in (folder / "configs").rglob("*.yaml"):
        for text in texts(yaml.safe_load(path.read_text())):
            assert not re.search(r"^/|[A-Z]:\\|/(home|Users)/", text), f"{path}: {text}"


def test_metadata_for_hugging_face_have_every_field_that_it_reads(folder) -> None:
    found = yaml.safe_load((folder / "README.md").read_text().split("---\n")[1])
    assert (found["library_name"], found["pipeline_tag"]) == ("monai", "image-to-image")
    assert {"monai", "medical"} <= set(found["tags"])  # as MONAI's push_to_hf_hub sets
    assert found["license"] == "other"  # which needs the next two
    assert found["license_name"] == found["license_name"].lower()
    assert (folder / found["license_link"]).is_file()
    (model,) = found["model-index"]
    assert model["name"] == NAME
    for result in model["results"]:
        assert result["task"]["type"] == found["pipeline_tag"]
        assert {"type", "name"} <= set(result["dataset"])
        assert all(isinstance(metric["value"], float) and metric["type"] for metric in result["metrics"])
        assert set(found["metrics"]) <= {metric["type"] for metric in result["metrics"]}


def test_scores_are_those_of_the_model_card_wherever_they_are_told(folder, metadata) -> None:
    found = yaml.safe_load((folder / "README.md").read_text().split("---\n")[1])
    told = [[metric["value"] for metric in result["metrics"]] for result in found["model-index"][0]["results"]]
    assert list(metadata["eval_metrics"].values()) == told[0]
    card = (folder / "docs" / "README.md").read_text()
    psnr, ssim, ifc = told[0]
    sentence = rf"\*\*PSNR .*, {psnr:.2f} \(SR \+ DC\); SSIM .*, {ssim:.3f}; IFC .*, {ifc:.2f}\*\*"
    assert re.search(sentence, card)
    psnr, ssim, ifc = told[1]
    assert re.search(rf"patient C19 .*\| {psnr:.2f} \| .*\| {ssim:.3f} \|", card)
    models = (folder / "docs" / "models.md").read_text().split("Patient C19 of")[1]
    row = next(line for line in models.splitlines() if line.startswith("| 4 | **`model.pt`**"))
    assert [float(cell) for cell in row.split("|")[-4:-1]] == told[1]


def test_model_card_has_the_sections_of_the_zoo_s_template(folder) -> None:
    card = (folder / "docs" / "README.md").read_text()
    headings = re.findall(r"^#+ (.+)$", card, re.MULTILINE)
    asked = ["Model Overview", "Intended use", "Data", "Preprocessing", "Training configuration", "Input", "Output"]
    asked += ["Performance", "System configuration", "MONAI Bundle Commands", "Limitations", "Citation", "References"]
    positions = [headings.index(heading) for heading in [*asked, "License"]]
    assert positions == sorted(positions)
    for command in ("run training", "run evaluating", "run inference", "verify_net_in_out", "verify_metadata"):
        assert f"python -m monai.bundle {command}" in card
    for command in ("ckpt_export", "onnx_export", "trt_export"):
        assert f"python -m monai.bundle {command}" in card


def test_data_licence_has_the_zoo_s_form_and_names_every_source_of_the_metadata(folder) -> None:
    licence = (folder / "docs" / "data_license.txt").read_text()
    assert licence.startswith("Third Party Licenses\n---")
    assert len(re.findall(r"^/\*{60,}/$\n^[iv]+\. .+\n(?:^ .+\n)+^/\*{60,}/$", licence, re.MULTILINE)) >= 3
    for source in ("IXI", "ICBM 152"):
        assert source in licence
