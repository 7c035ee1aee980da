# SPDX-License-Identifier: Apache-2.0
"""A batch goes on, stops and resumes as it should."""

import contextlib
import errno
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.data import MetaTensor

from bundle.batch.locks import FOLDER, Lock
from bundle.batch.stopping import is_disk_full
from bundle.errors import InputError, SomeFailedError
from bundle.files import atomic_path


def report_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "report.json").read_text())


def statuses(folder: Path) -> dict[str, str]:
    return {entry["case"]: entry["status"] for entry in report_of(folder)["cases"]}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_every_case_gets_an_output_and_its_record(make_pairs, make_batch, tmp_path) -> None:
    make_batch(make_pairs("a", "b")).run()
    assert names(tmp_path / "out") == {"a_sr.nii.gz", "a_sr.json", "b_sr.nii.gz", "b_sr.json", "report.json"}
    record = json.loads((tmp_path / "out" / "a_sr.json").read_text())
    assert record["settings"] == {"factor": 4}
    assert record["warnings"] == ["a looks odd."]
    assert record["facts"]["time"] == {"seconds": 0.0, "network_seconds": 0.0}
    assert record["inputs"]["image"]["path"] == str(tmp_path / "in" / "a_image.nii")


def test_all_inputs_are_checked_before_the_first_is_done(make_pairs, make_batch, treated) -> None:
    seen = []

    def check(pair: Any) -> None:
        seen.append((pair["case"], treated()))

    make_batch(make_pairs("a", "b", "c"), check).run()
    assert seen == [("a", []), ("b", []), ("c", [])]


def test_one_bad_case_of_three_is_left_out_and_named_at_the_end(make_pairs, make_batch, treated, tmp_path) -> None:
    batch = make_batch(make_pairs("a", "bad", "b"))
    with pytest.raises(SomeFailedError) as caught:
        batch.run()
    assert str(caught.value) == "1 of 3 cases were left out, the others are done. bad: bad.nii: it is bad; mend it."
    assert treated() == ["a", "bad", "b"]
    assert statuses(tmp_path / "out") == {"a": "done", "bad": "failed", "b": "done"}
    assert not list((tmp_path / "out").glob(".*partial*"))


def test_several_bad_cases_are_counted_and_the_report_named_at_the_end(make_pairs, make_batch, tmp_path) -> None:
    with pytest.raises(SomeFailedError) as caught:
        make_batch(make_pairs("bad", "b", "bad2")).run()
    report = tmp_path / "out" / "report.json"
    assert str(caught.value) == f"2 of 3 cases were left out, the others are done. See {report} for the reasons."
    assert {entry["case"] for entry in json.loads(report.read_text())["cases"] if "reason" in entry} == {"bad", "bad2"}


def test_a_case_that_the_check_refuses_is_not_treated(make_pairs, make_batch, treated, tmp_path) -> None:
    def check(pair: Any) -> None:
        if pair["case"] == "b":
            raise InputError("b.nii: it is bad; mend it.")

    with pytest.raises(SomeFailedError, match=r"b: b\.nii: it is bad"):
        make_batch(make_pairs("a", "b"), check).run()
    assert treated() == ["a"]
    assert report_of(tmp_path / "out")["cases"][1]["reason"] == "b.nii: it is bad; mend it."


@pytest.mark.parametrize(
    ("case", "reason"),
    [("odd", "unexpected: KeyError: 'scale'"), ("large", "unexpected: MemoryError"), ("bad", "bad.nii: it is bad")],
)
def test_whatever_goes_wrong_with_a_case_leaves_the_others_alone(
    case, reason, make_pairs, make_batch, caplog, tmp_path
) -> None:
    with pytest.raises(SomeFailedError, match=reason):
        make_batch(make_pairs(case, "a")).run()
    assert (tmp_path / "out" / "a_sr.nii.gz").read_text() == "a"
    shown = [record for record in caplog.records if record.exc_info]
    assert [record.levelname for record in shown] == ["DEBUG"]


def test_a_single_case_fails_with_its_own_reason(make_pairs, make_batch, tmp_path) -> None:
    with pytest.raises(InputError, match=r"^bad\.nii: it is bad; mend it\.$"):
        make_batch(make_pairs("bad")).run()
    assert statuses(tmp_path / "out") == {"bad": "failed"}


def test_a_full_disk_stops_the_batch_and_the_next_run_goes_on(make_pairs, make_batch, treated, tmp_path) -> None:
    with pytest.raises(InputError, match=r"out: the disk is full; free some space and run the same command again"):
        make_batch(make_pairs("a", "full", "b")).run()
    assert treated() == ["a", "full"]
    assert names(tmp_path / "out") == {"a_sr.nii.gz", "a_sr.json", "report.json"}
    assert statuses(tmp_path / "out") == {"a": "done", "full": "waiting", "b": "waiting"}
    make_batch(make_pairs("a", "b")).run()
    assert treated() == ["b"]


def test_a_full_disk_is_told_from_other_errors() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with pytest.raises(OSError, match="No space") as caught, Path("/dev/full").open("w") as stream:
        stream.write("a")
    assert is_disk_full(caught.value)
    assert not is_disk_full(OSError(errno.EACCES, "denied"))


def test_what_is_done_is_not_done_again(make_pairs, make_batch, treated, tmp_path) -> None:
    make_batch(make_pairs("a", "b")).run()
    treated()
    make_batch(make_pairs("a", "b", "c")).run()
    assert treated() == ["c"]
    assert statuses(tmp_path / "out") == {"a": "skipped", "b": "skipped", "c": "done"}
    assert report_of(tmp_path / "out")["cases"][0]["warnings"] == ["a looks odd."]


def test_what_failed_is_tried_again(make_pairs, make_batch, treated) -> None:
    for _ in range(2):
        with pytest.raises(SomeFailedError):
            make_batch(make_pairs("bad", "a")).run()
    assert treated() == ["bad", "a", "bad"]


def test_resume_false_does_all_again(make_pairs, make_batch, treated) -> None:
    make_batch(make_pairs("a")).run()
    make_batch(make_pairs("a"), resume=False).run()
    assert treated() == ["a", "a"]


@pytest.mark.parametrize("change", ["settings", "input", "output cut", "output gone", "both gone"])
def test_a_change_makes_an_output_anew(change, make_pairs, make_batch, treated, tmp_path) -> None:
    pairs, out = make_pairs("a", "b"), tmp_path / "out"
    make_batch(pairs).run()
    treated()
    if change == "input":
        Path(pairs[0]["reference"]).write_text("another")
    if change == "output cut":
        (out / "a_sr.nii.gz").write_text("")
    if change.endswith("gone"):
        (out / "a_sr.nii.gz").unlink()
    if change == "both gone":
        (out / "a_sr.json").unlink()
    make_batch(pairs, settings={"factor": 2 if change == "settings" else 4}).run()
    assert treated() == (["a", "b"] if change == "settings" else ["a"])
    assert (out / "a_sr.nii.gz").read_text() == "a"


def test_a_touched_input_counts_as_changed(make_pairs, make_batch, treated) -> None:
    pairs = make_pairs("a")
    make_batch(pairs).run()
    os.utime(pairs[0]["image"], (1, 1))
    make_batch(pairs).run()
    assert treated() == ["a", "a"]


def test_an_input_that_is_replaced_while_its_case_is_computed_fails_it(make_pairs, make_batch, tmp_path) -> None:
    pairs = make_pairs("a", "b")
    batch = make_batch(pairs)
    compute = batch.pipeline.run

    def run(item: Any) -> None:
        if item["case"] == "a":
            before = Path(item["reference"]).stat()
            Path(item["reference"]).write_text("b")  # as long, and of the same time
            os.utime(item["reference"], ns=(before.st_atime_ns, before.st_mtime_ns))
        compute(item)

    batch.pipeline.run = run
    with pytest.raises(SomeFailedError, match=r"a_reference\.nii: this was changed or replaced while its case was"):
        batch.run()
    assert statuses(tmp_path / "out") == {"a": "failed", "b": "done"}
    assert not (tmp_path / "out" / "a_sr.nii.gz").exists()
    make_batch(pairs).run()
    assert statuses(tmp_path / "out") == {"a": "done", "b": "skipped"}


def test_the_record_tells_of_what_was_read_not_of_what_lies_there_now(make_pairs, make_batch, treated) -> None:
    pairs = make_pairs("a")
    batch = make_batch(pairs)
    compute = batch.pipeline.run

    def run(item: Any) -> None:
        compute(item)
        Path(item["image"]).write_text("another patient")

    batch.pipeline.run = run
    batch.run()
    make_batch(pairs).run()
    assert treated() == ["a", "a"]


def test_what_killed_processes_left_is_removed_and_what_others_work_on_stays(make_pairs, make_batch, tmp_path) -> None:
    out = tmp_path / "out"
    pairs = make_pairs("a", "b", "refused")
    make_batch(pairs[:2]).run()
    for name in ("a_sr.nii.gz", "b_sr.json", "refused_sr.nii.gz", "report.json", "index.html"):
        (out / f".0123456789ab.partial.{name}").write_text("half")
    (out / ".0123456789ab.partial.a_sr_dicom").mkdir()
    (out / FOLDER).mkdir()
    (out / FOLDER / "gone_sr.nii.gz.lock").touch()

    def check(pair: Any) -> None:
        if pair["case"] == "refused":
            raise InputError("refused.nii: it is bad; mend it.")

    with atomic_path(out / "c_sr.nii.gz") as temporary, Lock(out, "c_sr.nii.gz") as lock:
        with pytest.raises(SomeFailedError):
            make_batch(pairs, check).run()
        assert {path.name for path in out.iterdir() if path.name.startswith(".")} == {temporary.name, FOLDER}
        assert list((out / FOLDER).iterdir()) == [lock.path]
        temporary.write_text("whole")
    assert (out / "c_sr.nii.gz").read_text() == "whole"
    assert not [path for path in out.iterdir() if path.name.startswith(".")]


def test_an_old_failure_is_tried_again_whatever_the_clock_says(make_pairs, make_batch, treated, tmp_path) -> None:
    for _ in range(2):
        with pytest.raises(SomeFailedError):
            make_batch(make_pairs("bad", "a")).run()
        (note,) = (tmp_path / "out" / FOLDER).iterdir()
        os.utime(note, (2**32, 2**32))  # of a clock that was set back since
    assert treated() == ["bad", "a", "bad"]


def test_a_link_in_the_place_of_a_lock_fails_its_case_alone(make_pairs, make_batch, treated, tmp_path) -> None:
    (tmp_path / "target").write_text("another's")
    (tmp_path / "out" / FOLDER).mkdir(parents=True)
    (tmp_path / "out" / FOLDER / "bad_sr.nii.gz.lock").symlink_to(tmp_path / "target")
    with pytest.raises(SomeFailedError, match=r"bad: .*lock: a link is where a lock goes; move it away"):
        make_batch(make_pairs("bad", "a")).run()
    assert treated() == ["a"]
    assert (tmp_path / "target").read_text() == "another's"
    assert "another's" not in (tmp_path / "out" / "report.json").read_text()


def test_what_a_kill_leaves_of_a_case_is_done_again(make_pairs, make_batch, treated, tmp_path) -> None:
    batch = make_batch(make_pairs("a"))
    compute = batch.pipeline.run

    def run(item: Any) -> None:
        compute(item)
        raise KeyboardInterrupt  # which nothing here catches, so that nothing is cleaned up

    batch.pipeline.run = run
    with pytest.raises(KeyboardInterrupt):
        batch.run()
    assert (tmp_path / "out" / "a_sr.nii.gz").is_file()
    make_batch(make_pairs("a")).run()
    assert treated() == ["a", "a"]
    assert statuses(tmp_path / "out") == {"a": "done"}


def test_two_cases_of_one_output_are_refused_before_anything_is_done(make_pairs, make_batch, treated) -> None:
    first, second = make_pairs("a", "b")
    for pairs in ([first, second | {"case": "a"}], [first | {"output": "x"}, second | {"output": "x"}]):
        with pytest.raises(InputError, match=r"a_image.nii and .*b_image.nii would both become .*; give each its own"):
            make_batch(pairs).run()
    assert treated() == []


def test_the_output_of_another_image_is_not_replaced_by_a_later_run(make_pairs, make_batch, tmp_path) -> None:
    first, second = make_pairs("a", "b")
    make_batch([first]).run()
    with pytest.raises(InputError, match=r"a_sr.nii.gz: this was made of .*a_image.nii, and the result of .*b_image"):
        make_batch([second | {"case": "a"}]).run()
    assert (tmp_path / "out" / "a_sr.nii.gz").read_text() == "a"
    make_batch([first | {"reference": second["reference"]}]).run()  # another reference of the same image is welcome
    make_batch([second | {"case": "a"}], resume=False).run()


def test_an_output_may_lie_in_a_folder_of_its_own(make_pairs, make_batch, tmp_path) -> None:
    (pair,) = make_pairs("a")
    make_batch([pair | {"output": "sub-a/anat/sub-a_desc-sr_T2w"}]).run()
    folder = tmp_path / "out" / "sub-a" / "anat"
    assert names(folder) == {"sub-a_desc-sr_T2w.nii.gz", "sub-a_desc-sr_T2w.json"}
    assert report_of(tmp_path / "out")["cases"][0]["output"] == "sub-a/anat/sub-a_desc-sr_T2w.nii.gz"


@pytest.mark.parametrize("output", ["../a", "/tmp/a"])
def test_an_output_outside_the_folder_is_refused(output, make_pairs, make_batch) -> None:
    (pair,) = make_pairs("a")
    with pytest.raises(InputError, match="must lie below the output folder"):
        make_batch([pair | {"output": output}]).run()


def test_a_case_that_could_not_be_done_when_it_was_found_fails_alone(make_pairs, make_batch, treated, tmp_path) -> None:
    first, second, third = make_pairs("a", "b", "c")
    lost = second | {"image": "", "fault": "list.csv, line 3: image is missing; name one file."}
    long = third | {"image": f"/{'n' * 300}.nii", "fault": "list.csv, line 4: it does not exist."}
    del lost["reference"]
    with pytest.raises(SomeFailedError, match=r"2 of 3 cases .* See .*report\.json for the reasons"):
        make_batch([first, lost, long]).run()
    assert treated() == ["a"]
    assert statuses(tmp_path / "out") == {"a": "done", "b": "failed", "c": "failed"}
    assert report_of(tmp_path / "out")["cases"][1]["reason"] == lost["fault"]


@pytest.mark.parametrize("fits", [True, False])
def test_a_name_that_is_too_long_fails_its_case_alone(fits, make_pairs, make_batch, treated) -> None:
    """Beside the longest name that fits with its temporary one, the folder makes that of the lock too long."""
    first, second = make_pairs("a", "b")
    name = "n" * (255 - len(".0123456789ab.partial.") - len(".nii.gz") + (not fits))
    pairs = [first | {"output": f"sub-{'s' * 100}/{name}"}, second]
    for dry_run in (True, False):
        refused = pytest.raises(SomeFailedError, match=f"1 of 2 .* a: .*{name}.*: this name is too long for the file")
        with contextlib.nullcontext() if fits else refused:
            make_batch(pairs, item_of if dry_run else dict).run(dry_run=dry_run)
    assert treated() == (["a", "b"] if fits else ["b"])


def item_of(_: Any) -> dict[str, Any]:
    return {"image": MetaTensor(torch.zeros(1, 4, 4, 1)), "reference": None}


def test_a_lock_that_cannot_be_had_fails_its_case_alone(make_pairs, make_batch, treated, monkeypatch) -> None:
    acquire = Lock.acquire

    def refuse(self: Lock, wait: bool = False) -> bool:
        if "a_sr" in self.path.name:
            raise InputError(f"{self.path}: cannot be locked.")
        return acquire(self, wait)

    monkeypatch.setattr(Lock, "acquire", refuse)
    with pytest.raises(SomeFailedError, match=r"a: .*a_sr\.nii\.gz\.lock: cannot be locked"):
        make_batch(make_pairs("a", "b")).run()
    assert treated() == ["b"]


def test_what_looking_for_earlier_results_stumbles_over_fails_its_case_alone(make_pairs, make_batch, treated) -> None:
    first, second = make_pairs("a", "b")
    outside = first | {"output": "../a"}
    with pytest.raises(SomeFailedError, match=r"a: .*must lie below the output folder"):
        make_batch([outside, second]).run()
    assert treated() == ["b"]


def test_the_report_names_what_was_passed_over_with_the_reason(make_pairs, make_batch, caplog, tmp_path) -> None:
    passed_over = {"a result of an earlier run": ["/in/x.nii.gz", "/in/y.nii.gz"], "its format is not read": ["/in/z"]}
    make_batch(make_pairs("a"), passed_over=passed_over).run()
    assert report_of(tmp_path / "out")["passed_over"] == [
        {"reason": "a result of an earlier run", "files": ["/in/x.nii.gz", "/in/y.nii.gz"]},
        {"reason": "its format is not read", "files": ["/in/z"]},
    ]
    assert "; 3 files or series passed over" in caplog.text


def test_a_report_that_cannot_be_written_is_told_in_a_sentence(make_pairs, make_batch, treated, monkeypatch) -> None:
    def fail(*_: Any) -> None:
        raise OSError(errno.EFBIG, "File too large")

    monkeypatch.setattr("bundle.batch.report.write_json", fail)
    with pytest.raises(InputError, match=r"report\.json: the report cannot be written \(File too large\); see to that"):
        make_batch(make_pairs("a")).run()
    assert treated() == ["a"]


def test_the_report_may_lie_elsewhere_and_counts_all_cases(make_pairs, make_batch, tmp_path) -> None:
    with pytest.raises(SomeFailedError):
        make_batch(make_pairs("a", "bad")).run(report=tmp_path / "elsewhere" / "r.json")
    report = json.loads((tmp_path / "elsewhere" / "r.json").read_text())
    assert report["totals"] == {"cases": 2, "done": 1, "skipped": 0, "failed": 1, "waiting": 0}
    assert report["verdicts"] == {"fine": 0, "look": 1, "do not use": 0}
    assert report["settings"] == {"factor": 4}
    assert not (tmp_path / "out" / "report.json").exists()


def test_shares_are_disjoint_complete_and_make_one_report(make_pairs, make_batch, treated, tmp_path) -> None:
    pairs = make_pairs(*"abcde")
    parts = []
    for share in ("1/2", "2/2"):
        make_batch(pairs, share=share).run()
        parts.append(treated())
    assert parts == [["a", "c", "e"], ["b", "d"]]
    assert statuses(tmp_path / "out") == dict.fromkeys("abcde", "done")


def test_a_share_without_a_case_has_nothing_to_do(make_pairs, make_batch, treated, tmp_path) -> None:
    make_batch(make_pairs("a", "b"), share="3/3").run()
    assert treated() == []
    assert statuses(tmp_path / "out") == {"a": "waiting", "b": "waiting"}


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.message for one in caplog.records if one.levelname == "WARNING" and one.name.endswith("batch")]


@pytest.mark.parametrize(("rank", "n_own"), [("0", 2), ("1", 1), ("3", 0)])
def test_a_share_that_variables_tell_is_told_aloud_and_in_the_report(
    rank, n_own, make_pairs, make_batch, treated, monkeypatch, caplog, tmp_path
) -> None:
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("WORLD_SIZE", "2" if n_own else "4")
    batch = make_batch(make_pairs("a", "b", "c"))
    batch.run()
    share = f"{int(rank) + 1}/{2 if n_own else 4}"
    (aloud,) = warnings_in(caplog)
    assert aloud.startswith(f"share {share}: {n_own} of 3 cases, as told by the variables RANK and WORLD_SIZE; if")
    assert report_of(tmp_path / "out")["shares"] == {share: aloud.removeprefix(f"share {share}: ")}
    assert f"{n_own} done, 0 skipped, 0 failed" in caplog.text
    assert f"; {3 - n_own} are in other shares" in caplog.text
    assert len(treated()) == n_own


def test_a_share_that_takes_no_case_is_told_aloud(make_pairs, make_batch, caplog, tmp_path) -> None:
    for share in ("1/3", "2/3", "3/3"):
        make_batch(make_pairs("a", "b"), share=share).run()
    assert warnings_in(caplog) == ["share 3/3: 0 of 2 cases"]
    report = report_of(tmp_path / "out")
    assert report["shares"] == {"1/3": "1 of 2 cases", "2/3": "1 of 2 cases", "3/3": "0 of 2 cases"}
    make_batch(make_pairs("a", "b")).run()
    assert report_of(tmp_path / "out")["shares"] == {}


def test_a_list_without_a_case_is_refused(make_batch) -> None:
    with pytest.raises(InputError, match="there are no pairs; check dataset_dir"):
        make_batch([]).run()


def test_a_line_is_logged_for_each_case_with_the_time_that_is_left(make_pairs, make_batch, caplog) -> None:
    make_batch(make_pairs("a", "b", "c"), seconds=0.05).run()
    lines = [record.getMessage() for record in caplog.records if " done in " in record.getMessage()]
    assert lines == ["a done in 1 s; 2 left, about 1 s", "b done in 1 s; 1 left, about 1 s", "c done in 1 s"]


@pytest.mark.parametrize(
    "spoilt",
    [
        {"case": 3},
        {"case": ["a"]},
        {"output": 3},
        {"warnings": 5},
        {"facts": []},
        {"facts": {"time": []}},
        {"facts": {"time": {}}},
        {"facts": {"time": {"seconds": "text"}, "low_res": {"factor": {}}}},
        {"reason": {}},
        {"status": "failed", "reason": None},
    ],
    ids=str,
)
def test_an_entry_of_the_wrong_type_in_a_report_stops_nothing(spoilt, make_pairs, make_batch, tmp_path) -> None:
    pairs = make_pairs("a", "b")
    make_batch(pairs, pages=True, share="1/2").run()
    (tmp_path / "out" / "a_sr.html").write_text("page")
    report = report_of(tmp_path / "out")
    report["cases"][0] |= spoilt
    (tmp_path / "out" / "report.json").write_text(json.dumps(report))
    make_batch(pairs, pages=True, share="2/2").run()
    assert statuses(tmp_path / "out")["b"] == "done"


@pytest.mark.parametrize("spoilt", [{"warnings": 5}, {"facts": {"time": {}}}, {"facts": 3}, {"output": []}], ids=str)
def test_a_record_of_the_wrong_type_stops_nothing(spoilt, make_pairs, make_batch, tmp_path) -> None:
    pairs = make_pairs("a", "b")
    make_batch(pairs[:1], pages=True).run()
    (tmp_path / "out" / "a_sr.html").write_text("page")
    file = tmp_path / "out" / "a_sr.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | spoilt))
    make_batch(pairs, pages=True).run()
    assert statuses(tmp_path / "out") == {"a": "skipped", "b": "done"}
    assert (tmp_path / "out" / "index.html").is_file() is ("output" not in spoilt)  # which says where the page is


@pytest.mark.parametrize("inputs", [None, 3, [], {"image": None}], ids=str)
def test_a_record_of_spoilt_inputs_has_its_case_done_again(inputs, make_pairs, make_batch, treated, tmp_path) -> None:
    pairs = make_pairs("a", "b")
    make_batch(pairs).run()
    treated()
    file = tmp_path / "out" / "a_sr.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"inputs": inputs}))
    make_batch(pairs).run()
    assert treated() == ["a"]
    assert json.loads(file.read_text())["inputs"].keys() == {"image", "reference"}


def test_a_path_that_is_no_unicode_is_done_recorded_and_known_again(make_pairs, make_batch, treated, tmp_path) -> None:
    (pair,) = make_pairs("a")
    folder = tmp_path / os.fsdecode(b"M\xfcller")
    (tmp_path / "in").rename(folder)
    pair |= {key: str(folder / Path(pair[key]).name) for key in ("image", "reference")}
    for _ in range(2):
        make_batch([pair]).run()
    assert treated() == ["a"]
    assert json.loads((tmp_path / "out" / "a_sr.json").read_text())["inputs"]["image"]["path"] == pair["image"]


def test_the_next_case_is_prepared_while_one_is_computed(make_pairs, make_batch, tmp_path) -> None:
    batch = make_batch(make_pairs("a", "b", "c"))
    prepare, compute, begun = batch.pipeline.prepare, batch.pipeline.run, {name: threading.Event() for name in "abc"}

    def prepared(item: Any) -> Any:
        begun[item["case"]].set()
        return prepare(item)

    def run(item: Any) -> None:
        if following := {"a": "b", "b": "c"}.get(item["case"]):
            assert begun[following].wait(20)
        compute(item)

    batch.pipeline.prepare, batch.pipeline.run = prepared, run
    batch.run()
    assert statuses(tmp_path / "out") == dict.fromkeys("abc", "done")


@pytest.mark.parametrize("case", ["a", "b"])
def test_a_case_that_cannot_be_prepared_fails_alone(case, make_pairs, make_batch, tmp_path) -> None:
    batch = make_batch(make_pairs("a", "b", "c"))
    prepare = batch.pipeline.prepare

    def prepared(item: Any) -> Any:
        if item["case"] == case:
            raise InputError("its reference cannot be used; give another.")
        return prepare(item)

    batch.pipeline.prepare = prepared
    with pytest.raises(SomeFailedError, match="its reference cannot be used"):
        batch.run()
    assert statuses(tmp_path / "out") == {name: "failed" if name == case else "done" for name in "abc"}


def test_what_is_too_large_is_prepared_in_its_turn(make_pairs, make_batch, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr("bundle.batch.batch.KEPT_BYTES", 0)
    batch, names = make_batch(make_pairs("a", "b")), []
    prepare = batch.pipeline.prepare
    batch.pipeline.prepare = lambda item: names.append(threading.current_thread().name) or prepare(item)
    batch.run()
    assert names == [threading.main_thread().name] * 2
    assert statuses(tmp_path / "out") == {"a": "done", "b": "done"}
