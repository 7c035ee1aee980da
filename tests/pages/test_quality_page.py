# SPDX-License-Identifier: Apache-2.0
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset, MetaTensor, decollate_batch
from monai.utils import ImageMetaKey

from bundle.acquisition import AxisEstimate
from bundle.case import Case, LowResFinding
from bundle.doubts import Doubt
from bundle.keys import (
    CASE,
    HIGH_RES,
    IMAGE,
    INTERVAL,
    LOW_RES,
    OUTPUT,
    PRED,
    REFERENCE,
    SLICES,
)
from bundle.kspace import zero_fill
from bundle.pages import QualityPaged

SHAPE = (36, 40, 12)
AFFINE = torch.diag(torch.tensor([-0.9, 0.9, 3.0, 1.0], dtype=torch.float64))


def known(sizes: tuple[int, int], measured: tuple[int, int], slice_axis: int = 2) -> LowResFinding:
    """Return what is known of slices of which so many samples of k-space were measured."""
    rows, columns = (AxisEstimate(n, n / kept) for n, kept in zip(sizes, measured, strict=True))
    shape = [*sizes]
    shape.insert(slice_axis, 4)
    return LowResFinding("zero-filled", slice_axis, shape, shape, [1.0] * 3, [1.0] * 3, (rows, columns))


@pytest.fixture
def item() -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    truth = torch.zeros(1, *SHAPE)
    truth[:, 6:-6, 6:-6, 1:] = 0.3 + 0.7 * torch.rand(1, 24, 28, 11, generator=generator)
    low_res = zero_fill(truth.movedim(-1, 0), 2).movedim(0, -1)
    volumes = {LOW_RES: low_res, PRED: 0.9 * truth, REFERENCE: 1 - truth}
    made = {key: MetaTensor(volume, affine=AFFINE) for key, volume in volumes.items()}
    made[REFERENCE].meta[ImageMetaKey.FILENAME_OR_OBJ] = "/private/folder/sub-01_T1w.nii.gz"
    image = MetaTensor(torch.cat((low_res, 1 - truth)), affine=AFFINE)
    image.meta[ImageMetaKey.FILENAME_OR_OBJ] = "/private/folder/sub-01_T2w.nii.gz"
    # slices 10, 12, ... of a file whose slices lie along its second axis
    case = Case("sub-01", low_res=known(SHAPE[:2], (18, 20), 1))
    return {**made, SLICES: torch.arange(10, 34, 2), IMAGE: image, CASE: case}


def paged(folder: Path, **settings: Any) -> QualityPaged:
    return QualityPaged(folder, **settings)


def slices_of(path: Path) -> list[int]:
    return [int(index) for index in re.findall(r"<h3[^>]*>Slice (\d+)</h3>", path.read_text(encoding="utf-8"))]


def test_page_lies_beside_the_output(tmp_path: Path, item, parse) -> None:
    paged(tmp_path, weights="/models/best.pt")(item)
    paged(tmp_path)({**item, OUTPUT: "sub-01/anat/sub-01_desc-sr_T2w"})
    assert (tmp_path / "sub-01" / "anat" / "sub-01_desc-sr_T2w.html").is_file()
    page = (tmp_path / "sub-01_sr.html").read_text(encoding="utf-8")
    names = dict(zip(parse(page).text("dt"), parse(page).text("dd"), strict=True))
    assert (names["Input"], names["Reference"], names["Weights"]) == (
        "sub-01_T2w.nii.gz",
        "sub-01_T1w.nii.gz",
        "best.pt",
    )
    assert "/private" not in page
    assert "/models" not in page


def test_page_leaves_the_item_as_it_is(tmp_path: Path, item) -> None:
    before = {key: value.clone() if isinstance(value, torch.Tensor) else value for key, value in item.items()}
    after = paged(tmp_path)(item)
    assert after.keys() == item.keys()
    assert all(after[key] is item[key] for key in item)
    assert item.keys() == before.keys()
    for key, value in before.items():
        assert torch.equal(item[key], value) if isinstance(value, torch.Tensor) else item[key] == value


def test_page_shows_slices_at_the_quartiles_of_the_tissue_by_their_index_in_the_file(tmp_path: Path, item) -> None:
    paged(tmp_path)(item)  # tissue in positions 1 to 11
    assert slices_of(tmp_path / "sub-01_sr.html") == [10 + 2 * position for position in (3, 6, 9)]


def test_page_takes_a_map_of_error_bars(tmp_path: Path, item) -> None:
    paged(tmp_path)({**item, INTERVAL: MetaTensor(torch.full((1, *SHAPE), 0.1))})
    assert (tmp_path / "sub-01_sr.html").read_text(encoding="utf-8").count("<h4>Error bars</h4>") == 3


def test_ground_truth_is_shown_with_scores(tmp_path: Path, item) -> None:
    paged(tmp_path)({**item, HIGH_RES: item[PRED]})
    assert (tmp_path / "sub-01_sr.html").read_text(encoding="utf-8").count("dB, SSIM 1.000") == 3


def test_measured_block_is_that_of_the_case(tmp_path: Path, item) -> None:
    paged(tmp_path)({**item, CASE: Case("sub-01", low_res=known(SHAPE[:2], (9, 20)))})
    page = (tmp_path / "sub-01_sr.html").read_text(encoding="utf-8")
    # rows run from front to back along the second axis of the slices
    assert page.count('class="block" style="top: 25.00%; left: 38.89%; height: 50.00%; width: 25.00%"') == 3
    paged(tmp_path)(item)
    assert "height: 50.00%; width: 50.00%" in (tmp_path / "sub-01_sr.html").read_text(encoding="utf-8")


def test_reference_without_signal_is_not_shown(tmp_path: Path, item) -> None:
    paged(tmp_path)({**item, REFERENCE: MetaTensor(torch.zeros(1, *SHAPE), affine=AFFINE)})
    assert "<h4>Reference</h4>" not in (tmp_path / "sub-01_sr.html").read_text(encoding="utf-8")


def test_warnings_and_facts_of_the_run_are_on_the_page(tmp_path: Path, item, parse) -> None:
    item[CASE].warn(Doubt.DISPLACED, "The reference moved 6 mm.")
    item[CASE].seconds["network"] = 3.0
    paged(tmp_path)(item)
    parsed = parse((tmp_path / "sub-01_sr.html").read_text(encoding="utf-8"))
    assert parsed.text("li") == ["The reference moved 6 mm."]
    assert "3 s" in parsed.text("td")


@pytest.mark.parametrize("damage", [LOW_RES, PRED, "folder"])
def test_page_that_cannot_be_made_is_a_warning(tmp_path: Path, item, damage) -> None:
    folder = tmp_path
    if damage == "folder":
        folder = tmp_path / "file"
        folder.touch()
    else:
        item[damage] = item[damage][..., :5, :3]
    (tmp_path / "sub-01_sr.html").write_text("of an earlier run", encoding="utf-8")
    assert paged(folder)(item) == item
    (warning,) = item[CASE].warnings
    assert warning.startswith("The quality page could not be made (")
    assert not list(folder.glob("*.html"))


@pytest.mark.parametrize("value", [0.0, float("nan"), -1.0])
def test_empty_volumes_have_a_page_all_the_same(tmp_path: Path, item, value) -> None:
    for key in (LOW_RES, PRED, REFERENCE):
        item[key] = torch.full_like(item[key], value)
    paged(tmp_path)(item)
    assert item[CASE].warnings == []
    assert len(slices_of(tmp_path / "sub-01_sr.html")) == 3


def test_volume_of_one_slice_has_a_page_of_one(tmp_path: Path, item) -> None:
    thin = {key: item[key][..., 4:5] for key in (LOW_RES, PRED, REFERENCE, IMAGE)}
    paged(tmp_path)({**item, **thin, SLICES: torch.tensor([18])})
    assert slices_of(tmp_path / "sub-01_sr.html") == [18]


def test_item_may_have_passed_through_a_data_loader(tmp_path: Path, item) -> None:
    (batch,) = DataLoader(Dataset([item]), batch_size=1)
    (passed,) = decollate_batch(batch)
    paged(tmp_path)(passed)
    assert passed[CASE].warnings == []
    assert slices_of(tmp_path / "sub-01_sr.html") == [16, 22, 28]


def test_page_of_a_real_case_holds_its_anatomy_the_right_way_up(
    tmp_path: Path, shared_data: Path, parse, picture_of
) -> None:
    from bundle.transforms import LoadPaird, NormaliseIntensityd, SlicesLastd, StackContrastsd, ZeroFilld

    files = {
        key: shared_data / "open_ms" / f"sub-L12_ses-1_{c}.nii.gz" for key, c in ((IMAGE, "T2w"), (REFERENCE, "T1w"))
    }
    loaded: Any = {**files, CASE: "L12"}
    for step in (LoadPaird(), SlicesLastd(), NormaliseIntensityd(), ZeroFilld(2), StackContrastsd()):
        loaded = step(loaded)
    loaded[PRED] = loaded[HIGH_RES]
    paged(tmp_path)(loaded)
    page = tmp_path / "L12_sr.html"
    assert page.stat().st_size < 2e6
    parsed = parse(page.read_text(encoding="utf-8"))
    output = np.asarray(picture_of(parsed.all("img")[2 * 12]["src"]).convert("L"), dtype=float)
    assert output.shape[0] > output.shape[1]  # a head is longer than wide, nose up
    # the left half of the picture is the patient's right: mirrored halves are alike, but not the same
    assert np.corrcoef(output[:, ::-1].ravel(), output.ravel())[0, 1] > 0.7


@pytest.mark.parametrize(("output", "back"), [(None, "index.html"), ("sub-01/ses 1/a", "../../index.html")])
def test_the_way_back_leads_to_the_page_of_the_batch(output, back, tmp_path: Path, item, parse) -> None:
    paged(tmp_path)(item | ({OUTPUT: output} if output else {}))
    (page,) = tmp_path.rglob("*.html")
    assert parse(page.read_text(encoding="utf-8")).all("a")[0]["href"] == back
    assert (page.parent / back).resolve() == tmp_path / "index.html"
