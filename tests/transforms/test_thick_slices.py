# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from nibabel.affines import apply_affine

from bundle.errors import InputError
from bundle.transforms import LoadPaird, MeasuredBlockd, SaveVolumed, SlicesLastd, ThickSlicesd

ROTATION = np.array([[-0.96, 0, 0.28, 9], [0, 1, 0, 8], [0.28, 0, 0.96, -4], [0, 0, 0, 1]])
AFFINE = ROTATION @ np.diag([0.9, 0.95, 5, 1])


def save(path: Path, shape: tuple[int, ...] = (40, 44, 6), affine: np.ndarray = AFFINE, axis: int = 2) -> str:
    voxels = 500 + 200 * np.random.default_rng(0).random(shape)
    order = np.argsort([i for i in range(3) if i != axis] + [axis])
    image = nib.Nifti1Image(voxels.astype(np.float32).transpose(order), affine[:, [*order, 3]])
    image.set_qform(image.affine, 1)
    image.header.set_xyzt_units("mm")
    image.header["slice_code"], image.header["slice_end"] = 3, shape[2] - 1
    nib.save(image, path)
    return str(path)


def fine(path: str, required: bool = False, reference: str | None = None, **settings: Any) -> dict[Any, Any]:
    paths = {"case": "a", "image": path} | ({"reference": reference} if reference else {})
    item = LoadPaird(allow_missing_keys=True, check_grid=False)(paths)
    return ThickSlicesd(**settings)(MeasuredBlockd(required=required)(item))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_fine_slices_fill_the_space_of_thick_ones(axis: int, tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii", axis=axis)
    item = fine(path)
    found = item["case"].low_res
    n = item["image"].shape[1 + axis]
    assert n == 32  # 6 x 5 mm in steps of 0.95
    before, after = nib.load(path).affine, item["image"].affine.numpy()
    for edge, same in ((-0.5, -0.5), (5.5, n - 0.5)):
        corner = np.zeros((2, 3))
        corner[0, axis], corner[1, axis] = edge, same
        np.testing.assert_allclose(apply_affine(before, corner[0]), apply_affine(after, corner[1]), atol=1e-4)
    assert found.slices.thickness == found.slices.spacing == pytest.approx(n / 6)
    assert found.slice_axis == axis
    assert found.said.endswith("slices 5 mm apart become 0.938 mm")
    assert SlicesLastd()(item)["slice_axis"] == axis  # though its voxels are the smaller ones now


def test_a_result_has_the_header_of_the_fine_grid(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii")
    item = fine(path, spacing=1.0)
    SaveVolumed("image", output_dir=tmp_path)(item)
    header = nib.load(tmp_path / "a_sr.nii.gz").header
    affine = item["image"].affine.numpy()
    np.testing.assert_allclose(header.get_sform(), affine, atol=1e-5)
    np.testing.assert_allclose(header.get_qform(), affine, atol=1e-4)
    np.testing.assert_allclose(header.get_zooms()[2], np.linalg.norm(affine[:3, 2]), rtol=1e-5)
    assert header.get_data_shape() == (40, 44, 30)
    assert (header["slice_code"], header["slice_end"]) == (0, 0)


def test_slices_of_a_ramp_stay_a_ramp_inside(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii")
    image = nib.load(path)
    nib.save(
        nib.Nifti1Image(np.broadcast_to(np.arange(6, dtype=np.float32) * 100 + 100, (40, 44, 6)), image.affine), path
    )
    item = fine(path, required=False, spacing=1.0)
    places = (np.arange(30) - 2) / 5
    np.testing.assert_allclose(item["image"][0, 3, 3, 2:28].numpy(), 100 + 100 * places[2:28], rtol=1e-4)


def test_what_is_found_once_is_not_looked_for_again(tmp_path: Path) -> None:
    item = fine(save(tmp_path / "a.nii"))
    found = item["case"].low_res
    again = ThickSlicesd()(MeasuredBlockd(required=False)(item))
    assert again["case"].low_res is found
    assert again["image"].shape == item["image"].shape
    fresh = LoadPaird(allow_missing_keys=True)({"case": item["case"], "image": str(tmp_path / "a.nii")})
    assert ThickSlicesd()(MeasuredBlockd(required=False)(fresh))["image"].shape == item["image"].shape


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"thickness": 4.0}, "slices of 4 mm, 5 mm apart, become 0.938 mm"),
        ({"spacing": 2.0}, "slices 5 mm apart become 2 mm"),
        ({"spacing": 0.5}, "become 0.714 mm, not 0.5 (no more than 7 of one)"),
    ],
)
def test_what_is_asked_for_is_done_and_said(settings: dict[str, float], said: str, tmp_path: Path) -> None:
    found = fine(save(tmp_path / "a.nii"), **settings)["case"].low_res
    assert said in found.said
    step = found.spacing_after[2]
    assert found.slices.thickness * step == pytest.approx(settings.get("thickness", found.spacing_before[2]))
    assert json.loads(json.dumps(found.facts()))["slice_thickness"] == pytest.approx(found.slices.thickness * step)


@pytest.mark.parametrize(("said", "thickness"), [(4.0, 4.0), (6.0, 6.0), (0.9, 5.0), ("?", 5.0)])
def test_a_header_says_how_thick_slices_are_unless_it_cannot_be(said: object, thickness: float, tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii")
    (tmp_path / "a.json").write_text(json.dumps({"SliceThickness": said, "SpacingBetweenSlices": 5.0}))
    found = fine(path)["case"].low_res
    assert found.slices.thickness * found.spacing_after[2] == pytest.approx(thickness)


def test_slices_get_as_fine_as_a_finer_reference_and_no_finer(tmp_path: Path) -> None:
    reference = save(tmp_path / "b.nii", (40, 44, 15), AFFINE @ np.diag([1, 1, 0.4, 1]))
    item = fine(save(tmp_path / "a.nii"), reference=reference)
    assert item["image"].shape[1:] == (40, 44, 15)
    assert "help little" not in item["case"].low_res.said


def test_a_reference_of_thick_slices_is_said_to_help_little(tmp_path: Path) -> None:
    item = fine(
        save(tmp_path / "a.nii"), reference=save(tmp_path / "b.nii", (40, 44, 7), AFFINE @ np.diag([1, 1, 0.9, 1]))
    )
    assert item["image"].shape[1:] == (40, 44, 32)
    assert item["case"].low_res.said.endswith("mm (those of the reference are hardly finer, and help little)")


@pytest.mark.parametrize(("shape", "apart"), [((40, 44, 6), 0.22), ((40, 44, 1), 1.0)])
def test_where_there_is_nothing_to_gain_it_is_said(shape: tuple[int, ...], apart: float, tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii", shape, AFFINE @ np.diag([1, 1, apart, 1]))
    with pytest.raises(InputError, match=r"a\.nii: there is nothing to sharpen: in plane as fine.*--spacing"):
        fine(path)


@pytest.mark.parametrize("settings", [{"spacing": 0.0}, {"thickness": -1.0}])
def test_lengths_that_cannot_be_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(InputError, match="give millimetres above 0"):
        ThickSlicesd(**settings)
