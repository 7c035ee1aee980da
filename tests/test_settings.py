# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path
from typing import Any

import pytest

from bundle.errors import InputError
from bundle.pseudonyms import hidden
from bundle.settings import (
    IMAGES,
    PAPER_WEIGHTS,
    STRUCTURE,
    ModelSettings,
    Recipe,
    TrainingRecord,
    cases_seen,
    differing,
    factor_of,
    place_of,
    read_record,
    record_path,
    recorded,
    recorded_model,
    setting_names,
)

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = sorted((ROOT / "models").glob("*.json"))
CONFIG = {"model": {"factor": 4}, "recipe": {"loss_weights": {"mse": 0.1}}, "fold": None}


def written(folder: Path, name: str, **content: Any) -> Path:
    """Write a training record, and an empty file of weights beside it."""
    (folder / f"{name}.pt").touch()
    (folder / f"{name}.json").write_text(json.dumps(content))
    return folder / f"{name}.pt"


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_shipped_records_come_back_from_json_with_every_entry(file: Path) -> None:
    content = json.loads(file.read_text())
    record = TrainingRecord.from_json(content)
    assert TrainingRecord.from_json(record.to_json()) == record
    back = record.to_json()
    off = {key for key, value in content.items() if key.endswith("_weight") and value == 0}
    assert {key: back[key] for key in content.keys() - off} == {key: content[key] for key in content.keys() - off}
    assert not off & back.keys()


def test_there_are_shipped_records() -> None:
    assert len(SHIPPED) == 4


def test_a_record_of_any_settings_comes_back_from_json() -> None:
    record = TrainingRecord(
        ModelSettings("FastGenerator", {"n_blocks": 3}, "image", 2, True, True, True, True, [4, 2], False, "slice"),
        Recipe(noise=0.1, level_factors=[[2, 1]], max_gradient_norm=0.5, loss_weights={"l1": 1.0}, seed=7),
        "T1w",
        "abc",
        ["a", "b"],
        "f00d",
        {"spacing": [0.5, 0.6]},
        {"factor": 2.4},
        {"iterations": 3, "licence": "CC BY 4.0"},
    )
    content = json.loads(json.dumps(record.to_json()))
    assert TrainingRecord.from_json(content) == record
    assert (content["fusion"], content["seed"], content["l1_weight"], content["iterations"]) == ("image", 7, 1.0, 3)


@pytest.mark.parametrize("content", [{}, {"factor": 2}, {"residual": True, "reference_contrast": None}], ids=str)
def test_what_an_old_record_does_not_tell_is_at_its_default(content: dict[str, Any]) -> None:
    record = TrainingRecord.from_json(content)
    assert record.model == ModelSettings(**{key: content[key] for key in ("factor", "residual") if key in content})
    assert record.recipe == Recipe()
    assert (record.reference_contrast, record.initial_weights) == (None, None)
    assert (record.train_cases, record.seen, record.about) == ([], {}, {})


def test_defaults_are_the_paper_s_and_not_shared() -> None:
    assert Recipe().loss_weights == PAPER_WEIGHTS == {"adversarial": 1, "mse": 0.1, "perceptual": 1, "texture": 0.1}
    assert (ModelSettings().architecture, ModelSettings().fusion, ModelSettings().levels) == ("Generator", "feature", 1)
    Recipe().loss_weights["l1"] = 1.0
    ModelSettings().size["n_blocks"] = 3
    assert Recipe().loss_weights == PAPER_WEIGHTS
    assert ModelSettings().size == {}


def test_losses_that_are_switched_off_are_left_out() -> None:
    recipe = Recipe(loss_weights={"mse": 0.1, "adversarial": 0, "l1": 0.0})
    assert recipe.loss_weights == {"mse": 0.1}
    assert recipe == Recipe(loss_weights={"mse": 0.1})
    content = TrainingRecord(recipe=recipe).to_json()
    assert [key for key in content if key.endswith("_weight")] == ["penalty_weight", "mse_weight"]
    assert TrainingRecord.from_json({"mse_weight": 1, "texture_weight": 0}).recipe.loss_weights == {"mse": 1}


@pytest.mark.parametrize(
    ("weights", "needed"),
    [({"mse": 1}, False), ({"perceptual": 1}, True), ({"texture": 1}, True), ({"mse": 1, "texture": 0}, False)],
)
def test_features_are_needed_by_perceptual_and_texture_loss(weights: dict[str, float], needed: bool) -> None:
    assert Recipe(loss_weights=weights).needs_features is needed


def test_trainings_differ_in_their_settings_and_not_in_what_was_measured_or_told() -> None:
    known = {"reference_contrast": "T1w", "train_cases": ["a"]}
    record = TrainingRecord(**known, seen={"spacing": [1]}, about={"epochs": 1})
    same = TrainingRecord(**known, seen={"spacing": [2]}, about={"epochs": 2})
    assert record.differences(same) == {}
    assert record.differences(TrainingRecord(train_cases=["a"], about={"data": "IXI"})) == {
        "reference_contrast": ("T1w", None)
    }
    other = TrainingRecord(
        ModelSettings(factor=[4, 2]), Recipe(seed=1, loss_weights={"mse": 0.2, "l1": 1}), "T1w", None, ["a", "b"]
    )
    assert record.differences(other) == {
        "factor": (4, [4, 2]),
        "seed": (0, 1),
        "adversarial_weight": (1.0, None),
        "mse_weight": (0.1, 0.2),
        "perceptual_weight": (1.0, None),
        "texture_weight": (0.1, None),
        "train_cases": (hidden(["a"]), hidden(["a", "b"])),
        "l1_weight": (None, 1),
    }


def test_trainings_differ_in_what_one_of_them_records_as_null() -> None:
    stored = TrainingRecord.from_json(TrainingRecord().to_json())
    assert TrainingRecord(reference_contrast="T1w", initial_weights="abc").differences(stored) == {
        "reference_contrast": ("T1w", None),
        "initial_weights": ("abc", None),
    }


def test_an_old_checkpoint_is_of_the_same_training_where_later_settings_are_at_their_defaults() -> None:
    old = TrainingRecord.from_json({"factor": 2, "train_cases": ["a"]})
    assert TrainingRecord(ModelSettings(factor=2), train_cases=["a"]).differences(old) == {}
    assert TrainingRecord(ModelSettings(factor=2), Recipe(flips=True), train_cases=["a"]).differences(old) == {
        "flips": (True, False)
    }


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("factor", "model::factor"),
        ("levels", "model::levels"),
        ("seed", "recipe::seed"),
        ("penalty_weight", "recipe::penalty_weight"),
        ("mse_weight", "recipe::loss_weights::mse"),
        ("l1_weight", "recipe::loss_weights::l1"),
        ("fold", None),
        ("model", None),
        ("no_such_key", None),
    ],
)
def test_a_setting_has_one_place_in_a_config(name: str, place: str | None) -> None:
    assert place_of(name, CONFIG) == place


def test_a_key_of_the_config_itself_stays_and_blocks_that_are_not_there_hold_nothing() -> None:
    assert place_of("noise", {"model": {}, "noise": 0.1}) is None
    assert place_of("seed", {"model": {}}) is None
    assert place_of("mse_weight", {"model": {}, "recipe": {}}) is None
    assert place_of("factor", {}) is None


def test_no_setting_has_its_name_from_both_blocks() -> None:
    assert not set(setting_names(ModelSettings)) & set(setting_names(Recipe))
    assert set(STRUCTURE) | set(IMAGES) <= set(setting_names(ModelSettings))


def test_differing_settings_are_told_with_both_values() -> None:
    models = ModelSettings(factor=2, bias=True), ModelSettings(factor=4, levels=2)
    assert differing(*models, IMAGES) == {"factor": (2, 4)}
    assert differing(*models, STRUCTURE) == {"levels": (1, 2)}


def test_a_recorded_model_takes_what_is_given_in_its_place(tmp_path: Path) -> None:
    weights = written(tmp_path, "w", factor=2, fusion="image")
    assert recorded_model(weights) == ModelSettings(factor=2, fusion="image")
    assert recorded_model(weights, factor=4) == ModelSettings(factor=4, fusion="image")
    assert recorded_model(None) == ModelSettings()


def test_unknown_settings_are_refused_with_those_that_there_are() -> None:
    with pytest.raises(InputError, match=r"model has no setting faktor, levelz; it has architecture, size, fusion"):
        recorded_model(None, factor=4, faktor=2, levelz=1)


@pytest.mark.parametrize("content", ["{", "3", '{"train_cases": 3, "size": ', "\xff"])
def test_a_damaged_record_is_refused_or_passed_over(content: str, tmp_path: Path) -> None:
    (tmp_path / "w.json").write_text(content, encoding="latin-1")
    with pytest.raises(InputError, match=r"w\.json: this training record is damaged; restore it, or move it away"):
        read_record(tmp_path / "w.pt")
    assert recorded(tmp_path / "w.pt") == TrainingRecord()


def test_weights_without_a_record_are_at_the_defaults(tmp_path: Path) -> None:
    for path in (None, tmp_path / "none.pt"):
        assert read_record(path) is None
        assert recorded(path) == TrainingRecord()
    assert record_path("~/a.pt") == Path.home() / "a.json"


@pytest.mark.parametrize(
    ("settings", "any_factor", "needs_reference"),
    [
        ({}, False, True),
        ({"degradation": "scanner"}, True, False),
        ({"fusion": "none"}, False, False),
        ({"architecture": "SingleContrastResidual"}, False, False),
    ],
)
def test_what_weights_serve_is_told_by_what_trained_them(settings, any_factor, needs_reference) -> None:
    model = ModelSettings(**settings, factor=3)
    assert (model.any_factor, model.needs_reference) == (any_factor, needs_reference)
    assert factor_of(None, model) == (None if any_factor else 3)
    assert factor_of(2, model) == 2


def test_cases_that_weights_have_seen_are_hidden_with_those_seen_before(tmp_path: Path) -> None:
    assert cases_seen(["b", "a"], None) == hidden(["a", "b"])
    (tmp_path / "model.json").write_text(json.dumps({"train_cases": ["b", "a", "c"]}))  # of before 0.8.0
    assert cases_seen(["d", "a"], tmp_path / "model.pt") == hidden(["a", "b", "c", "d"])
    (tmp_path / "model.json").write_text(json.dumps({"train_cases": hidden(["b", "a"])}))
    assert cases_seen(["d"], tmp_path / "model.pt") == sorted([*hidden(["a", "b"]), *hidden(["d"])])


def test_a_checkpoint_that_tells_names_is_of_the_same_training_whatever_their_order() -> None:
    own = TrainingRecord(train_cases=cases_seen(["a", "b"], None))
    assert own.differences(TrainingRecord(train_cases=["b", "a"])) == {}
    assert own.differences(TrainingRecord(train_cases=["b"])).keys() == {"train_cases"}
