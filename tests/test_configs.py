# SPDX-License-Identifier: Apache-2.0
"""The configs hold together: what overlays set exists, what runs is defined once, what tools look for is there."""

import json
import logging.config
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from monai.bundle import ConfigParser, ConfigWorkflow

from bundle.config_files import refuse_unknown_keys
from bundle.errors import InputError
from bundle.networks import build
from bundle.settings import PAPER_WEIGHTS, ModelSettings, Recipe, place_of, setting_names
from bundle.studies import read_study
from bundle.studies.plan import full_key

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
STAGES = {"train": "training", "evaluate": "evaluating", "inference": "inference"}
VARIANTS = sorted(path.name for path in (CONFIGS / "variants").glob("*.yaml"))
BASELINES = sorted(path.name for path in (CONFIGS / "baselines").glob("*.yaml"))
SCALES = sorted(path.name for path in (CONFIGS / "scales").glob("*.yaml"))
STUDIES = sorted((CONFIGS / "studies").glob("*.yaml"))


class StrictLoader(yaml.SafeLoader):
    """Refuse duplicate keys, which YAML itself lets the last one win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key) for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        assert len(keys) == len(set(keys)), f"duplicate keys in {sorted(keys)}"
        return super().construct_mapping(node, deep)


def read(path: Path) -> dict[str, Any]:
    return yaml.load(path.read_text(), StrictLoader)


def leaves(config: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(config, dict):
        for key, value in config.items():
            yield from leaves(value, f"{prefix}::{key}")
    elif isinstance(config, list):
        for index, value in enumerate(config):
            yield from leaves(value, f"{prefix}::{index}")
    else:
        yield prefix, config


def workflow(stage: str, root: Path, *overlays: Path, **overrides: Any) -> ConfigWorkflow:
    return ConfigWorkflow(
        config_file=[str(CONFIGS / f"{stage}.yaml"), *(str(overlay) for overlay in overlays)],
        workflow_type="train" if stage == "train" else "infer",
        run_id=STAGES[stage],
        bundle_root=str(CONFIGS.parent),
        output_dir=str(root),
        **overrides,
    )


@pytest.fixture(autouse=True)
def _in_bundle_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(CONFIGS.parent)


@pytest.mark.parametrize("path", sorted(CONFIGS.rglob("*.yaml")), ids=lambda path: path.name)
def test_no_number_is_read_as_a_string(path) -> None:
    number = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
    assert [key for key, value in leaves(read(path)) if isinstance(value, str) and number.fullmatch(value)] == []


@pytest.mark.parametrize("name", VARIANTS)
def test_every_key_of_a_variant_exists_in_train(name) -> None:
    refuse_unknown_keys(read(CONFIGS / "variants" / name), read(CONFIGS / "train.yaml"), "train.yaml")


@pytest.mark.parametrize("name", SCALES)
def test_every_key_of_a_scale_exists_in_train(name) -> None:
    refuse_unknown_keys(read(CONFIGS / "scales" / name), read(CONFIGS / "train.yaml"), "train.yaml")


@pytest.mark.parametrize("name", BASELINES)
def test_every_key_of_a_baseline_exists_in_evaluate(name) -> None:
    refuse_unknown_keys(read(CONFIGS / "baselines" / name), read(CONFIGS / "evaluate.yaml"), "evaluate.yaml")


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_study_can_be_read_and_names_what_exists(path) -> None:
    plan = read_study(path)
    assert plan.rows
    known = read(CONFIGS / "train.yaml")
    assert all(key in known or place_of(key, known) for row in plan.rows for key in row.settings)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", ["table1", "table2", "table3", "table4", "table5", "figure3"])
def test_the_networks_of_the_paper_can_be_built_at_every_scale(name, scale) -> None:
    for row in read_study(CONFIGS / "studies" / f"{name}.yaml").rows:
        if row.train:
            parser = ConfigParser()
            parser.read_config([str(CONFIGS / file) for file in ("train.yaml", f"scales/{scale}", row.file)])
            parser.update({full_key(key): value for key, value in row.settings.items()})
            settings = parser.get_parsed_content("model")
            assert settings.width == (0.25 if scale == "medium.yaml" else 1)
            build(settings)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_is_small(name) -> None:
    lines = (CONFIGS / "variants" / name).read_text().splitlines()
    assert len([line for line in lines if line.strip() and not line.startswith("#")]) <= 18


@pytest.mark.parametrize(("stage", "run_id"), STAGES.items())
def test_every_stage_defines_run_and_its_alias(stage, run_id) -> None:
    config = read(CONFIGS / f"{stage}.yaml")
    assert config[run_id] == "%run"
    assert config["run"]


def steps(config: dict[str, Any]) -> list[str]:
    """Return the transforms of a chain in order, those of a chain within it too."""
    found = []
    for step in config["transforms"]:
        found.append(step if isinstance(step, str) else step["_target_"])
    return found


def test_training_and_evaluation_prepare_their_images_alike() -> None:
    train, evaluate = (read(CONFIGS / f"{stage}.yaml") for stage in ("train", "evaluate"))
    of_training, of_evaluation = steps(train["train"]["preprocessing"]), steps(evaluate["preprocessing"])
    assert of_evaluation[0] == "@load"
    assert [evaluate["load"]["_target_"], *of_evaluation[1:]] == of_training
    assert train["network_def"] == evaluate["network_def"] == read(CONFIGS / "inference.yaml")["network_def"]


@pytest.mark.parametrize("stage", STAGES)
def test_inference_alone_scales_without_extremes(stage) -> None:
    text = json.dumps(read(CONFIGS / f"{stage}.yaml"))
    steps = re.findall(r'\{"_target_": "bundle\.transforms\.NormaliseIntensityd"[^}]*\}', text)
    assert steps
    assert all(('"robust": true' in step) is (stage == "inference") for step in steps)
    assert ("bundle.transforms.MendExtremesd" in text) is (stage == "inference")


def test_no_config_takes_text_from_another() -> None:
    for stage in STAGES:
        assert "%configs" not in (CONFIGS / f"{stage}.yaml").read_text()


def test_every_config_finds_the_bundle_s_folder_by_the_same_words() -> None:
    found = {read(CONFIGS / f"{stage}.yaml")["bundle_root"] for stage in (*STAGES, "study")}
    assert len(found) == 1


def test_a_config_that_lies_elsewhere_takes_the_working_directory_for_the_bundle(tmp_path) -> None:
    copy = tmp_path / "train.yaml"
    copy.write_text((CONFIGS / "train.yaml").read_text())
    flow = ConfigWorkflow(config_file=str(copy), workflow_type="train", output_dir=str(tmp_path / "out"))
    flow.initialize()
    assert flow.bundle_root == "."


def test_every_setting_stands_in_train_once_and_at_the_default_of_its_type() -> None:
    config = read(CONFIGS / "train.yaml")
    for block, kind in (("model", ModelSettings), ("recipe", Recipe)):
        given = {key: value for key, value in config[block].items() if key != "_target_"}
        assert sorted(given) == sorted(setting_names(kind))
        defaults = vars(kind())
        literal = {key: value for key, value in given.items() if not str(value).startswith(("@", "$"))}
        assert {key: defaults[key] for key in literal} == literal
        assert not set(given) & set(config), "a setting stands in its block alone"


def test_defaults_are_the_paper_s_hyper_parameters() -> None:
    config = read(CONFIGS / "train.yaml")
    paper = {
        "learning_rate": 2e-5,
        "batch_size": 32,
        "patch_size": 64,
        "n_critic": 4,
        "loss_weights": {"adversarial": 1.0, "mse": 0.1, "perceptual": 1.0, "texture": 0.1},
        "penalty_weight": 10.0,
        "fidelity_iterations": 0,
        "max_gradient_norm": None,
    }
    assert {key: config["recipe"][key] for key in paper} == paper
    assert paper["loss_weights"] == PAPER_WEIGHTS
    assert (config["max_epochs"], config["model"]["fusion"], config["model"]["residual"]) == (50, "feature", False)
    assert config["generator_optimizer"]["betas"] == [0.9, 0.999]


@pytest.mark.parametrize("stage", STAGES)
def test_workflow_has_every_property_that_monai_asks_for(stage, tmp_path, small_dataset) -> None:
    settings = {"patch_size": 24, "batch_size": 2} if stage == "train" else {}
    settings |= {"split_file": None} if stage == "evaluate" else {}
    settings |= {"low_res": "zero_filled", "factor": 4} if stage == "inference" else {}
    flow = workflow(stage, tmp_path, dataset_dir=str(small_dataset), **settings)
    flow.initialize()
    assert flow.check_properties() == []


@pytest.mark.parametrize("name", ["none", *VARIANTS])
def test_training_instantiates_with_every_variant(name, tmp_path, small_dataset) -> None:
    overlays = [] if name == "none" else [CONFIGS / "variants" / name]
    small = {"patch_size": 24, "batch_size": 2, "dataset_dir": str(small_dataset)}
    flow = workflow("train", tmp_path, *overlays, **small)
    flow.initialize()
    assert flow.trainer.state.max_epochs == flow.parser.get_parsed_content("max_epochs")


def test_every_metric_of_validation_is_known(tmp_path) -> None:
    parser = ConfigParser(read(CONFIGS / "train.yaml"))
    metrics = parser["validate"]["key_metric"] | parser["validate"]["additional_metrics"]
    assert {name: value["metric_fn"]["metric"] for name, value in metrics.items()} == {
        "PSNR": "psnr",
        "SSIM": "ssim",
        "PSNR_low_res": "psnr",
    }


@pytest.mark.parametrize(
    ("stage", "mistyped", "meant"),
    [
        ("train", "epcohs", "max_epochs"),
        ("train", "lerning_rate", "learning_rate"),
        ("train", "train::trainr", "train::trainer"),
        ("evaluate", "dataset_dri", "dataset_dir"),
        ("inference", "referense", "reference"),
    ],
)
def test_a_mistyped_override_stops_the_run_and_names_the_nearest_key(stage, mistyped, meant, tmp_path) -> None:
    flow = workflow(stage, tmp_path, **{mistyped: 1})
    with pytest.raises(RuntimeError) as caught:
        flow.initialize()
    assert isinstance(caught.value.__cause__, InputError)
    assert mistyped in str(caught.value.__cause__)
    assert f"did you mean {meant}?" in str(caught.value.__cause__)


def test_a_mistyped_key_of_an_overlay_stops_the_run(tmp_path) -> None:
    overlay = tmp_path / "mine.yaml"
    overlay.write_text("batch_siez: 4\n")
    with pytest.raises(RuntimeError) as caught:
        workflow("train", tmp_path, overlay).initialize()
    assert "did you mean batch_size?" in str(caught.value.__cause__)


def test_yaml_s_words_on_the_command_line_mean_what_they_mean_in_yaml(tmp_path) -> None:
    """MONAI's command line hands ``--resume false`` over as the text "false"."""
    flow = workflow("train", tmp_path, resume="false", residual="true", max_gradient_norm="null")
    flow.initialize()
    keys = ("resume", "model::residual", "recipe::max_gradient_norm")
    values = [flow.parser.get_parsed_content(key) for key in keys]
    assert values == [False, True, None]
    assert flow.parser.get_parsed_content("network_def").levels[0].decoder.residual is True


def test_tracking_adds_keys_that_are_accepted(tmp_path, small_dataset) -> None:
    flow = workflow("train", tmp_path, dataset_dir=str(small_dataset), tracking="mlflow")
    flow.initialize()
    assert "tracking_uri" in flow.parser.config


def test_version_is_the_same_in_metadata_and_package() -> None:
    metadata = json.loads((CONFIGS / "metadata.json").read_text())
    text = (CONFIGS.parent / "pyproject.toml").read_text()
    assert f'version = "{metadata["version"]}"' in text
    assert metadata["version"] in metadata["changelog"]


def test_metadata_names_the_versions_that_the_constraints_pin() -> None:
    metadata = json.loads((CONFIGS / "metadata.json").read_text())
    lines = (CONFIGS.parent / "constraints.txt").read_text().lower().splitlines()
    pins = dict(line.split("==") for line in lines if "==" in line)
    named = metadata["required_packages_version"] | {
        "torch": metadata["pytorch_version"],
        "monai": metadata["monai_version"],
        "numpy": metadata["numpy_version"],
    }
    assert {name: pins[name] for name in named} == named


def test_everything_that_a_run_logs_is_in_one_format(capsys) -> None:
    names = ["", "bundle.data", "ignite.engine", "monai.handlers.StatsHandler", "monai.bundle.workflows"]
    loggers = [logging.getLogger(name) for name in [*names, "monai.bundle.scripts"]]
    before = {one: (one.handlers[:], one.level, one.propagate) for one in loggers}
    try:
        logging.config.fileConfig(CONFIGS / "logging.conf", disable_existing_loggers=False)
        for logger in loggers:
            logger.warning("told by %s", logger.name)
    finally:
        for logger, (handlers, level, propagate) in before.items():
            logger.handlers, logger.propagate = handlers, propagate
            logger.setLevel(level)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == len(loggers)
    assert all(re.fullmatch(r"\d\d:\d\d:\d\d WARNING told by .+", line) for line in lines)
