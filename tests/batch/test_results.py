# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path

import numpy as np
import pytest

from bundle.batch import Results
from bundle.batch.results import json_value
from bundle.case import Case
from bundle.files import fingerprint


def read(pair: dict[str, str]) -> Case:
    return Case("a", sources={key: fingerprint(pair[key]) for key in ("image", "reference") if key in pair})


def test_json_values_hold_whatever_steps_note() -> None:
    noted = {"a": (1, np.float32(0.5)), "b": float("nan"), "c": Path("x"), "d": np.int64(3), 4: None, "e": True}
    assert json.loads(json.dumps(json_value(noted), allow_nan=False)) == {
        "a": [1, 0.5],
        "b": None,
        "c": "x",
        "d": 3,
        "4": None,
        "e": True,
    }


def test_settings_that_json_changes_match_themselves(tmp_path: Path) -> None:
    pair = {"case": "a", "image": str(tmp_path / "t.nii"), "reference": str(tmp_path / "r.nii")}
    for key in ("image", "reference"):
        Path(pair[key]).write_text(key)
    settings = {"factor": (4, 2), "low_res": None}
    results = Results(tmp_path / "out", settings)
    results.path(pair).parent.mkdir()
    results.path(pair).write_text("output")
    results.mark(pair, read(pair))
    assert Results(tmp_path / "out", settings).finished(pair) is not None
    assert Results(tmp_path / "out", {"factor": (4, 4), "low_res": None}).finished(pair) is None


def test_a_folder_of_slices_is_changed_where_one_of_them_is(tmp_path: Path) -> None:
    series = tmp_path / "series"
    series.mkdir()
    for name in "ab":
        (series / name).write_text(name)
    pair = {"case": "a", "image": str(series)}
    results = Results(tmp_path / "out", {})
    results.path(pair).parent.mkdir()
    results.path(pair).write_text("output")
    results.mark(pair, read(pair))
    assert results.finished(pair)
    (series / "b").write_text("longer")
    assert results.finished(pair) is None


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ({"pages": True}, "a_sr.html"),
        ({"settings": {"interval": True}}, "a_interval.nii.gz"),
        ({"settings": {"dicom": True}}, "a_sr_dicom"),
    ],
    ids=["page", "interval", "DICOM"],
)
def test_an_output_is_not_done_without_what_was_asked_for_beside_it(asked, name, tmp_path: Path) -> None:
    (tmp_path / "t.nii").write_text("image")
    pair = {"case": "a", "image": str(tmp_path / "t.nii")}
    results = Results(tmp_path / "out", **{"settings": {}, **asked})
    output = results.path(pair)
    output.parent.mkdir()
    output.write_text("output")
    results.mark(pair, read(pair))
    assert results.finished(pair) is None
    output.with_name(name).write_text("beside it")
    assert results.finished(pair)


SPOILT = ["null", "3", '"text"', "[]", '{"image": null}', '{"image": 3}', '{"image": {"path": 3}}']


@pytest.mark.parametrize("inputs", SPOILT)
def test_a_record_with_spoilt_inputs_is_that_of_nothing_done(inputs: str, tmp_path: Path) -> None:
    (tmp_path / "t.nii").write_text("image")
    pair = {"case": "a", "image": str(tmp_path / "t.nii")}
    results = Results(tmp_path, {})
    results.path(pair).write_text("output")
    results.record_path(pair).write_text(f'{{"case": "a", "settings": {{}}, "bytes": 6, "inputs": {inputs}}}')
    assert results.finished(pair) is None
    assert results.is_own(pair)
