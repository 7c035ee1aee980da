# SPDX-License-Identifier: Apache-2.0
import json
import logging
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset, MetaTensor, decollate_batch
from monai.transforms import Compose
from scipy.ndimage import gaussian_filter

from bundle.acquisition import AxisEstimate
from bundle.errors import InputError
from bundle.kspace import project, zero_fill
from bundle.transforms import (
    DataConsistencyd,
    LoadPaird,
    MeasuredBlockd,
    NormaliseIntensityd,
    RestoreNatived,
    SlicesLastd,
    StackContrastsd,
)

SHAPE = (128, 144, 5)
AFFINE = np.array([[-0.6, 0, 0.1, 9], [0, -0.6, -0.2, 8], [0.02, -0.04, 3.3, -4], [0, 0, 0, 1]])


def head() -> np.ndarray:
    """Return slices with tissue borders, texture and noise, air around them."""
    random = np.random.default_rng(0)
    rows, columns = np.meshgrid(np.linspace(-1, 1, SHAPE[0]), np.linspace(-1, 1, SHAPE[1]), indexing="ij")
    tissue = (rows**2 / 0.7 + columns**2 / 0.6 < 1)[..., None]
    folds = np.sign(gaussian_filter(random.standard_normal(SHAPE), (3, 3, 0)))
    return np.abs(tissue * (600 + 200 * folds) + 8 * random.standard_normal(SHAPE))


def zero_filled(factor: float, column_factor: float | None = None) -> np.ndarray:
    slices = torch.from_numpy(head()).movedim(-1, 0)
    return zero_fill(slices, factor, True, column_factor).movedim(0, -1).numpy()


def small(voxels: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Return the magnitude of the image of the central samples alone."""
    k_space = np.fft.fftshift(np.fft.fft2(voxels, axes=(0, 1), norm="forward"), axes=(0, 1))
    top, left = (n // 2 - kept // 2 for n, kept in zip(voxels.shape, (rows, columns), strict=False))
    block = np.fft.ifftshift(k_space[top : top + rows, left : left + columns], axes=(0, 1))
    return np.abs(np.fft.ifft2(block, axes=(0, 1), norm="forward"))


def save(path: Path, voxels: np.ndarray, affine: np.ndarray = AFFINE) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    scale = [large / n for large, n in zip(SHAPE[:2], voxels.shape[:2], strict=True)]
    image = nib.Nifti1Image(np.rint(voxels).astype(np.uint16), affine @ np.diag([*scale, 1, 1]))
    image.header.set_xyzt_units("mm")
    nib.save(image, path)
    return str(path)


def pair(folder: Path, target: np.ndarray) -> dict:
    """Return the item of a target and a full-resolution reference, which may lie on another grid."""
    item = LoadPaird(allow_missing_keys=True)({"image": save(folder / "sub-1_T2w.nii", target), "case": "sub-1"})
    reference = save(folder / "sub-1_T1w.nii", head())
    item["reference"] = LoadPaird("image")({"image": reference})["image"]
    return item


def permuted(item: dict, order: tuple[int, int, int]) -> dict:
    """Return an item whose target is stored with other axes."""
    volume = item["image"].permute(0, *(axis + 1 for axis in order))
    volume.affine = item["image"].affine[:, [*order, 3]]
    return {**item, "image": volume}


def measured(item: dict) -> list[int]:
    """Return the samples of rows and columns that are known as measured."""
    return pytest.approx([axis.measured for axis in item["case"].low_res.axes], abs=1)  # of so few slices


@pytest.mark.parametrize("factor", [2, 3, 4, 2.5, [4, 2], [1, 2]])
def test_zero_filled_target_is_taken_as_it_is_and_its_block_is_measured(factor, tmp_path) -> None:
    rows, columns = factor if isinstance(factor, list) else (factor, factor)
    item = pair(tmp_path, zero_filled(rows, columns))
    out = MeasuredBlockd()(item)
    assert measured(out) == [round(128 / rows), round(144 / columns)]
    assert out["image"] is item["image"]
    facts = out["case"].facts()["low_res"]
    assert facts["matrix_before"] == facts["matrix_after"] == list(SHAPE)
    assert facts["factor"] == pytest.approx([rows, columns], rel=0.04)
    assert "of 128 x 144 pixels, by its own k-space" in facts["said"]
    assert facts["said"].endswith(": what was measured is put back")
    json.dumps(facts)


@pytest.mark.parametrize("order", [(2, 0, 1), (1, 2, 0)])
def test_without_a_reference_voxels_count_as_its_own(order, tmp_path) -> None:
    item = permuted(pair(tmp_path, zero_filled(4)), order)
    del item["reference"]
    assert measured(MeasuredBlockd()(item)) == [(32, 36, 5)[axis] for axis in order if axis != 2]


@pytest.mark.parametrize("mode", ["auto", "zero_filled"])
def test_a_single_slice_is_one_however_thin(mode, tmp_path) -> None:
    path = save(tmp_path / "sub-1_T2w.nii", zero_filled(4)[..., 2:3], AFFINE @ np.diag([1, 1, 0.1, 1]))
    item = LoadPaird("image")({"image": path, "case": "sub-1"})
    assert measured(MeasuredBlockd(4 if mode == "zero_filled" else None, mode=mode)(item)) == [32, 36]


@pytest.mark.parametrize(("order", "found"), [((2, 0, 1), [32, 72]), ((1, 2, 0), [36, 64])])
def test_rows_and_columns_are_those_of_the_slices_wherever_they_lie(order, found, tmp_path) -> None:
    item = permuted(pair(tmp_path, zero_filled(*((4, 2) if order[0] == 2 else (2, 4)))), order)
    assert measured(MeasuredBlockd()(item)) == found


def test_small_matrix_is_enlarged_onto_the_reference(tmp_path) -> None:
    item = pair(tmp_path, small(head(), 33, 37))
    out = MeasuredBlockd([128 / 33, 144 / 37])(item)
    assert measured(out) == [33, 37]
    assert out["image"].shape == (1, *SHAPE)
    assert out["image"].dtype == torch.float32
    torch.testing.assert_close(out["image"].affine, torch.from_numpy(AFFINE), atol=1e-5, rtol=0)
    np.testing.assert_allclose(out["image"].meta["original_affine"], AFFINE, atol=1e-5)
    np.testing.assert_array_equal(out["image"].meta["spatial_shape"], SHAPE)
    np.testing.assert_allclose(out["image"].meta["spacing"], np.linalg.norm(AFFINE[:3, :3], axis=0), rtol=1e-6)
    assert out["image"].meta["filename_or_obj"] == item["image"].meta["filename_or_obj"]
    expected = project(torch.from_numpy(head()).movedim(-1, 0), 128 / 33, 144 / 37).movedim(0, -1).abs()
    assert (out["image"][0] - expected).abs().mean() < 0.05 * expected.mean()  # the small one is a magnitude
    facts = out["case"].facts()["low_res"]
    assert (facts["matrix_before"], facts["matrix_after"]) == ([33, 37, 5], [*SHAPE])


def test_small_matrix_that_is_zero_filled_too_counts_what_was_measured(tmp_path) -> None:
    item = pair(tmp_path, small(zero_filled(4), 64, 72))
    out = MeasuredBlockd()(item)
    assert measured(out) == [32, 36]
    assert out["image"].shape == (1, *SHAPE)
    assert "x 4 times coarser than its grid of 128 x 144 pixels (enlarged from 64 x 72)" in out["case"].low_res.said


@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1), (2, 0, 1)])
@pytest.mark.parametrize("mode", ["auto", "small"])
def test_small_matrix_between_thin_slices_is_enlarged_across_its_coarse_axes(mode, order, tmp_path) -> None:
    """Voxels of 2.4 x 2.4 x 1 mm: the largest is not the slices' thickness."""
    thin = AFFINE @ np.diag([1, 1, 0.3, 1])
    coarse, fine = (np.repeat(voxels, 4, axis=2) for voxels in (small(head(), 32, 36), head()))
    item = LoadPaird("image")({"image": save(tmp_path / "t2.nii", coarse, thin), "case": "thin"})
    item["reference"] = LoadPaird("image")({"image": save(tmp_path / "t1.nii", fine, thin)})["image"]
    out = MeasuredBlockd(None if mode == "auto" else 4, mode=mode)(permuted(item, order))
    assert out["image"].shape == (1, *((128, 144, 20)[axis] for axis in order))
    assert measured(out) == [(32, 36, 20)[axis] for axis in order if axis != 2]


def test_reference_of_other_axes_tells_the_size_of_voxels_too(tmp_path) -> None:
    item = pair(tmp_path, small(head(), 32, 36))
    item["reference"] = permuted({"image": item["reference"]}, (2, 0, 1))["image"]
    assert MeasuredBlockd()(item)["image"].shape == (1, *SHAPE)


@pytest.mark.parametrize("reference", [True, False])
def test_full_resolution_on_a_fine_grid_is_passed_over_with_what_would_do_something(reference, tmp_path) -> None:
    item = pair(tmp_path, head())
    if not reference:
        del item["reference"]
    with pytest.raises(InputError, match=r"sub-1_T2w.nii: there is nothing to sharpen in plane.*--factor F.*--degrade"):
        MeasuredBlockd()(item)


def test_an_image_without_a_file_is_named_by_its_case(tmp_path) -> None:
    item = pair(tmp_path, head())
    del item["image"].meta["filename_or_obj"]
    with pytest.raises(InputError, match=r"^sub-1: there is nothing to sharpen"):
        MeasuredBlockd()(item)


@pytest.mark.parametrize("trained", [4, [4, 2], [3, 4]])
def test_another_factor_than_that_of_the_weights_is_warned_of(trained, tmp_path) -> None:
    out = MeasuredBlockd(trained=trained)(pair(tmp_path, zero_filled(2)))
    (warning,), first = out["case"].warnings, np.ravel(trained)[0]
    assert warning.startswith(f"This image is coarser than its grid by 2 and the weights were trained for {first}")
    assert measured(out) == [64, 72]


@pytest.mark.parametrize("trained", [None, 2, [2.05, 2]])
def test_the_factor_of_the_weights_is_no_matter_for_a_warning(trained, tmp_path) -> None:
    assert MeasuredBlockd(trained=trained)(pair(tmp_path, zero_filled(2)))["case"].warnings == []


@pytest.mark.parametrize(
    ("rows", "columns", "said"),
    [(64, 72, "2 x 2"), (100, 144, "1.28 x 1"), (100, 112, "1.28 x 1.29"), (26, 30, "4.62 x 4.6")],
)
def test_a_small_matrix_is_enlarged_to_the_voxels_of_the_reference_by_any_ratio(rows, columns, said, tmp_path) -> None:
    out = MeasuredBlockd()(pair(tmp_path, small(head(), rows, columns)))
    sizes = [min(n, round(4.6 * kept)) for n, kept in zip(SHAPE, (rows, columns), strict=False)]
    assert list(out["image"].shape[1:]) == [*sizes, 5]
    assert measured(out) == [rows, columns]
    grid = f"{sizes[0]} x {sizes[1]} pixels (enlarged from {rows} x {columns})"
    assert f"in plane {said} times coarser than its grid of {grid}" in out["case"].low_res.said


def test_voxels_a_little_larger_than_the_reference_s_are_no_reason_to_enlarge(tmp_path) -> None:
    with pytest.raises(InputError, match="nothing to sharpen"):
        MeasuredBlockd()(pair(tmp_path, small(head(), 112, 126)))


@pytest.mark.parametrize(("trained", "size"), [(None, 124), (4, 128), (3, 124)])
def test_the_grid_is_what_the_weights_know_where_the_reference_s_voxels_are_about_that(trained, size, tmp_path) -> None:
    item = pair(tmp_path, small(head(), 32, 36))
    reference = save(tmp_path / "sub-1_PDw.nii", head(), AFFINE @ np.diag([128 / 124, 128 / 124, 1, 1]))
    item["reference"] = LoadPaird("image")({"image": reference})["image"]
    assert MeasuredBlockd(trained=trained)(item)["image"].shape[1] == size


def test_a_stated_factor_is_taken_for_known(tmp_path) -> None:
    out = MeasuredBlockd(factor=[2, 3])(pair(tmp_path, head()))
    assert measured(out) == [64, 48]
    assert {axis.source for axis in out["case"].low_res.axes} == {"given"}
    assert ", as stated:" in out["case"].low_res.said


@pytest.mark.parametrize("mode", ["zero_filled", "small"])
def test_what_is_not_looked_for_must_be_stated(mode) -> None:
    with pytest.raises(InputError, match=f"low_res is {mode}, and nobody says by how much: add --factor F"):
        MeasuredBlockd(mode=mode)


def test_what_is_unsure_is_done_and_said(tmp_path, monkeypatch) -> None:
    unsure = [AxisEstimate(n, 1.4, 0.15, None, source="header") for n in SHAPE[:2]]
    monkeypatch.setattr("bundle.transforms.low_res._estimates", lambda *_: unsure)
    out = MeasuredBlockd()(pair(tmp_path, head()))
    assert out["case"].low_res.said == (
        "in plane 1.4 x 1.4 times coarser than its grid of 128 x 144 pixels, by its header, +-15%, "
        "unsure: what was measured is put back as far as it is known"
    )


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"AcquisitionMatrixPE": 72, "AcquisitionMatrix": [80, 72]}, "by its header"),
        ({"AcquisitionMatrix": ["a", None, {}], "PercentSampling": "-1", "SliceThickness": [[]]}, None),
        ([1, 2], None),
    ],
)
def test_a_side_car_speaks_where_k_space_shows_nothing(said, expected, tmp_path) -> None:
    item = pair(tmp_path, head())
    Path(item["image"].meta["filename_or_obj"]).with_name("sub-1_T2w.json").write_text(json.dumps(said))
    item = {"case": "sub-1", "image": item["image"].meta["filename_or_obj"]}
    item = LoadPaird(allow_missing_keys=True)(item)
    if expected is None:
        with pytest.raises(InputError, match="there is nothing to sharpen in plane"):
            MeasuredBlockd()(item)
    else:
        assert expected in MeasuredBlockd()(item)["case"].low_res.said


@pytest.mark.parametrize("zoom", [0.5, 0.9, 1.25])
def test_zero_filled_target_may_have_voxels_a_little_larger_than_the_reference_or_smaller(zoom, tmp_path) -> None:
    item = pair(tmp_path, zero_filled(4))
    reference = save(tmp_path / "sub-1_PDw.nii", head(), AFFINE @ np.diag([1 / zoom, 1 / zoom, 1, 1]))
    item["reference"] = LoadPaird("image")({"image": reference})["image"]
    out = MeasuredBlockd()(item)
    assert out["image"].shape == (1, *SHAPE)
    assert measured(out) == [32, 36]


def test_slices_are_never_taken_along_an_axis_that_is_not_the_coarsest_after_enlarging(tmp_path) -> None:
    """Slices of 3 mm with voxels of 1.2 x 0.6 mm: twice the reference's along two axes, but one is across slices."""
    random = np.random.default_rng(0)
    item = {"case": "sub-1"}
    for key, shape, spacing in (("image", (8, 24, 48), (3, 1.2, 0.6)), ("reference", (16, 48, 48), (1.5, 0.6, 0.6))):
        image = nib.Nifti1Image(random.integers(1, 999, shape).astype(np.uint16), np.diag([*spacing, 1]))
        image.header.set_xyzt_units("mm")
        nib.save(image, tmp_path / f"{key}.nii")
        item[key] = LoadPaird("image")({"image": str(tmp_path / f"{key}.nii")})["image"]
    out = MeasuredBlockd()(item)
    assert out["image"].shape == (1, 8, 48, 48)
    assert out["case"].low_res.slice_axis == 0


def test_told_to_be_zero_filled_any_target_is_taken_as_it_is(tmp_path) -> None:
    item = pair(tmp_path, head())
    out = MeasuredBlockd(4, mode="zero_filled")(item)
    assert out["image"] is item["image"]
    assert measured(out) == [32, 36]


def test_told_to_be_small_any_target_is_enlarged_by_the_factor_of_the_weights(tmp_path) -> None:
    item = pair(tmp_path, small(head(), 64, 72))
    del item["reference"]
    out = MeasuredBlockd([4, 3], mode="small")(item)
    assert out["image"].shape == (1, 256, 216, 5)
    assert measured(out) == [64, 72]
    np.testing.assert_allclose(out["image"].affine[:3, 3], item["image"].affine[:3, 3])


@pytest.mark.parametrize(("factor", "mode"), [(4, "full"), (4, "zerofilled"), (1, "auto"), ("4", "auto")])
def test_wrong_settings_are_refused(factor, mode) -> None:
    with pytest.raises(InputError, match=r"(low_res|factor) is"):
        MeasuredBlockd(factor, mode=mode)


def test_what_was_found_is_said(tmp_path, caplog) -> None:
    with caplog.at_level(logging.INFO, "bundle"):
        MeasuredBlockd()(pair(tmp_path, zero_filled(4)))
    said = "x 4 times coarser than its grid of 128 x 144 pixels, by its own k-space"
    assert caplog.text.count(said) == 1


def test_a_case_that_is_read_again_is_neither_looked_at_nor_told_of_again(tmp_path, caplog, monkeypatch) -> None:
    """As a large one is: its volumes do not stay in memory between the check of all inputs and its turn."""
    image = small(zero_filled(4), 64, 72)
    step = MeasuredBlockd()
    checked = step(pair(tmp_path, image))
    found = checked["case"].facts()
    monkeypatch.setattr("bundle.transforms.low_res.estimate_axes", None)
    caplog.clear()
    with caplog.at_level(logging.INFO, "bundle"):
        computed = step(pair(tmp_path, image) | {"case": checked["case"]})
    assert caplog.text == ""
    assert torch.equal(computed["image"], checked["image"])
    assert measured(computed) == [32, 36]
    assert computed["case"].facts() == found


def test_an_item_that_has_been_enlarged_passes(tmp_path, monkeypatch) -> None:
    step = MeasuredBlockd()
    item = step(pair(tmp_path, small(head(), 32, 36)))
    monkeypatch.setattr("bundle.transforms.low_res.estimate_axes", None)
    again = step(item)
    assert again["image"] is item["image"]
    assert again["case"].low_res is item["case"].low_res


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_enlarged_target_goes_through_the_whole_chain_and_holds_what_was_measured(order, tmp_path) -> None:
    """An identity network with data consistency gives back the enlarged image, in its native axes."""
    item = permuted(pair(tmp_path, small(head(), 32, 36)), order)
    item["reference"] = permuted({"image": item["reference"]}, order)["image"]
    steps = [MeasuredBlockd(), SlicesLastd(), NormaliseIntensityd(), StackContrastsd()]
    batch = next(iter(DataLoader(Dataset([item], Compose(steps)), batch_size=1)))
    item = decollate_batch(batch)[0]
    native = [SHAPE[axis] for axis in order]
    assert measured(item) == [{128: 32, 144: 36}[n] for n in native if n != 5]
    item["pred"] = MetaTensor(item["low_res"].clone(), meta=item["image"].meta)
    out = RestoreNatived()(DataConsistencyd(output_key="pred")(item))
    assert list(out["pred"].shape[1:]) == native
    enlarged = MeasuredBlockd()(permuted(pair(tmp_path, small(head(), 32, 36)), order))["image"]
    assert (out["pred"] - enlarged).abs().mean() < 0.01 * enlarged.mean()
