# SPDX-License-Identifier: Apache-2.0
"""Of several weights, the ones that were trained for the task are taken; doubt is told with what is at hand."""

import json
from pathlib import Path
from typing import Any

import pytest

from bundle.cli import enhance
from bundle.cli.model_choice import choose_weights
from bundle.errors import InputError


def models(folder: Path, **records: dict[str, Any] | None) -> Path:
    """Write a folder of weights by name, each with its training record or none."""
    folder.mkdir()
    for name, record in records.items():
        (folder / f"{name}.pt").touch()
        if record is not None:
            (folder / f"{name}.json").write_text(json.dumps(record))
    return folder


def record(factor: float, contrast: str | None) -> dict[str, Any]:
    return {"factor": factor, "reference_contrast": contrast, "levels": 1}


@pytest.fixture
def four(tmp_path: Path) -> Path:
    """Return a folder of weights for two factors and two contrasts."""
    named = {f"x{factor}_{contrast}": record(factor, contrast) for factor in (2, 4) for contrast in ("PDw", "T1w")}
    return models(tmp_path / "models", **named, checkpoint=None)


@pytest.mark.parametrize("factor", [2, 4])
@pytest.mark.parametrize("contrast", ["PDw", "T1w"])
def test_factor_and_contrast_of_the_reference_choose_the_weights(four: Path, factor: int, contrast: str) -> None:
    named = {"image": "sub-1_T2w.nii.gz", "reference": f"/data/sub-1_{contrast}.nii.gz", "factor": factor}
    assert choose_weights(four, named) == four / f"x{factor}_{contrast}.pt"
    assert choose_weights(four, {"reference_contrast": contrast, "factor": factor}) == four / f"x{factor}_{contrast}.pt"


def test_the_contrast_of_a_data_set_chooses_too(four: Path, tmp_path: Path) -> None:
    for name in ("sub-1_T2w.nii.gz", "sub-1_T1w.nii.gz"):
        (tmp_path / name).touch()
    assert choose_weights(four, {"dataset_dir": str(tmp_path), "factor": 2}) == four / "x2_T1w.pt"


def test_the_only_fitting_weights_need_no_factor(tmp_path: Path) -> None:
    folder = models(tmp_path / "models", a=record(4, "T1w"), b=record(4, "PDw"))
    assert choose_weights(folder, {"reference_contrast": "PDw"}) == folder / "b.pt"


def test_a_file_is_taken_as_it_is_and_so_are_the_only_weights_of_a_folder(tmp_path: Path) -> None:
    folder = models(tmp_path / "models", only=None)
    assert choose_weights(folder / "only.pt", {"factor": 3}) == folder / "only.pt"
    assert choose_weights(folder, {}) == folder / "only.pt"


def test_a_damaged_record_counts_as_none(tmp_path: Path) -> None:
    folder = models(tmp_path / "models", a=record(4, "T1w"), b=None)
    (folder / "b.json").write_text("{")
    assert choose_weights(folder, {}) == folder / "a.pt"


def test_weights_of_unknown_contrast_fit_any_reference(tmp_path: Path) -> None:
    folder = models(tmp_path / "models", a=record(4, None), b=record(4, "T1w"))
    assert choose_weights(folder, {"reference_contrast": "PDw"}) == folder / "a.pt"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"factor": 3}, "no weights are for factor 3 .*x2_PDw.pt: factor 2, reference PDw; .*x4_T1w.pt"),
        (
            {"reference_contrast": "T1w"},
            "2 weights are for reference_contrast T1w .x2_T1w.pt: .*; x4_T1w.pt: .*--factor",
        ),
        ({"image": "a.nii", "reference": "b.nii"}, "4 weights are for any factor"),
    ],
    ids=str,
)
def test_doubt_is_told_with_what_is_at_hand(four: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        choose_weights(four, options)


@pytest.mark.parametrize("names", [[], ["a", "b"]])
def test_a_folder_without_records_needs_a_file_to_be_named(names: list[str], tmp_path: Path) -> None:
    folder = models(tmp_path / "models", **dict.fromkeys(names))
    with pytest.raises(InputError, match=r"of weights .* and no training record; name one file as --model"):
        choose_weights(folder, {})


def test_the_folder_s_default_decides_where_several_fit(four: Path) -> None:
    (four / "x4_T1w.pt").rename(four / "model.pt")
    (four / "x4_T1w.json").rename(four / "model.json")
    assert choose_weights(four, {"reference_contrast": "T1w"}) == four / "model.pt"
    assert choose_weights(four, {"reference_contrast": "T1w", "factor": 2}) == four / "x2_T1w.pt"


def test_weights_without_a_reference_are_taken_where_there_are_no_others(tmp_path: Path) -> None:
    alone = models(tmp_path / "alone", a=record(4, None) | {"fusion": "none"})
    assert choose_weights(alone, {"factor": 4}) == alone / "a.pt"
    both = models(tmp_path / "both", a=record(4, None) | {"fusion": "none"}, b=record(4, "T1w"))
    assert choose_weights(both, {"factor": 4}) == both / "b.pt"


@pytest.mark.parametrize(
    ("reference", "options", "name"),
    [("T1w", [], "model.pt"), ("T1w", ["--factor", "2"], "T1w_2x.pt"), ("PDw", [], "PDw_4x.pt")],
)
def test_the_bundle_s_weights_are_taken_where_none_are_named(
    reference: str, options: list[str], name: str, tmp_path: Path, recorder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enhance, "MODELS", "models")
    image, other = (tmp_path / f"sub-1_{contrast}.nii.gz" for contrast in ("T2w", reference))
    image.touch()
    other.touch()
    keys = recorder.keys_of("enhance", str(image), "--reference", str(other), "-o", str(tmp_path), *options)
    assert keys["ckpt_path"] == str(Path(__file__).parents[2] / "models" / name)
