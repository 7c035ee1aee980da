# SPDX-License-Identifier: Apache-2.0
"""A split is by subject, the same everywhere, and once written it stays."""

import json
import tempfile
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from monai.bundle import ConfigParser

from bundle.data.pairs import find_pairs
from bundle.data.splits import SPLITS, SplitPlan, read_split, split_pairs
from bundle.errors import InputError

Pair = dict[str, str]
few = settings(max_examples=60, deadline=None)
# Subject names with one to three sessions each.
cohorts = st.dictionaries(st.text("abc012", min_size=1, max_size=4), st.integers(1, 3), min_size=1, max_size=30)


def make_pairs(n_sessions: dict[str, int]) -> list[Pair]:
    return [
        {"image": f"{subject}_{session}.nii", "reference": "", "subject": subject, "case": f"{subject}_{session}"}
        for subject, n in n_sessions.items()
        for session in range(n)
    ]


def subjects_of(splits: dict[str, list[Pair]]) -> dict[str, list[str]]:
    return {name: sorted({pair["subject"] for pair in splits[name]}) for name in SPLITS}


def split_anew(pairs: list[Pair], plan: SplitPlan) -> dict[str, list[Pair]]:
    with tempfile.TemporaryDirectory() as folder:
        return split_pairs(pairs, Path(folder) / "splits.json", plan)


def people(n: int) -> list[Pair]:
    return make_pairs({f"S{index:03d}": 1 for index in range(n)})


@few
@given(cohorts, st.floats(0, 0.45), st.floats(0, 0.45), st.integers(0, 5), st.randoms(use_true_random=False))
def test_splits_are_disjoint_complete_and_independent_of_order(
    cohort: dict[str, int], test: float, validate: float, seed: int, random: Any
) -> None:
    pairs = make_pairs(cohort)
    plan = SplitPlan(test, validate, seed)
    splits = split_anew(pairs, plan)
    assert sorted(pair["case"] for name in SPLITS for pair in splits[name]) == sorted(pair["case"] for pair in pairs)
    subjects = subjects_of(splits)
    assert sorted(chain.from_iterable(subjects.values())) == sorted(cohort)  # nobody is in two sets
    random.shuffle(pairs)
    assert subjects_of(split_anew(pairs, plan)) == subjects


@few
@given(cohorts, st.floats(0, 0.99), st.floats(0, 0.99))
def test_no_set_is_empty_without_need(cohort: dict[str, int], test: float, validate: float) -> None:
    if test + validate >= 1:
        test, validate = test / 2, validate / 2
    sizes = {k: len(v) for k, v in subjects_of(split_anew(make_pairs(cohort), SplitPlan(test, validate))).items()}
    assert sizes["train"] >= 1
    assert (sizes["test"] >= 1) == (test > 0 and len(cohort) >= 2)
    assert (sizes["validate"] >= 1) == (validate > 0 and len(cohort) >= (3 if test > 0 else 2))


@few
@given(cohorts, st.integers(2, 6), st.floats(0, 0.5))
def test_folds_test_each_subject_once(cohort: dict[str, int], n_folds: int, validate: float) -> None:
    assume(len(cohort) >= n_folds)
    pairs = make_pairs(cohort)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "splits.json"
        folds = [subjects_of(split_pairs(pairs, file, SplitPlan(0.2, validate, 0, n_folds, i))) for i in range(n_folds)]
    assert sorted(subject for fold in folds for subject in fold["test"]) == sorted(cohort)
    sizes = [len(fold["test"]) for fold in folds]
    assert max(sizes) - min(sizes) <= 1
    for fold in folds:
        assert fold["train"]
        assert sorted(chain.from_iterable(fold.values())) == sorted(cohort)


@pytest.mark.parametrize(
    ("n", "expected"),
    [(1, (1, 0, 0)), (2, (1, 0, 1)), (3, (1, 1, 1)), (5, (3, 1, 1)), (10, (7, 1, 2)), (578, (404, 58, 116))],
)
def test_default_plan_gives_these_sizes(tmp_path: Path, n: int, expected: tuple[int, int, int]) -> None:
    splits = split_pairs(people(n), tmp_path / "splits.json")
    assert tuple(len(splits[name]) for name in SPLITS) == expected


def test_the_draw_is_the_one_it_always_was(tmp_path: Path) -> None:
    # Origin: coreutils 9.1, `for i in 0 1 2 3 4 5 6 7 8 9; do echo $(printf 0:S00$i | sha256sum) S00$i; done | sort`:
    # the first two test, the third validates.
    splits = subjects_of(split_pairs(people(10), tmp_path / "splits.json"))
    assert splits["test"] == ["S007", "S008"]
    assert splits["validate"] == ["S009"]


def test_seed_changes_the_draw(tmp_path: Path) -> None:
    draws = {
        str(subjects_of(split_pairs(people(20), tmp_path / f"{seed}.json", SplitPlan(seed=seed)))) for seed in range(5)
    }
    assert len(draws) == 5


def test_folds_validate_on_different_subjects(tmp_path: Path) -> None:
    plans = [SplitPlan(validate=0.1, n_folds=5, fold=fold) for fold in range(5)]
    validated = {str(subjects_of(split_pairs(people(20), tmp_path / "s.json", plan))["validate"]) for plan in plans}
    assert len(validated) == 5


def test_named_subjects_go_where_they_are_named(shared_data: Path, tmp_path: Path) -> None:
    pairs = find_pairs(shared_data / "open_ms")
    splits = split_pairs(pairs, tmp_path / "splits.json", SplitPlan(test=["L12"], validate="L03"))
    assert subjects_of(splits) == {"train": ["L01"], "validate": ["L03"], "test": ["L12"]}
    assert [pair["case"] for pair in splits["test"]] == ["sub-L12_ses-1", "sub-L12_ses-2"]


def test_named_test_subjects_leave_the_rest_to_be_drawn(tmp_path: Path) -> None:
    splits = subjects_of(split_pairs(people(10), tmp_path / "s.json", SplitPlan(test=["S003", "S007"], validate=0.2)))
    assert splits["test"] == ["S003", "S007"]
    assert len(splits["validate"]) == 2
    assert len(splits["train"]) == 6


def test_a_plan_can_be_written_in_a_config(tmp_path: Path) -> None:
    parser = ConfigParser({"plan": {"_target_": "bundle.data.splits.SplitPlan", "test": ["b", "a", 3], "validate": 0}})
    plan = parser.get_parsed_content("plan")
    assert plan == SplitPlan(test=("3", "a", "b"), validate=0.0)


def test_an_existing_file_decides(tmp_path: Path) -> None:
    file = tmp_path / "sub" / "splits.json"
    first = split_pairs(people(12), file)
    content = json.loads(file.read_text(encoding="utf-8"))
    moved = content["splits"][0]["train"].pop()
    content["splits"][0]["test"].append(moved)
    file.write_text(json.dumps(content), encoding="utf-8")
    again = split_pairs(people(12), file)
    assert len(again["test"]) == len(first["test"]) + 1
    assert moved in subjects_of(again)["test"]
    assert list(file.parent.iterdir()) == [file]


def test_read_split_returns_what_was_written(tmp_path: Path) -> None:
    plain = subjects_of(split_pairs(people(9), tmp_path / "plain.json"))
    folded = [
        subjects_of(split_pairs(people(9), tmp_path / "f.json", SplitPlan(n_folds=3, fold=fold))) for fold in range(3)
    ]
    for name in SPLITS:
        assert read_split(tmp_path / "plain.json", name) == plain[name]
        assert [read_split(tmp_path / "f.json", name, fold) for fold in range(3)] == [f[name] for f in folded]


@pytest.mark.parametrize(
    ("file", "subset", "fold", "message"),
    [
        ("none.json", "test", None, r"none\.json: there is no split file; train first"),
        ("plain.json", "testing", None, "has no set 'testing'; choose train, validate, test"),
        ("plain.json", "test", 1, "has 1 folds and fold is 1; take 0 to 0"),
        ("folds.json", "test", None, "has 3 folds and fold is None; take 0 to 2"),
        ("folds.json", "test", 3, "has 3 folds and fold is 3; take 0 to 2"),
    ],
)
def test_read_split_refuses_what_is_not_there(
    tmp_path: Path, file: str, subset: str, fold: int | None, message: str
) -> None:
    split_pairs(people(9), tmp_path / "plain.json")
    split_pairs(people(9), tmp_path / "folds.json", SplitPlan(n_folds=3, fold=1))
    with pytest.raises(InputError, match=message):
        read_split(tmp_path / file, subset, fold)


def test_a_grown_data_set_is_never_reshuffled(tmp_path: Path) -> None:
    file = tmp_path / "splits.json"
    split_pairs(people(5), file)
    text = file.read_text(encoding="utf-8")
    with pytest.raises(InputError, match=r"does not know the subjects S005; add them .*delete it .*another split_file"):
        split_pairs(people(6), file)
    assert file.read_text(encoding="utf-8") == text


def test_a_subject_that_is_gone_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "splits.json"
    before = subjects_of(split_pairs(people(5), file))
    after = subjects_of(split_pairs(people(5)[1:], file))
    assert after == {name: [subject for subject in before[name] if subject != "S000"] for name in SPLITS}
    assert "names subjects that the data set lacks: S000" in caplog.text


@pytest.mark.parametrize(
    ("plan", "named"),
    [
        (SplitPlan(seed=1), r"seed 0 \(asked for: 1\)"),
        (SplitPlan(test=["S001"]), r"test 0.2 \(asked for: \['S001'\]\)"),
        (SplitPlan(validate=0.3), r"validate 0.1 \(asked for: 0.3\)"),
        (SplitPlan(n_folds=2, fold=0), r"n_folds None \(asked for: 2\)"),
    ],
)
def test_a_plan_that_contradicts_the_file_is_refused(tmp_path: Path, plan: SplitPlan, named: str) -> None:
    file = tmp_path / "splits.json"
    split_pairs(people(5), file)
    with pytest.raises(InputError, match=rf"splits\.json was drawn with .*{named}.*; delete it .*another split_file"):
        split_pairs(people(5), file, plan)


def sectioned(sections: dict[str, str]) -> list[Pair]:
    return [pair | {"section": sections[pair["subject"]]} for pair in make_pairs(dict.fromkeys(sections, 2))]


def test_sections_of_a_datalist_are_kept(tmp_path: Path) -> None:
    sections = {"a": "train", "b": "test", "c": "train", "d": "validate", "e": "train"}
    splits = subjects_of(split_pairs(sectioned(sections), tmp_path / "s.json"))
    assert splits == {"train": ["a", "c", "e"], "validate": ["d"], "test": ["b"]}


def test_only_missing_sections_are_drawn_from_the_training_section(tmp_path: Path) -> None:
    sections = {"a": "train", "b": "test", "c": "train", "d": "test", "e": "train"}
    splits = subjects_of(split_pairs(sectioned(sections), tmp_path / "s.json"))
    assert splits["test"] == ["b", "d"]
    assert len(splits["validate"]) == 1
    assert len(splits["train"]) == 2


@pytest.mark.parametrize("plan", [SplitPlan(test=["a"]), SplitPlan(n_folds=2, fold=0)])
def test_a_plan_that_contradicts_the_sections_is_refused(tmp_path: Path, plan: SplitPlan) -> None:
    with pytest.raises(InputError, match=r"own test section \(b\) where the plan .*; drop either"):
        split_pairs(sectioned({"a": "train", "b": "test", "c": "train"}), tmp_path / "s.json", plan)


def test_a_subject_in_two_sections_is_refused(tmp_path: Path) -> None:
    pairs = sectioned({"a": "train", "b": "test"}) + sectioned({"a": "test"})
    with pytest.raises(InputError, match="subjects a are in several sections"):
        split_pairs(pairs, tmp_path / "s.json")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"test": 1.0}, r"test is 1\.0; give a fraction"),
        ({"test": -0.1}, "give a fraction"),
        ({"validate": float("nan")}, "give a fraction"),
        ({"validate": None}, "validate is None"),
        ({"test": 0.6, "validate": 0.4}, "leave nobody to train on"),
        ({"test": ["a"], "validate": ["b", "a"]}, "subjects a are named for both"),
        ({"fold": 0}, "give both or neither"),
        ({"n_folds": 3}, "give both or neither"),
        ({"n_folds": 1, "fold": 0}, "take 2 or more"),
        ({"n_folds": 3, "fold": 3}, "take 0 to 2"),
        ({"n_folds": 3, "fold": 0, "test": ["a"]}, "folds test everybody"),
    ],
)
def test_an_impossible_plan_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SplitPlan(**arguments)


@pytest.mark.parametrize(
    ("n", "plan", "message"),
    [
        (0, SplitPlan(), "no pairs to split"),
        (3, SplitPlan(test=["S01"]), r"no subject S01 .*is S00\d meant"),
        (3, SplitPlan(validate=["zz"]), "no subject zz .*it has S000, S001, S002"),
        (1, SplitPlan(test=["S000"]), "leave nobody to train on"),
        (2, SplitPlan(n_folds=3, fold=0), "2 subjects do not fill n_folds 3"),
    ],
)
def test_an_impossible_draw_is_refused_and_writes_nothing(
    tmp_path: Path, n: int, plan: SplitPlan, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        split_pairs(people(n), tmp_path / "s.json", plan)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: "[", "no readable split file"),
        (lambda content: "[]", "no readable split file"),
        (lambda content: json.dumps(content | {"splits": [{"train": []}]}), "no readable split file"),
        (lambda content: json.dumps(content | {"splits": content["splits"] * 2}), "2 folds where its plan says 1"),
        (
            lambda content: json.dumps(content | {"splits": [{name: ["S000"] for name in SPLITS}]}),
            "S000 more than once",
        ),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, change: Any, message: str) -> None:
    file = tmp_path / "splits.json"
    split_pairs(people(3), file)
    file.write_text(change(json.loads(file.read_text(encoding="utf-8"))), encoding="utf-8")
    with pytest.raises(InputError, match=message):
        split_pairs(people(3), file)


def test_an_unwritable_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot write into this output folder"):
        split_pairs(people(3), tmp_path / "file" / "splits.json")
