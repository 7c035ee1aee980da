# SPDX-License-Identifier: Apache-2.0
"""No input and no foreign file is written over: a case that would is refused before the first is computed."""

import json
import os
import shutil
from pathlib import Path

import pytest

from bundle.errors import InputError


@pytest.fixture
def refused(make_batch, treated, tmp_path):
    """Return a function that runs a batch, which must fail its first case with a sentence and leave all files alone."""

    def run(pairs, match: str, report=None, done=(), **options) -> None:
        before = contents(tmp_path)
        with pytest.raises(InputError, match=match):
            make_batch(pairs, **options).run(report=report)
        assert before.items() <= contents(tmp_path).items()
        assert treated() == list(done)

    return run


def contents(folder: Path) -> dict[str, bytes]:
    """Return what all files hold but an own report, which is written anew."""
    found = {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {path: content for path, content in found.items() if b'"interrupted"' not in content}


@pytest.mark.parametrize("key", ["image", "reference"])
@pytest.mark.parametrize("of", ["same", "other"])
def test_an_output_that_is_an_input_of_the_list_is_refused(of, key, make_pairs, make_batch, refused, tmp_path) -> None:
    first, second = make_pairs("a", "b")
    make_batch([first]).run()  # so that a_sr.nii.gz is an own earlier result
    (tmp_path / "treated").unlink()
    result = str(tmp_path / "out" / "a_sr.nii.gz")
    pairs = [first | {key: result}] if of == "same" else [first, second | {key: result}]
    message = r"a_sr\.nii\.gz: this would be written over or into .*a_sr\.nii\.gz, an input"
    refused(pairs, message, done=[] if of == "same" else ["b"])


def test_an_output_that_is_an_input_by_a_link_is_refused(make_pairs, refused, tmp_path) -> None:
    (pair,) = make_pairs("a")
    (tmp_path / "link").symlink_to(tmp_path / "in")
    (tmp_path / "in").joinpath("a_image.nii").rename(tmp_path / "in" / "x.nii.gz")
    (tmp_path / "out").symlink_to(tmp_path / "in")
    refused([pair | {"image": str(tmp_path / "link" / "x.nii.gz"), "output": "x"}], "an input; choose another name")


def test_outputs_in_the_folder_of_a_series_are_refused(make_pairs, refused, tmp_path) -> None:
    (pair,) = make_pairs("a")
    (tmp_path / "out").mkdir()
    refused([pair | {"reference": str(tmp_path / "out")}], "would be written over or into .*out, an input")


@pytest.mark.parametrize("named", ["image", "list.csv", "model.pt"])
def test_a_report_in_the_place_of_an_input_or_another_file_is_refused(named, make_pairs, refused, tmp_path) -> None:
    pairs = make_pairs("a")
    (tmp_path / "list.csv").write_text("image,reference")
    (tmp_path / "model.pt").write_text("weights")
    report = pairs[0]["image"] if named == "image" else tmp_path / named
    refused(pairs, "would be written over or into|no record shows that it is a result", report=report)


def test_a_report_in_the_place_of_an_output_is_refused(make_pairs, refused, tmp_path) -> None:
    refused(make_pairs("a"), "the report of all and .* would both become", report=tmp_path / "out" / "a_sr.json")


@pytest.mark.parametrize("name", ["report.json", "a_sr.nii.gz", "a_sr.json"])
@pytest.mark.parametrize("content", ["", "{}", "[" * 9, json.dumps({"cases": [], "settings": {}})])
def test_a_foreign_file_in_the_output_folder_is_refused(name, content, make_pairs, refused, tmp_path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text(content)
    for resume in (True, False):
        refused(make_pairs("a"), f"{name}: this is there already, and no record shows", resume=resume)


@pytest.mark.parametrize("name", ["index.html", "a_sr.html", "a_interval.nii.gz"])
def test_foreign_pages_and_maps_are_refused_where_they_are_written(name, make_pairs, make_batch, refused, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("<h1>The ward's own page</h1>")
    asked = {"pages": True, "settings": {"interval": True}}
    refused(make_pairs("a"), f"{name}: this is there already, and no record shows", **asked)
    make_batch(make_pairs("a")).run()
    assert (tmp_path / "out" / name).read_text() == "<h1>The ward's own page</h1>"


def test_a_link_to_nowhere_in_the_place_of_an_output_is_refused(make_pairs, refused, tmp_path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a_sr.nii.gz").symlink_to(tmp_path / "nowhere")
    refused(make_pairs("a"), "this is there already")


def test_what_another_process_takes_back_meanwhile_is_not_foreign(
    make_pairs, make_batch, treated, monkeypatch, tmp_path
) -> None:
    batch = make_batch(make_pairs("a"))
    record = batch.results.record_path(batch.pairs[0])
    record.parent.mkdir()
    record.write_text("{}")

    def is_own(_: object) -> bool:
        record.unlink()
        return False

    monkeypatch.setattr(batch.results, "is_own", is_own)
    batch.run()
    assert treated() == ["a"]


def test_own_results_report_and_page_are_known(make_pairs, make_batch, treated, tmp_path) -> None:
    for _ in range(2):
        make_batch(make_pairs("a", "b"), pages=True).run()
        (tmp_path / "out" / "a_sr.html").write_text("page")
        (tmp_path / "out" / "b_sr.html").write_text("page")
    assert (tmp_path / "out" / "index.html").is_file()
    make_batch(make_pairs("a", "b"), pages=True, resume=False).run()
    assert treated() == ["a", "b"] * 2


def test_results_whose_record_is_lost_are_not_replaced(make_pairs, make_batch, refused, tmp_path) -> None:
    pairs = make_pairs("a")
    make_batch(pairs).run()
    (tmp_path / "treated").unlink()
    (tmp_path / "out" / "a_sr.json").write_text("{")
    refused(pairs, "a_sr.nii.gz: this is there already")


def test_a_result_may_lie_beside_its_image(make_pairs, make_batch, tmp_path) -> None:
    pairs = make_pairs("a")
    shutil.move(tmp_path / "in", tmp_path / "out")
    moved = [{key: value.replace(f"{os.sep}in{os.sep}", f"{os.sep}out{os.sep}") for key, value in pairs[0].items()}]
    make_batch(moved).run()
    assert (tmp_path / "out" / "a_sr.nii.gz").read_text() == "a"
