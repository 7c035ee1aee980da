# SPDX-License-Identifier: Apache-2.0
"""Requests as MONAI Label hands them to the preprocessing; the server itself is in tests/label."""

import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser

from bundle.doubts import Doubt
from bundle.errors import InputError
from bundle.networks import Generator
from bundle.serving import ServedPreprocessing, ServedResultd


class HTTPError(Exception):
    """Stands for starlette's HTTPException."""

    def __init__(self, status_code: int, detail: str) -> None:
        super().__init__(detail)
        self.status_code, self.detail = status_code, detail


@pytest.fixture(autouse=True)
def _web_framework(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("starlette.exceptions")
    vars(module)["HTTPException"] = HTTPError
    monkeypatch.setitem(sys.modules, "starlette.exceptions", module)


@pytest.fixture
def studies(small_dataset: Path, tmp_path: Path) -> Path:
    """Return a folder with a pair, and weights of an untrained network."""
    for contrast in ("T2w", "PDw"):
        shutil.copy(small_dataset / "sub-A" / "anat" / f"sub-A_{contrast}.nii.gz", tmp_path)
    torch.save(Generator().state_dict(), tmp_path / "model.pt")
    return tmp_path


def request(studies: Path, **params: Any) -> dict[str, Any]:
    """Return an item as MONAI Label makes it."""
    image = params.pop("image", str(studies / "sub-A_T2w.nii.gz"))
    return {"device": "cpu", "reference": "", "image": image, "image_path": image, "model": "mcsr"} | params


def served(studies: Path, prepare: Any = dict, **options: Any) -> ServedPreprocessing:
    options = {"weights": studies / "model.pt", "network": Generator()} | options
    return ServedPreprocessing(prepare, None, **options)


def test_a_pair_passes_untouched(studies) -> None:
    pair = {"image": "nowhere.nii.gz", "reference": "neither.nii.gz", "result_dtype": "uint8"}
    assert served(studies)(pair) == pair


def test_a_request_gets_the_pair_s_paths_case_and_intensities_whole(studies) -> None:
    item = served(studies)(request(studies, result_dtype="uint8"))
    paths = {
        key: str(studies / f"sub-A_{contrast}.nii.gz") for key, contrast in (("image", "T2w"), ("reference", "PDw"))
    }
    assert item.items() >= {**paths, "case": "sub-A", "device": "cpu"}.items()
    assert "result_dtype" not in item


@pytest.mark.parametrize("absolute", [True, False])
def test_a_request_may_name_its_reference(absolute, studies) -> None:
    (studies / "other").mkdir()
    named = shutil.copy(studies / "sub-A_PDw.nii.gz", studies / "other" / "sharp.nii.gz")
    given = str(named) if absolute else "other/sharp.nii.gz"
    assert served(studies)(request(studies, reference=given))["reference"] == str(named)


def test_what_the_steps_note_is_answered_and_belongs_to_this_request(studies) -> None:
    def prepare(item: dict[str, Any]) -> dict[str, Any]:
        item["case"].warn(Doubt.GRID, f"warning {len(item['case'].warnings)}")
        return item

    for _ in range(2):
        item = served(studies, prepare)(request(studies))
    item["case"].measured["later"] = {"done": True}  # by the postprocessing
    answer = {"case": "sub-A", **item["case"].told(), "facts": {"later": {"done": True}}}
    assert answer["warnings"] == ["warning 0"]
    assert ServedResultd()(item)["result"] == answer


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"image": ""}, "no image of this name is among the server's studies"),
        ({"image": "sub-A_FLAIR.nii.gz"}, "which file is the reference of this image?"),
        ({"image": "sub-B_T2w.nii.gz"}, "no reference lies beside this image; put sub-B_PDw.nii.gz"),
        ({"model_filename": "other.pt"}, "this model is served with model.pt only"),
    ],
)
def test_an_input_error_becomes_an_answer_with_its_sentence(params, said, studies) -> None:
    with pytest.raises(HTTPError) as answer:
        served(studies)(request(studies, **params))
    assert answer.value.status_code == 422
    assert said in answer.value.detail


def test_an_input_error_that_monai_wrapped_is_answered_and_any_other_error_is_not(studies) -> None:
    def refuse(_: Any) -> None:
        raise RuntimeError("applying transform") from InputError("a.nii: broken.")

    with pytest.raises(HTTPError, match=r"^a\.nii: broken\.$"):
        served(studies, refuse)(request(studies))
    with pytest.raises(ZeroDivisionError):
        served(studies, lambda _: 1 / 0)(request(studies))


def test_weights_that_do_not_fit_are_refused(studies) -> None:
    with pytest.raises(HTTPError, match="another architecture"):
        served(studies, network=Generator(bias=True))(request(studies))
    (studies / "model.json").write_text('{"reference_contrast": "T1w"}')
    with pytest.raises(HTTPError, match="trained with reference_contrast T1w, not PDw"):
        served(studies)(request(studies))


@pytest.mark.parametrize("image", ["sub-B_T2w.nii.gz", "sub-A_FLAIR.nii.gz"])
def test_an_image_without_a_reference_goes_alone_where_the_weights_can(image, studies) -> None:
    item = served(studies, needs_reference=False)(request(studies, image=str(studies / image)))
    assert item["image"] == str(studies / image)
    assert not item.get("reference")


def test_the_config_leaves_the_rules_of_bids_and_ixi_as_they_are(bundle_root) -> None:
    parser = ConfigParser(ConfigParser.load_config_file(bundle_root / "configs" / "inference.yaml"))
    assert parser["reference_names"] == {}
    (serving,) = parser["preprocessing"]["transforms"]
    assert serving["reference_names"] == "@reference_names"
