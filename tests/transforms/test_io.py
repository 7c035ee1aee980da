# SPDX-License-Identifier: Apache-2.0
import os
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset, MetaTensor, decollate_batch
from monai.transforms import Compose, LoadImaged, SaveImaged

from bundle.case import Case
from bundle.doubts import Doubt
from bundle.errors import InputError
from bundle.transforms.io import LoadPaird, SaveVolumed

SHAPE = (18, 20, 5)
AFFINE = np.array([[-0.6, 0, 0.1, 9], [0, -0.6, -0.2, 8], [0.02, -0.04, 3.3, -4], [0, 0, 0, 1]])


def save(path: Path, affine: np.ndarray = AFFINE, dtype: str = "int16", shape: tuple[int, ...] = SHAPE) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(np.arange(np.prod(shape)).reshape(shape).astype(dtype), affine)
    image.set_sform(affine, 1)
    image.set_qform(affine, 2)
    image.header.set_xyzt_units("mm", "sec")
    image.header["descrip"] = b"TE=100"
    nib.save(image, path)
    return str(path)


@pytest.fixture
def pair(tmp_path: Path) -> dict[str, str]:
    return {
        "image": save(tmp_path / "sub-1_T2w.nii.gz"),
        "reference": save(tmp_path / "sub-1_T1w.nii.gz"),
        "subject": "1",
        "case": "sub-1",
    }


def through_a_loader(pair: dict[str, str], transform: Callable) -> dict:
    """Take one item through collation and decollation, as an engine does."""
    batch = next(iter(DataLoader(Dataset([pair], transform), batch_size=1)))
    assert batch["image"].shape == (1, 1, *SHAPE)
    return decollate_batch(batch)[0]


def test_load_paird_gives_float32_channel_first_tensors(pair: dict[str, str]) -> None:
    item = LoadPaird()(pair)
    for key in ("image", "reference"):
        assert isinstance(item[key], MetaTensor)
        assert item[key].dtype == torch.float32
        np.testing.assert_array_equal(item[key].numpy(), np.arange(1800).reshape(1, *SHAPE))
    assert (item["subject"], item["case"]) == ("1", "sub-1")
    assert pair["image"].endswith("sub-1_T2w.nii.gz"), "the datalist's own item is left alone"


@pytest.mark.parametrize("key", ["image", "reference"])
def test_load_paird_leaves_the_metadata_of_monai_s_loader(pair: dict[str, str], key: str) -> None:
    ours = LoadPaird()(pair)[key]
    monai = LoadImaged(["image", "reference"], ensure_channel_first=True)(pair)[key]
    torch.testing.assert_close(ours.as_tensor(), monai.as_tensor())
    torch.testing.assert_close(ours.affine, monai.affine)
    for name in ("original_affine", "spatial_shape", "space", "original_channel_dim", "filename_or_obj"):
        np.testing.assert_equal(ours.meta[name], monai.meta[name], err_msg=name)
    assert ours.applied_operations == monai.applied_operations
    np.testing.assert_allclose(ours.meta["spacing"], ours.pixdim)


def test_load_paird_equals_monai_on_a_real_pair(shared_data: Path) -> None:
    pair = {
        "image": str(shared_data / "open_ms/sub-L12_ses-1_T2w.nii.gz"),
        "reference": str(shared_data / "open_ms/sub-L12_ses-1_T1w.nii.gz"),
    }
    ours = LoadPaird()(pair)
    monai = LoadImaged(["image", "reference"], ensure_channel_first=True)(pair)
    for key in pair:
        torch.testing.assert_close(ours[key].as_tensor(), monai[key].as_tensor())
        torch.testing.assert_close(ours[key].affine, monai[key].affine)


def test_load_paird_metadata_survive_collation(pair: dict[str, str]) -> None:
    before, after = LoadPaird()(pair), through_a_loader(pair, LoadPaird())
    for key in ("image", "reference"):
        torch.testing.assert_close(after[key].affine, before[key].affine)
        assert after[key].meta["filename_or_obj"] == pair[key]
        for name in ("spatial_shape", "spacing", "original_affine"):
            np.testing.assert_array_equal(after[key].meta[name], before[key].meta[name])
    assert after["case"] == "sub-1"


def test_load_paird_reorders_a_reference_stored_in_another_orientation(pair: dict[str, str]) -> None:
    image = nib.load(pair["reference"])
    voxels = image.get_fdata()
    flipped = image.as_reoriented(np.array([[2, 1], [0, -1], [1, 1]]))
    nib.save(flipped, pair["reference"])
    item = LoadPaird()(pair)
    np.testing.assert_array_equal(item["reference"][0].numpy(), voxels)
    torch.testing.assert_close(item["reference"].affine, item["image"].affine, atol=1e-5, rtol=0)


def test_load_paird_refuses_a_reference_on_another_grid(pair: dict[str, str]) -> None:
    save(Path(pair["reference"]), AFFINE @ np.diag([1, 1, 1.1, 1]))
    with pytest.raises(InputError, match="resample it to the target's grid first"):
        LoadPaird()(pair)


@pytest.mark.parametrize("reference", [None, ""])
def test_load_paird_says_how_to_give_a_reference(pair: dict[str, str], reference: str | None) -> None:
    with pytest.raises(InputError, match=r"sub-1_T2w.nii.gz: no reference is given .* under \"reference\"\.$"):
        LoadPaird()({**pair, "reference": reference})
    del pair["reference"]
    with pytest.raises(InputError, match="no reference is given"):
        LoadPaird()(pair)


def test_load_paird_starts_a_case_that_knows_the_header(pair: dict[str, str]) -> None:
    case = LoadPaird()(pair)["case"]
    assert isinstance(case, Case)
    assert case == "sub-1"
    assert case.header.voxels.shape == SHAPE
    assert case.header.voxels.base.nbytes == 4, "no volume of its own"
    assert case.header.header["descrip"] == b"TE=100"


@pytest.mark.parametrize("key", ["image", "reference"])
def test_load_paird_tells_of_a_header_with_two_places(key: str, pair: dict[str, str]) -> None:
    image = nib.load(pair[key])
    voxels = image.get_fdata()
    moved = image.affine.copy()
    moved[1, 3] += 2
    image = nib.Nifti1Image(voxels, image.affine, image.header)
    image.set_sform(image.affine, 1)
    image.set_qform(moved, 1)
    nib.save(image, pair[key])
    ((doubt, sentence),) = LoadPaird()(pair)["case"].doubts
    assert doubt is Doubt.TWO_PLACES
    assert sentence.startswith(f"{pair[key]}: qform and sform disagree by up to 2.00 mm")


def test_load_paird_goes_on_with_the_case_that_it_is_given(pair: dict[str, str]) -> None:
    case = Case("sub-1")
    case.warn(Doubt.GRID, "Look.")
    assert LoadPaird()({**pair, "case": case})["case"] is case


def test_load_paird_passes_an_item_that_holds_volumes(pair: dict[str, str]) -> None:
    item = LoadPaird()(pair)
    Path(pair["image"]).unlink()
    assert LoadPaird()(item) == item


def test_load_paird_refuses_an_item_without_an_image() -> None:
    with pytest.raises(InputError, match='names no image; give its path under "image"'):
        LoadPaird(allow_missing_keys=True)({"reference": "a.nii.gz"})


@pytest.mark.parametrize("item", [{}, {"reference": None}, {"reference": ""}])
def test_load_paird_may_leave_out_the_reference(pair: dict[str, str], item: dict[str, str | None]) -> None:
    loaded = LoadPaird(allow_missing_keys=True)({"image": pair["image"], **item})
    assert set(loaded) == {"image", "case"}


def test_load_paird_passes_on_what_is_wrong_with_a_file(pair: dict[str, str]) -> None:
    Path(pair["reference"]).unlink()
    with pytest.raises(InputError, match="no such file"):
        LoadPaird()(pair)


@pytest.mark.parametrize(("patients", "n_warnings"), [(("1", "2"), 1), (("1", "1"), 0), (("", "2"), 0), (("1", ""), 0)])
def test_load_paird_warns_of_a_reference_of_another_patient(
    patients: tuple[str, str], n_warnings: int, write_dicom: Callable[..., Path], tmp_path: Path
) -> None:
    voxels = np.random.default_rng(0).integers(1, 999, (3, 24, 20))
    folders = [write_dicom(tmp_path / str(n), voxels, PatientID=patient) for n, patient in enumerate(patients)]
    item = LoadPaird()({"image": str(folders[0]), "reference": str(folders[1]), "case": "a"})
    assert len(item["case"].warnings) == n_warnings
    assert all("1: by its header (PatientID)" in warning for warning in item["case"].warnings)


@pytest.mark.parametrize("ext", [".nii", ".nii.gz"])
@pytest.mark.parametrize(("output_dtype", "stored"), [("float32", "float32"), ("input", "int16")])
def test_save_volumed_writes_under_the_image_s_header(
    pair: dict[str, str], tmp_path: Path, ext: str, output_dtype: str, stored: str
) -> None:
    saver = SaveVolumed(output_dir=tmp_path / "out", output_dtype=output_dtype, output_ext=ext)  # type: ignore[arg-type]
    item = through_a_loader(pair, LoadPaird())
    saver({**item, "pred": item["image"] * 2})
    after, before = nib.load(tmp_path / "out" / f"sub-1_sr{ext}"), nib.load(pair["image"])
    np.testing.assert_array_equal(after.get_fdata(), 2 * before.get_fdata())
    np.testing.assert_array_equal(after.affine, before.affine)
    assert after.get_data_dtype() == stored
    for name in ("sform_code", "qform_code", "xyzt_units", "descrip", "pixdim", "srow_x", "quatern_b"):
        np.testing.assert_array_equal(after.header[name], before.header[name])


def test_save_volumed_returns_a_real_volume_unchanged(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "open_ms_native/sub-L12_ses-1_T2w.nii.gz"
    loaded = LoadPaird(allow_missing_keys=True)({"image": str(path), "case": "L12"})
    SaveVolumed("image", tmp_path, "input", output_ext=".nii")(loaded)
    after, before = nib.load(tmp_path / "L12_sr.nii"), nib.load(path)
    np.testing.assert_array_equal(after.dataobj, before.dataobj)
    assert after.header["qform_code"] == before.header["qform_code"] == 2


def test_save_volumed_names_a_case_by_its_file_where_none_is_given(pair: dict[str, str], tmp_path: Path) -> None:
    del pair["case"]
    item = LoadPaird()(pair)
    SaveVolumed(output_dir=tmp_path / "out", output_postfix="x4")({**item, "pred": item["image"]})
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["sub-1_T2w_x4.nii.gz"]


def test_save_volumed_finds_the_file_by_the_result_s_own_metadata(pair: dict[str, str], tmp_path: Path) -> None:
    SaveVolumed(output_dir=tmp_path)({"pred": LoadPaird()(pair)["image"], "case": "a"})
    assert (tmp_path / "a_sr.nii.gz").exists()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_save_volumed_takes_any_floating_type(pair: dict[str, str], tmp_path: Path, dtype: torch.dtype) -> None:
    item = LoadPaird()(pair)
    SaveVolumed(output_dir=tmp_path)({**item, "pred": torch.full((1, *SHAPE), 0.5, dtype=dtype, requires_grad=True)})
    np.testing.assert_array_equal(nib.load(tmp_path / "sub-1_sr.nii.gz").get_fdata(), 0.5)


def test_save_volumed_writes_several_results(pair: dict[str, str], tmp_path: Path) -> None:
    item = LoadPaird()(pair)
    saver = SaveVolumed(["pred", "low_res"], tmp_path / "out", output_postfix=["sr", "lr"])
    saver({**item, "pred": item["image"] + 1, "low_res": item["image"] + 2})
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["sub-1_lr.nii.gz", "sub-1_sr.nii.gz"]
    assert nib.load(tmp_path / "out/sub-1_lr.nii.gz").get_fdata().min() == 2


def test_save_volumed_passes_over_results_that_are_not_there(pair: dict[str, str], tmp_path: Path) -> None:
    item = LoadPaird()(pair)
    saver = SaveVolumed(["pred", "interval"], tmp_path / "out", output_postfix=["sr", "interval"])
    saver({**item, "pred": item["image"]})
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["sub-1_sr.nii.gz"]
    with pytest.raises(KeyError, match="pred"):
        saver({**item, "interval": item["image"]})


def test_save_volumed_follows_the_name_that_the_pair_gives(pair: dict[str, str], tmp_path: Path) -> None:
    item = LoadPaird()({**pair, "output": "sub-1/anat/sub-1_desc-sr_T2w"})
    saver = SaveVolumed(["pred", "interval"], tmp_path / "out", output_postfix=["sr", "interval"])
    saver({**item, "pred": item["image"], "interval": item["image"]})
    names = sorted(path.name for path in (tmp_path / "out" / "sub-1" / "anat").iterdir())
    assert names == ["sub-1_desc-sr_T2w.nii.gz", "sub-1_desc-sr_T2w_interval.nii.gz"]


@pytest.mark.parametrize("output", ["../sub-1", "/tmp/sub-1", "a/../../b"])
def test_save_volumed_refuses_an_output_that_leaves_the_folder(
    pair: dict[str, str], tmp_path: Path, output: str
) -> None:
    item = LoadPaird()({**pair, "output": output})
    with pytest.raises(InputError, match="an output must lie below the output folder"):
        SaveVolumed(output_dir=tmp_path / "out")({**item, "pred": item["image"]})


def test_save_volumed_writes_an_enlarged_image_on_the_enlarged_grid(pair: dict[str, str], tmp_path: Path) -> None:
    item = LoadPaird()(pair)
    shape = (2 * SHAPE[0], 3 * SHAPE[1], SHAPE[2])
    SaveVolumed(output_dir=tmp_path, output_dtype="input")({**item, "pred": torch.ones(1, *shape)})
    after, before = nib.load(tmp_path / "sub-1_sr.nii.gz"), nib.load(pair["image"])
    assert after.shape == shape
    smaller = np.diag([1 / 2, 1 / 3, 1, 1])
    forms = (
        ("qform", after.get_qform(coded=True), before.get_qform()),
        ("sform", after.get_sform(coded=True), before.affine),
    )
    for form, (affine, code), old in forms:  # each in its own frame: the qform cannot hold the shear of the other
        assert code == before.header[f"{form}_code"]
        np.testing.assert_allclose(affine, old @ smaller, atol=1e-4)
    np.testing.assert_allclose(after.header["pixdim"][1:4], before.header["pixdim"][1:4] * [1 / 2, 1 / 3, 1], rtol=1e-5)
    assert after.header["xyzt_units"] == before.header["xyzt_units"]


def test_save_volumed_reads_no_voxels(pair: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    item = LoadPaird()(pair)
    monkeypatch.setattr("bundle.volumes.nifti._voxels", None)
    for name in ("a", Case("b")):  # of which nothing is known
        SaveVolumed(output_dir=tmp_path)({**item, "case": name, "pred": item["image"]})
        assert (tmp_path / f"{name}_sr.nii.gz").exists()


def test_save_volumed_reads_no_file_of_a_case_that_carries_its_header(
    pair: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = LoadPaird()(pair)
    before = nib.load(pair["image"])
    monkeypatch.setattr("bundle.transforms.io.read_volume", None)
    SaveVolumed(output_dir=tmp_path, output_dtype="input")({**item, "pred": item["image"]})
    after = nib.load(tmp_path / "sub-1_sr.nii.gz")
    assert after.header["descrip"] == before.header["descrip"]
    assert after.get_data_dtype() == np.int16


def test_save_volumed_may_write_the_same_pair_again(pair: dict[str, str], tmp_path: Path) -> None:
    saver = SaveVolumed(output_dir=tmp_path)
    item = LoadPaird()(pair)
    for value in (1, 2):
        saver({**item, "pred": torch.full((1, *SHAPE), value)})
    assert nib.load(tmp_path / "sub-1_sr.nii.gz").get_fdata().max() == 2


@pytest.mark.parametrize("case", ["../sub-1", "a/b", "/tmp/x"])
def test_save_volumed_refuses_a_case_that_leaves_the_folder(pair: dict[str, str], tmp_path: Path, case: str) -> None:
    item = LoadPaird()({**pair, "case": case})
    with pytest.raises(InputError, match="a case may hold no folder"):
        SaveVolumed(output_dir=tmp_path / "out")({**item, "pred": item["image"]})


def test_save_volumed_refuses_a_folder_that_cannot_be_written(pair: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "out").write_text("in the way")
    item = LoadPaird()(pair)
    with pytest.raises(InputError, match="cannot write into this output folder"):
        SaveVolumed(output_dir=tmp_path / "out")({**item, "pred": item["image"]})


def test_save_volumed_refuses_what_is_not_one_volume(pair: dict[str, str], tmp_path: Path) -> None:
    item = LoadPaird()(pair)
    with pytest.raises(ValueError, match=r"one volume \(1, X, Y, Z\)"):
        SaveVolumed(output_dir=tmp_path)({**item, "pred": torch.zeros(2, *SHAPE)})
    with pytest.raises(ValueError, match="reshape"):
        SaveVolumed(output_dir=tmp_path)({**item, "pred": torch.zeros(1, 18, 20, 4)})


def test_save_volumed_refuses_a_result_of_unknown_origin(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="knows its file: load the image by LoadPaird"):
        SaveVolumed(output_dir=tmp_path)({"pred": torch.zeros(1, *SHAPE)})


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ({"output_dtype": "int8"}, "output_dtype is 'int8'"),
        ({"output_ext": ".mha"}, "output_ext is '.mha'"),
        ({"keys": ["pred", "low_res"]}, "give each of"),
    ],
)
def test_save_volumed_refuses_unknown_options(argument: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SaveVolumed(**argument)


def test_save_volumed_makes_no_folder_before_it_writes(tmp_path: Path) -> None:
    SaveVolumed(output_dir=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_save_volumed_is_left_out_where_monai_s_saver_is(tmp_path: Path) -> None:
    assert isinstance(SaveVolumed(output_dir=tmp_path), SaveImaged)


def test_load_and_save_work_in_a_compose(pair: dict[str, str], tmp_path: Path) -> None:
    Compose([LoadPaird(), SaveVolumed("image", tmp_path / "out")])(pair)
    assert (tmp_path / "out/sub-1_sr.nii.gz").exists()


def replace(path: str) -> None:
    """Put another image of the same size and time in the place of a file."""
    before, voxels = Path(path).stat(), np.asarray(nib.load(path).dataobj)
    nib.save(nib.Nifti1Image(voxels[::-1].copy(), nib.load(path).affine, nib.load(path).header), path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("key", ["image", "reference"])
def test_the_result_of_an_image_that_was_replaced_meanwhile_is_not_written(pair, key: str, tmp_path: Path) -> None:
    item = LoadPaird()(pair) | {"pred": torch.ones(1, *SHAPE)}
    replace(pair[key])
    with pytest.raises(InputError, match=f"{Path(pair[key]).name}: this was changed or replaced while its case"):
        SaveVolumed(output_dir=tmp_path / "out")(item)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("key", ["image", "reference"])
def test_a_case_reads_the_same_image_twice_or_not_at_all(pair: dict[str, str], key: str) -> None:
    case = Case("sub-1")
    LoadPaird()({**pair, "case": case})
    LoadPaird()({**pair, "case": case})
    replace(pair[key])
    with pytest.raises(InputError, match="was changed or replaced while its case was computed"):
        LoadPaird()({**pair, "case": case})
