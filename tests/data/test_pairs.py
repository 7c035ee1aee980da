# SPDX-License-Identifier: Apache-2.0
"""Pairs are found by name, never mixed silently, and every refusal names the remedy."""

import json
import logging
import os
import subprocess
from pathlib import Path

import pytest

from bundle.data.pairs import find_pairs
from bundle.errors import InputError

# Contrast, pairs and subjects of each folder of real volumes, counted by hand from its listing.
REAL_FOLDERS = {
    "brainweb_sim": ("PDw", 12, 12),
    "ixi_slices": ("T1w", 1, 1),
    "open_ms": ("T1w", 5, 3),
    "open_ms_mni": ("T1w", 2, 2),
    "open_ms_native": ("T1w", 2, 2),
}


def make_files(folder: Path, *names: str) -> Path:
    """Make empty files: only names matter here."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def matched(folder: Path, reference_contrast: str = "auto") -> dict[str, str]:
    """Return target name -> reference name."""
    pairs = find_pairs(folder, reference_contrast)
    return {Path(pair["image"]).name: Path(pair["reference"]).name for pair in pairs}


@pytest.mark.parametrize("name", REAL_FOLDERS)
def test_find_pairs_finds_every_pair_of_the_real_volumes(shared_data: Path, name: str) -> None:
    contrast, n_pairs, n_subjects = REAL_FOLDERS[name]
    pairs = find_pairs(shared_data / name)
    assert len(pairs) == n_pairs
    assert len({pair["subject"] for pair in pairs}) == n_subjects
    for pair in pairs:
        assert Path(pair["image"]).name == f"{pair['case']}_T2w.nii.gz"
        assert Path(pair["reference"]).name == f"{pair['case']}_{contrast}.nii.gz"
        assert Path(pair["reference"]).is_file()


def test_find_pairs_describes_a_flat_bids_folder(tmp_path: Path) -> None:
    make_files(tmp_path, "sub-L12_ses-1_T2w.nii.gz", "sub-L12_ses-1_T1w.nii.gz", "sub-L12_ses-1_FLAIR.nii.gz")
    assert find_pairs(tmp_path) == [
        {
            "image": str(tmp_path / "sub-L12_ses-1_T2w.nii.gz"),
            "reference": str(tmp_path / "sub-L12_ses-1_T1w.nii.gz"),
            "subject": "L12",
            "case": "sub-L12_ses-1",
        }
    ]


def test_find_pairs_finds_bids_subfolders_and_keeps_sessions_apart(tmp_path: Path) -> None:
    for session in ("1", "2"):
        anat = f"sub-01/ses-{session}/anat/sub-01_ses-{session}"
        make_files(tmp_path, f"{anat}_T2w.nii", f"{anat}_T1w.nii.gz")
    assert matched(tmp_path) == {
        "sub-01_ses-1_T2w.nii": "sub-01_ses-1_T1w.nii.gz",
        "sub-01_ses-2_T2w.nii": "sub-01_ses-2_T1w.nii.gz",
    }


@pytest.mark.parametrize(
    ("target", "other"),
    [
        ("sub-01_ses-1_T2w.nii.gz", "sub-01_ses-2_T1w.nii.gz"),
        ("sub-01_ses-1_T2w.nii.gz", "sub-01_T1w.nii.gz"),
        ("sub-01_T2w.nii.gz", "sub-01_space-MNI_T1w.nii.gz"),
        ("sub-01_run-1_T2w.nii.gz", "sub-01_run-2_T1w.nii.gz"),
        ("sub-01_T2w.nii.gz", "sub-011_T1w.nii.gz"),
        ("sub-01_T2w.nii.gz", "sub-01_part-phase_T1w.nii.gz"),
        ("IXI002-Guys-0828-T2.nii.gz", "IXI002-Guys-0829-PD.nii.gz"),
    ],
)
def test_find_pairs_never_joins_names_that_contradict(tmp_path: Path, target: str, other: str) -> None:
    make_files(tmp_path, target, other)
    with pytest.raises(InputError, match="no target with its reference"):
        find_pairs(tmp_path)


@pytest.mark.parametrize(
    ("references", "chosen"),
    [
        (["sub-1_acq-tse_run-1_T1w.nii", "sub-1_T1w.nii"], "sub-1_acq-tse_run-1_T1w.nii"),
        (["sub-1_acq-tse_T1w.nii", "sub-1_T1w.nii"], "sub-1_acq-tse_T1w.nii"),
        (["sub-1_T1w.nii", "sub-1_ce-gadolinium_T1w.nii"], "sub-1_T1w.nii"),
        (["sub-1_T1w.nii", "sub-1_acq-mprage_T1w.nii"], "sub-1_T1w.nii"),
        (["sub-1_acq-tse_run-1_ce-x_T1w.nii"], "sub-1_acq-tse_run-1_ce-x_T1w.nii"),
    ],
)
def test_find_pairs_takes_the_closest_reference(tmp_path: Path, references: list[str], chosen: str) -> None:
    make_files(tmp_path, "sub-1_acq-tse_run-1_T2w.nii", *references)
    assert matched(tmp_path) == {"sub-1_acq-tse_run-1_T2w.nii": chosen}


def test_find_pairs_prefers_the_reference_next_to_the_target(tmp_path: Path) -> None:
    make_files(tmp_path, "raw/sub-1_T1w.nii", "registered/sub-1_T1w.nii", "registered/sub-1_T2w.nii")
    assert find_pairs(tmp_path)[0]["reference"] == str(tmp_path / "registered/sub-1_T1w.nii")


@pytest.mark.parametrize("folders", [("", ""), ("IXI-T2/", "IXI-PD/")])
def test_find_pairs_finds_ixi_names_in_one_or_two_folders(tmp_path: Path, folders: tuple[str, str]) -> None:
    for stem in ("IXI012-HH-1211", "IXI002-Guys-0828"):
        make_files(tmp_path, f"{folders[0]}{stem}-T2.nii.gz", f"{folders[1]}{stem}-PD.nii.gz")
    pairs = find_pairs(tmp_path)
    assert [(pair["subject"], pair["case"]) for pair in pairs] == [
        ("IXI002", "IXI002-Guys-0828"),
        ("IXI012", "IXI012-HH-1211"),
    ]
    assert pairs[0]["image"] == str(tmp_path / f"{folders[0]}IXI002-Guys-0828-T2.nii.gz")
    assert pairs[0]["reference"] == str(tmp_path / f"{folders[1]}IXI002-Guys-0828-PD.nii.gz")


@pytest.mark.parametrize(("n_pd", "n_t1", "chosen"), [(2, 2, "PD"), (1, 2, "T1"), (2, 1, "PD"), (0, 1, "T1")])
def test_auto_takes_the_contrast_with_more_pairs_and_never_mixes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, n_pd: int, n_t1: int, chosen: str
) -> None:
    for index in range(2):
        make_files(tmp_path, f"IXI00{index}-HH-1-T2.nii.gz")
    make_files(tmp_path, *[f"IXI00{index}-HH-1-PD.nii.gz" for index in range(n_pd)])
    make_files(tmp_path, *[f"IXI00{1 - index}-HH-1-T1.nii.gz" for index in range(n_t1)])
    with caplog.at_level(logging.INFO):
        references = matched(tmp_path).values()
    assert len(references) == max(n_pd, n_t1)
    assert {name[-9:-7] for name in references} == {chosen}
    assert f"{len(references)} pairs of {len(references)} subjects, reference {chosen}w" in caplog.text


@pytest.mark.parametrize("contrast", ["PDw", "T1w"])
def test_an_explicit_contrast_is_taken(tmp_path: Path, contrast: str) -> None:
    make_files(tmp_path, "sub-1_T2w.nii.gz", "sub-1_PDw.nii.gz", "sub-1_T1w.nii.gz")
    assert matched(tmp_path, contrast) == {"sub-1_T2w.nii.gz": f"sub-1_{contrast}.nii.gz"}


def test_targets_without_reference_are_named_in_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make_files(tmp_path, "sub-1_T2w.nii.gz", "sub-1_PDw.nii.gz", "sub-2_T2w.nii.gz", "sub-2_T1w.nii.gz")
    assert list(matched(tmp_path)) == ["sub-1_T2w.nii.gz"]
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "1 passed over (there is no PDw of its session or study): sub-2_T2w.nii.gz" in caplog.text


def test_hidden_partial_and_derived_files_are_left_out(tmp_path: Path) -> None:
    make_files(tmp_path, "sub-1_T2w.nii.gz", "sub-1_T1w.nii.gz")
    for place in (".cache/", "derivatives/", "sub-1/Derivatives/x/", "IXI-T2.partial/"):
        make_files(tmp_path, f"{place}sub-1_T2w.nii.gz", f"{place}sub-1_T1w.nii.gz", f"{place}sub-2_T2w.nii.gz")
    make_files(tmp_path, "._sub-3_T2w.nii.gz", "sub-3_T2w.nii.gz.partial")
    assert list(matched(tmp_path)) == ["sub-1_T2w.nii.gz"]


def test_linked_folders_are_followed_once(tmp_path: Path) -> None:
    store = make_files(tmp_path / "store", "IXI-T2/IXI002-HH-1-T2.nii.gz", "IXI-PD/IXI002-HH-1-PD.nii.gz")
    linked = tmp_path / "linked"
    linked.mkdir()
    for name in ("IXI-T2", "IXI-PD"):
        (linked / name).symlink_to(store / name)
    (linked / "loop").symlink_to(linked)
    assert matched(linked) == {"IXI002-HH-1-T2.nii.gz": "IXI002-HH-1-PD.nii.gz"}
    assert find_pairs(linked)[0]["image"] == str(linked / "IXI-T2/IXI002-HH-1-T2.nii.gz")


def test_links_in_a_circle_end_the_walk_and_are_no_volumes(tmp_path: Path) -> None:
    make_files(tmp_path, "a/sub-1_T2w.nii.gz", "a/sub-1_T1w.nii.gz")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "b").symlink_to(tmp_path / "a")
    (tmp_path / "self").symlink_to(tmp_path / "self")
    assert matched(tmp_path) == {"sub-1_T2w.nii.gz": "sub-1_T1w.nii.gz"}


@pytest.mark.parametrize("name", ["sub-Zoë", "sub-张伟", "sub-a b", "sub-Zoe\u0308", "sub-x\udcff"])
def test_spaces_unicode_and_undecodable_names_are_found_and_made_safe(name: str, tmp_path: Path) -> None:
    make_files(tmp_path, f"{name}/{name}_T2w.nii.gz", f"{name}/{name}_T1w.nii.gz")
    (pair,) = find_pairs(tmp_path)
    assert Path(pair["image"]).is_file()
    assert pair["case"] in ("sub-Zoë", "sub-张伟", "sub-a-b", "sub-x")
    pair["case"].encode()


def test_names_that_become_one_when_made_safe_are_refused(tmp_path: Path) -> None:
    for name in ("sub-Zo\u00eb", "sub-Zoe\u0308"):  # one letter, stored in two ways
        make_files(tmp_path, f"{name}/{name}_T2w.nii.gz", f"{name}/{name}_T1w.nii.gz")
    with pytest.raises(InputError, match="would both be called sub-Zoë"):
        find_pairs(tmp_path)


def test_every_target_without_reference_is_named_however_many(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make_files(tmp_path, "sub-0_T1w.nii.gz", *[f"sub-{index}_T2w.nii.gz" for index in range(20)])
    matched(tmp_path)
    assert all(f"sub-{index}_T2w.nii.gz" in caplog.text for index in range(1, 20))


def test_an_ambiguous_reference_is_refused_naming_both(tmp_path: Path) -> None:
    make_files(tmp_path, "sub-1_T2w.nii.gz", "sub-1_run-1_T1w.nii.gz", "sub-1_run-2_T1w.nii.gz")
    with pytest.raises(InputError, match=r"two references .*sub-1_run-1_T1w\.nii\.gz and .*sub-1_run-2_T1w\.nii\.gz"):
        find_pairs(tmp_path)


def test_an_ambiguity_of_the_other_contrast_does_no_harm(tmp_path: Path) -> None:
    make_files(tmp_path, "sub-1_T2w.nii", "sub-1_PDw.nii", "sub-1_run-1_T1w.nii", "sub-1_run-2_T1w.nii")
    assert matched(tmp_path) == {"sub-1_T2w.nii": "sub-1_PDw.nii"}


def test_two_targets_of_one_name_are_refused(tmp_path: Path) -> None:
    for site in ("a", "b"):
        make_files(tmp_path, f"{site}/sub-1_T2w.nii", f"{site}/sub-1_T1w.nii")
    with pytest.raises(InputError, match="would both be called sub-1; keep one"):
        find_pairs(tmp_path)


def test_a_case_is_safe_as_a_file_name(tmp_path: Path) -> None:
    make_files(tmp_path, "sub-A b:c_T2w.nii.gz", "sub-A b:c_T1w.nii.gz")
    pair = find_pairs(tmp_path)[0]
    assert pair["case"] == "sub-A-b-c"
    assert pair["subject"] == "A b:c"


@pytest.mark.parametrize(
    ("names", "wanted", "message"),
    [
        ([], "auto", r"looked for sub-\*_T2w.* found no NIfTI file.* write a datalist\.json"),
        (["a_t2w.nii.gz"], "auto", r"found a_t2w\.nii\.gz\. Rename"),
        (["sub-1_T1w.nii.gz"], "auto", "holds 1 T1w but no target"),
        (["sub-1_T2w.nii.gz", "sub-1_T1w.nii.gz"], "PDw", "set reference_contrast to T1w or auto"),
        (["sub-1_T2w.nii.gz", "sub-1_PDw.nii.gz"], "T1w", "set reference_contrast to PDw or auto"),
        (["sub-1_T2w.nii.gz", "sub-1_PDw.nii.gz"], "PD", "reference_contrast is 'PD'; choose auto, PDw or T1w"),
    ],
)
def test_a_folder_without_pairs_says_what_was_looked_for(
    tmp_path: Path, names: list[str], wanted: str, message: str
) -> None:
    make_files(tmp_path, *names)
    with pytest.raises(InputError, match=message):
        find_pairs(tmp_path, wanted)


@pytest.mark.parametrize("asked", ["openms", "Open_MS"])
def test_a_missing_folder_hints_at_a_similar_name(tmp_path: Path, asked: str) -> None:
    make_files(tmp_path, "open_ms/sub-1_T2w.nii.gz", "other/x")
    with pytest.raises(InputError, match=rf"{asked} does not exist \(is .*open_ms meant\?\)"):
        find_pairs(tmp_path / asked)
    with pytest.raises(InputError, match="deeper does not exist; name an existing folder"):
        find_pairs(tmp_path / "nowhere" / "deeper")


@pytest.mark.parametrize(
    ("name", "sidecar", "reason"),
    [
        ("T2w", {"EchoTime": 0.012}, "its name says T2w, but its echo time is 12 ms"),
        ("T2w", {"RepetitionTime": 0.65, "EchoTime": 0.1}, "its repetition time is 650 ms"),
        ("T2w", {"ScanningSequence": "GR"}, "it is a gradient echo"),
        ("T2w", {"BodyPartExamined": "CSPINE"}, "another part of the body"),
        ("T1w", {"EchoTime": 0.09}, "its name says T1w, but its echo time is 90 ms"),
        ("T2w", {"EchoTime": 0.1, "RepetitionTime": 4, "ScanningSequence": "SE", "BodyPartExamined": "BRAIN"}, ""),
        ("T2w", {"EchoTime": "long"}, ""),
    ],
)
def test_a_volume_that_its_sidecar_contradicts_is_left_out(
    name: str, sidecar: dict[str, object], reason: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_files(tmp_path, *(f"sub-{sub}_{contrast}.nii.gz" for sub in ("01", "02") for contrast in ("T2w", "T1w")))
    (tmp_path / f"sub-01_{name}.json").write_text(json.dumps(sidecar))
    subjects = [pair["subject"] for pair in find_pairs(tmp_path)]
    assert subjects == (["02"] if reason else ["01", "02"])
    assert reason in caplog.text


@pytest.mark.parametrize("depth", [1200, 2200])
def test_folders_in_folders_without_end_are_walked_as_far_as_paths_go(depth: int, tmp_path: Path, caplog) -> None:
    for contrast in ("T2w", "T1w"):
        (tmp_path / f"sub-1_{contrast}.nii.gz").touch()
    before = Path.cwd()
    os.chdir(tmp_path)
    for _ in range(depth):
        Path("d").mkdir()
        os.chdir("d")
    os.chdir(before)
    assert [pair["case"] for pair in find_pairs(tmp_path)] == ["sub-1"]
    assert ("File name too long" in caplog.text) is (depth == 2200)
    subprocess.run(["rm", "-rf", str(tmp_path / "d")], check=True)


def test_a_pipe_among_the_lists_of_a_folder_is_passed_over(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "dataset.json")
    for contrast in ("T2w", "T1w"):
        (tmp_path / f"sub-1_{contrast}.nii.gz").touch()
    assert len(find_pairs(tmp_path)) == 1
