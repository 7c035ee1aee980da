# SPDX-License-Identifier: Apache-2.0
"""The table of contrasts is the only place that knows them, and costs nothing to import."""

import subprocess
import sys
from pathlib import Path

import pytest

from bundle.volumes.names import ANY_REFERENCE, REFERENCE_CONTRASTS, REFERENCE_NAMES, choose_contrast, parse_name


def test_the_table_of_contrasts_imports_nothing_heavy(bundle_root: Path) -> None:
    code = "import sys, bundle.volumes.names; print({'numpy', 'torch', 'nibabel', 'monai'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=bundle_root, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_what_follows_from_the_table_is_what_the_pages_say() -> None:
    assert REFERENCE_CONTRASTS == ("PDw", "T1w")
    assert ANY_REFERENCE == "PDw or T1w"
    assert REFERENCE_NAMES == {"_T2w": ["_PDw", "_T1w"], "-T2": ["-PD", "-T1"]}


@pytest.mark.parametrize(
    ("name", "contrast", "entities"),
    [
        ("sub-L12_ses-1_T2w.nii.gz", "T2w", {"sub": "L12", "ses": "1"}),
        ("sub-1_PDw.nii", "PDw", {"sub": "1"}),
        ("IXI002-Guys-0828-T1.nii.gz", "T1w", {"sub": "IXI002", "scan": "IXI002-Guys-0828"}),
    ],
)
def test_a_name_tells_contrast_and_entities(name: str, contrast: str, entities: dict[str, str]) -> None:
    scan = parse_name(Path("/data", name))
    assert scan is not None
    assert (scan.contrast, scan.entities) == (contrast, entities)


@pytest.mark.parametrize("name", ["sub-1_SWI.nii.gz", "T2w.nii.gz", "sub-1_T2w.nii.bz2", "IXI002-Guys-0828-MRA.nii"])
def test_other_names_tell_nothing(name: str) -> None:
    assert parse_name(Path(name)) is None


@pytest.mark.parametrize(("n_t1", "chosen"), [(1, "PDw"), (2, "PDw"), (3, "T1w")])
def test_auto_is_the_contrast_with_more_pairs_and_the_preferred_one_on_a_tie(n_t1: int, chosen: str) -> None:
    assert choose_contrast({"PDw": 2, "T1w": n_t1}, "auto") == chosen
    assert choose_contrast({"PDw": 2, "T1w": n_t1}, "T1w") == "T1w"
