# SPDX-License-Identifier: Apache-2.0
"""A run is found again by what it recorded, and repeated from it."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from monai.bundle import run

from bundle.errors import InputError
from bundle.settings import ModelSettings, Recipe, TrainingRecord
from bundle.tracking import hyper_parameters, store

TINY: dict[str, Any] = {
    "patch_size": 24,
    "batch_size": 2,
    "epoch_length": 3,
    "max_epochs": 2,
    "n_critic": 1,
    "learning_rate": 1e-4,
    "validate_slices": 1,
    "perceptual_weight": 0,
    "texture_weight": 0,
    "test_subjects": ["D"],
    "validate_subjects": ["C"],
}
TRAIN = "configs/train.yaml"


@pytest.fixture(autouse=True)
def _in_bundle_root(monkeypatch: pytest.MonkeyPatch, bundle_root: Path) -> None:
    monkeypatch.chdir(bundle_root)


@pytest.fixture(autouse=True)
def _random_numbers_as_they_were():
    yield
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.deterministic = False


def train(dataset: Path, output: Path, config: Any = (TRAIN, "configs/variants/residual_4x.yaml"), **keys: Any) -> None:
    run("training", config_file=config, **TINY, dataset_dir=str(dataset), output_dir=str(output), **keys)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "model.pt", weights_only=True)


@pytest.mark.parametrize("alone", [True, False], ids=["alone", "over the stage's config"])
def test_a_run_is_repeated_bit_for_bit_from_the_config_that_it_recorded(alone, small_dataset, tmp_path) -> None:
    first, again, other = (tmp_path / name for name in ("first", "again", "other"))
    train(small_dataset, first, seed=3)
    recorded = str(first / "config.yaml")
    run("training", config_file=recorded if alone else [TRAIN, recorded], output_dir=str(again))
    train(small_dataset, other, seed=4)
    for name, value in weights(first).items():
        assert torch.equal(weights(again)[name], value)
    assert any(not torch.equal(weights(other)[name], value) for name, value in weights(first).items())


def test_the_recorded_config_holds_overrides_and_overlays_and_names_its_command(small_dataset, tmp_path) -> None:
    train(small_dataset, tmp_path)
    text = (tmp_path / "config.yaml").read_text()
    config = yaml.safe_load(text)
    weights = {f"{name}_weight": weight for name, weight in config["recipe"]["loss_weights"].items()}
    flat = {**config, **config["model"], **config["recipe"], **weights}
    assert {key: flat[key] for key in TINY} == TINY
    assert (flat["dataset_dir"], flat["residual"]) == (str(small_dataset), True)  # the latter of the overlay
    assert config["network_def"]["_target_"] == "bundle.networks.build"  # needs no other file
    assert f"run training --config_file \"['configs/train.yaml', '{tmp_path}/config.yaml']\"" in text


def test_tensorboard_holds_settings_config_metrics_and_images(small_dataset, tmp_path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    plugin_data = pytest.importorskip("tensorboard.plugins.hparams.plugin_data_pb2")
    train(small_dataset, tmp_path)
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    content = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    settings = plugin_data.HParamsPluginData.FromString(content).session_start_info.hparams
    assert settings["learning_rate"].number_value == TINY["learning_rate"]
    assert settings["fusion"].string_value == "feature"
    assert b"learning_rate: 0.0001" in events.Tensors("config/text_summary")[0].tensor_proto.string_val[0]
    assert {"loss", "PSNR", "SSIM"} <= {tag.split("/")[-1] for tag in events.Tags()["scalars"]}
    assert events.Tags()["images"]


@pytest.fixture
def mlflow_client(tmp_path: Path) -> Any:
    """Return a client of the store that a training into ``tmp_path / "run"`` makes, or skip."""
    mlflow = pytest.importorskip("mlflow", reason="MLflow is not installed (pip install mcsr-bundle[tracking])")
    return mlflow.MlflowClient(tracking_uri=store(tmp_path / "run"))


def tracked(client: Any, name: str) -> Any:
    """Return the one run of a name."""
    (experiment,) = client.search_experiments(filter_string="name = 'mcsr'")
    (found,) = (r for r in client.search_runs([experiment.experiment_id]) if r.info.run_name == name)
    return found


@pytest.mark.filterwarnings("ignore:The ..noload")  # of what MLflow calls
def test_mlflow_holds_settings_metrics_images_and_the_config_of_training_and_evaluation(
    mlflow_client, small_dataset, tmp_path, monkeypatch
) -> None:
    output = tmp_path / "run"
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "unset")
    monkeypatch.delenv("MLFLOW_DISABLE_TELEMETRY")
    train(small_dataset, output, tracking="mlflow")
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    training = tracked(mlflow_client, "training")
    assert training.info.status == "FINISHED"
    assert training.data.params.items() >= {"learning_rate": "0.0001", "fusion": "feature", "max_epochs": "2"}.items()
    assert training.data.metrics.keys() >= {"loss", "mse", "adversarial", "critic", "PSNR", "SSIM"}
    assert [m.step for m in mlflow_client.get_metric_history(training.info.run_id, "loss")] == [1, 2, 3, 4, 5, 6]
    assert [m.step for m in mlflow_client.get_metric_history(training.info.run_id, "PSNR")] == [1, 2]
    artifact = mlflow_client.download_artifacts(training.info.run_id, "config.yaml", str(tmp_path))
    assert Path(artifact).read_text() == (output / "config.yaml").read_text()
    assert "MLFlowHandler" not in Path(artifact).read_text()  # so that it runs where MLflow is not installed

    settings = {"dataset_dir": str(small_dataset), "training_dir": str(output), "tracking": "mlflow"}
    run("evaluating", config_file="configs/evaluate.yaml", **settings)
    evaluation = tracked(mlflow_client, "evaluation")
    assert evaluation.data.params["learning_rate"] == "0.0001"
    assert evaluation.data.metrics.keys() >= {"low_res/psnr", "super_res/psnr", "super_res/ssim", "super_res/ifc"}
    files = {file.path for file in mlflow_client.list_artifacts(evaluation.info.run_id)}
    assert files >= {"config.yaml", "table.md", "slices.csv", "sub-D.png"}


@pytest.mark.parametrize("name", ["a?b", "a%41"])
def test_a_folder_that_mlflow_would_take_for_another_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="MLflow needs a folder without"):
        store(tmp_path / name)
    assert store(tmp_path / "a #1 @b") == f"sqlite:///{tmp_path}/a #1 @b/mlruns.db"


def test_hyper_parameters_are_single_values_and_short_lists() -> None:
    record = TrainingRecord(ModelSettings(factor=[4, 2]), Recipe(seed=3), train_cases=["A", "B"], seen={"x": 1})
    found = hyper_parameters(record)
    assert (found["factor"], found["seed"], found["residual"], found["mse_weight"]) == ("[4, 2]", 3, False, 0.1)
    assert not {"train_cases", "seen", "max_gradient_norm"} & found.keys()
