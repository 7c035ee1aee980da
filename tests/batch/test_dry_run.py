# SPDX-License-Identifier: Apache-2.0
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.data import MetaTensor

from bundle.acquisition import AxisEstimate
from bundle.batch.dry_run import Plan
from bundle.case import Case, LowResFinding
from bundle.errors import InputError, SomeFailedError

PAIR = {"case": "sub-1", "image": "in/sub-1_T2w.nii.gz", "reference": "in/sub-1_T1w.nii.gz"}


def item(shift: float = 0.0, shape: tuple[int, int, int] = (20, 30, 4)) -> dict[str, Any]:
    affine = torch.eye(4, dtype=torch.float64)
    moved = affine.clone()
    moved[0, 3] = shift
    return {
        "image": MetaTensor(torch.zeros(1, 20, 30, 4), affine=affine),
        "reference": MetaTensor(torch.zeros(1, *shape), affine=moved),
    }


def row(register: object = None, **options: Any) -> list[str]:
    plan = Plan(1e-2, register)
    sizes: Any = ([20, 30, 4],) * 2
    low_res = LowResFinding("zero-filled", 2, *sizes, *[[1.0] * 3] * 2, (AxisEstimate(20, 4.0), AxisEstimate(30, 2.5)))
    plan.add(PAIR, "sub-1_sr.nii.gz", item(**options) | {"case": Case("sub-1", low_res=low_res)})
    return [cell.strip() for cell in plan.text().splitlines()[2].strip("|").split("|")]


def test_a_row_tells_what_will_be_done() -> None:
    cells = ["sub-1", "sub-1_T2w.nii.gz", "sub-1_T1w.nii.gz", "zero-filled", "20 x 30 x 4"]
    assert row() == [*cells, "same grid", "24 s", "sub-1_sr.nii.gz"]


@pytest.mark.parametrize(
    ("register", "options", "word"),
    [
        ("auto", {}, "same grid"),
        ("auto", {"shift": 0.09}, "same grid"),
        ("auto", {"shift": 0.2}, "registered"),
        ("auto", {"shape": (20, 30, 5)}, "registered"),
        (True, {}, "registered"),
        (False, {"shift": 0.2}, "by header"),
        (False, {}, "same grid"),
    ],
)
def test_a_reference_on_another_grid_is_told(register, options, word) -> None:
    assert row(register, **options)[5] == word


def test_a_dry_run_checks_and_tells_and_writes_nothing(make_pairs, make_batch, treated, caplog, tmp_path) -> None:
    pairs = make_pairs("a", "b", "c")
    make_batch(pairs[:1]).run()
    treated()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}

    def check(pair: Any) -> dict[str, Any]:
        if pair["case"] == "c":
            raise KeyError("scale")
        return item()

    with pytest.raises(SomeFailedError, match="1 of 3 cases were left out, the others can be done"):
        make_batch(pairs, check).run(dry_run=True)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    lines = [line for line in caplog.text.splitlines() if line.startswith(("| a ", "| b "))]
    assert ["done" in line for line in lines] == [True, False]
    assert "b_sr.nii.gz" in lines[1]
    assert "The network takes about 2 s in all" in caplog.text


def test_a_dry_run_makes_no_folder(make_pairs, make_batch, tmp_path) -> None:
    make_batch(make_pairs("a"), lambda _: item()).run(dry_run=True)
    assert not Path(tmp_path / "out").exists()


def test_a_dry_run_names_what_would_fail_and_counts_what_is_passed_over(
    make_pairs, make_batch, caplog, tmp_path
) -> None:
    pairs = make_pairs("a", "b", "c")
    pairs[1]["fault"] = "b.nii: it leaves a guess."
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "c_sr.nii.gz").write_text("somebody's own")
    with pytest.raises(SomeFailedError, match=r"2 of 3 .* See the lines above for the reasons"):
        make_batch(pairs, lambda _: item(), passed_over={"its format is not read": ["x.mgz"]}).run(dry_run=True)
    assert "1 cases to do or done, 2 that fail; 1 files or series passed over" in caplog.text
    assert "b is left out: b.nii: it leaves a guess." in caplog.text
    assert "c_sr.nii.gz: this is there already" in caplog.text


@pytest.mark.parametrize("n_bytes", [4 * 20 * 30 * 4, 4 * 20 * 30 * 4 - 1])
def test_a_dry_run_tells_where_the_disk_has_too_little_room(n_bytes, make_pairs, make_batch, caplog, monkeypatch):
    monkeypatch.setattr("bundle.batch.batch.free_bytes", lambda _: n_bytes)
    make_batch(make_pairs("a"), lambda _: item()).run(dry_run=True)
    assert ("the results may take 0.0 GB where 0.0 GB are free" in caplog.text) is (n_bytes % 2 == 1)


@pytest.mark.parametrize("place", ["out", "report"])
def test_a_dry_run_refuses_a_folder_that_cannot_be_written(place, make_pairs, make_batch, tmp_path) -> None:
    blocked = tmp_path / "out" if place == "out" else tmp_path / "file"
    blocked.touch()
    report = None if place == "out" else blocked / "r.json"
    with pytest.raises(InputError, match=f"{blocked}: cannot write into this output folder .*Not a directory"):
        make_batch(make_pairs("a"), lambda _: item()).run(dry_run=True, report=report)


def test_a_dry_run_refuses_the_folder_of_a_data_set_that_is_not_derived(make_pairs, make_batch, tmp_path) -> None:
    (pair,) = make_pairs("a")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "dataset_description.json").write_text('{"Name": "raw"}')
    with pytest.raises(InputError, match="holds a BIDS data set that is not derived"):
        make_batch([pair | {"dataset": str(tmp_path / "in")}], lambda _: item()).run(dry_run=True)
    derived = tmp_path / "out" / "dataset_description.json"
    derived.unlink()
    make_batch([pair | {"dataset": str(tmp_path / "in")}], lambda _: item()).run(dry_run=True)
    assert not derived.exists()
    make_batch([pair | {"dataset": str(tmp_path / "in")}]).run()
    assert derived.exists()
