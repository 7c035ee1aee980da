# SPDX-License-Identifier: Apache-2.0
"""Results of a BIDS data set are named, described and traced as BIDS asks of derivatives."""

import json
from pathlib import Path
from urllib.parse import unquote

import pytest

from bundle.data.bids import bids_sidecar, with_outputs, write_dataset_description
from bundle.data.pairs import find_pairs
from bundle.data.selection import requested_cases
from bundle.errors import InputError


def make_dataset(folder: Path, *cases: str) -> Path:
    """Make a BIDS data set of empty volumes; a case is a path without contrast and ending."""
    for case in cases:
        for contrast in ("T2w", "T1w"):
            (folder / f"{case}_{contrast}.nii.gz").parent.mkdir(parents=True, exist_ok=True)
            (folder / f"{case}_{contrast}.nii.gz").touch()
    (folder / "dataset_description.json").write_text(json.dumps({"Name": "Ward 7", "BIDSVersion": "1.8.0"}))
    return folder


@pytest.mark.parametrize(
    ("case", "output"),
    [
        ("sub-01/ses-1/anat/sub-01_ses-1", "sub-01/ses-1/anat/sub-01_ses-1_desc-sr_T2w"),
        ("sub-01/anat/sub-01", "sub-01/anat/sub-01_desc-sr_T2w"),
        ("sub-01/anat/sub-01_acq-tse_run-2", "sub-01/anat/sub-01_acq-tse_run-2_desc-sr_T2w"),
        ("sub-01/anat/sub-01_desc-preproc", "sub-01/anat/sub-01_desc-preprocsr_T2w"),
        ("sub-01", "sub-01/anat/sub-01_desc-sr_T2w"),
        ("sub-a b/anat/sub-a b", "sub-a-b/anat/sub-a-b_desc-sr_T2w"),
    ],
)
def test_a_result_is_named_as_derivatives_are(case: str, output: str, tmp_path: Path) -> None:
    (pair,) = requested_cases(make_dataset(tmp_path, case)).pairs
    assert pair["output"] == output


def test_a_folder_that_is_no_bids_data_set_gets_no_outputs(tmp_path: Path) -> None:
    pairs = find_pairs(make_dataset(tmp_path, "sub-1", "sub-2"))
    (tmp_path / "dataset_description.json").unlink()
    assert requested_cases(tmp_path).pairs == pairs
    assert bids_sidecar(pairs[0]) == {}
    write_dataset_description(tmp_path / "out", pairs)
    assert not (tmp_path / "out").exists()


def test_names_that_are_not_bids_keep_their_usual_output(tmp_path: Path) -> None:
    make_dataset(tmp_path)
    image = str(tmp_path / "IXI002-Guys-0828-T2.nii.gz")
    for name in ("IXI002-Guys-0828-T2.nii.gz", "IXI002-Guys-0828-PD.nii.gz"):
        (tmp_path / name).touch()
    (pair,) = requested_cases(tmp_path).pairs
    assert pair["image"] == image
    assert not {"output", "dataset"} & pair.keys()


def test_outputs_are_as_many_as_cases(tmp_path: Path) -> None:
    cases = [f"sub-{subject}/ses-{session}/anat/sub-{subject}_ses-{session}" for subject in "ab" for session in "12"]
    pairs = with_outputs(find_pairs(make_dataset(tmp_path, *cases)), tmp_path)
    assert len({pair["output"] for pair in pairs}) == 4


def test_a_sidecar_traces_the_result_to_files_of_the_source(tmp_path: Path) -> None:
    source, output = make_dataset(tmp_path / "raw data", "sub-1/anat/sub-1"), tmp_path / "results" / "sr"
    (pair,) = requested_cases(source).pairs
    sidecar = bids_sidecar(pair)
    write_dataset_description(output, [pair])
    links = json.loads((output / "dataset_description.json").read_text())["DatasetLinks"]
    assert links == {"raw": "../../raw%20data"}
    for uri, key in zip(sidecar["Sources"], ("image", "reference"), strict=True):
        scheme, name, path = uri.split(":", 2)
        assert scheme == "bids"
        assert (output / unquote(links[name]) / path).resolve() == Path(pair[key])
    assert sidecar["SpatialReference"] == "orig"  # required where the name has no space
    assert "SkullStripped" not in sidecar


def test_a_reference_outside_the_data_set_is_traced_by_its_address(tmp_path: Path) -> None:
    source = make_dataset(tmp_path / "raw", "sub-1")
    pair = requested_cases(source).pairs[0] | {"reference": str(tmp_path / "elsewhere" / "T1 w.nii.gz")}
    assert bids_sidecar(pair)["Sources"][1] == f"file://{tmp_path}/elsewhere/T1%20w.nii.gz"


def test_the_derived_data_set_is_described_with_what_bids_requires(tmp_path: Path) -> None:
    source = make_dataset(tmp_path / "raw", "sub-1")
    write_dataset_description(source / "derivatives" / "mcsr", requested_cases(source).pairs)
    description = json.loads((source / "derivatives" / "mcsr" / "dataset_description.json").read_text())
    assert description["Name"] == "Super-resolution of Ward 7"
    assert description["DatasetType"] == "derivative"
    assert description["GeneratedBy"][0]["Name"] == "mcsr"
    assert description["SourceDatasets"] == [{"URL": f"file://{source}"}]
    assert description["DatasetLinks"] == {"raw": "../.."}
    assert not list(tmp_path.rglob("*.partial*"))


@pytest.mark.parametrize("content", ["{", "[]", '{"Name": ""}'])
def test_a_damaged_description_of_the_source_does_no_harm(content: str, tmp_path: Path) -> None:
    source = make_dataset(tmp_path / "ward", "sub-1")
    (source / "dataset_description.json").write_text(content)
    write_dataset_description(tmp_path / "out", requested_cases(source).pairs)
    assert "Super-resolution of ward" in (tmp_path / "out" / "dataset_description.json").read_text()


def test_the_description_of_derivatives_that_are_there_is_left_alone(tmp_path: Path) -> None:
    source = make_dataset(tmp_path / "raw", "sub-1")
    (tmp_path / "out").mkdir()
    before = json.dumps({"Name": "mine", "DatasetType": "derivative"})
    (tmp_path / "out" / "dataset_description.json").write_text(before)
    write_dataset_description(tmp_path / "out", requested_cases(source).pairs)
    assert (tmp_path / "out" / "dataset_description.json").read_text() == before


def test_results_never_go_into_the_source_itself(tmp_path: Path) -> None:
    source = make_dataset(tmp_path, "sub-1")
    before = (source / "dataset_description.json").read_bytes()
    with pytest.raises(InputError, match=r"that is not derived; choose another, such as .*mcsr"):
        write_dataset_description(source, requested_cases(source).pairs)
    assert (source / "dataset_description.json").read_bytes() == before
