# SPDX-License-Identifier: Apache-2.0
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.data.utils import pickle_hashing
from nibabel.affines import apply_affine
from scipy import ndimage

from bundle.doubts import Doubt
from bundle.errors import InputError
from bundle.keys import CASE, IMAGE, REFERENCE
from bundle.registration import Registration, isolation
from bundle.transforms import AlignReferenced, LoadPaird, align

SHAPE = (64, 72, 24)
AFFINE = nib.affines.from_matvec(
    nib.eulerangles.euler2mat(0.1, -0.08, 0.05) @ np.diag([-1.9, 1.9, 3.9]), (55, -75, -45)
)
OTHER_SHAPE = (56, 50, 30)
OTHER = np.diag([2.4, 2.9, 3.3, 1.0])
OTHER[:3, 3] = (-66, -72, -50)
SHIFTED = np.eye(4)
SHIFTED[:3, 3] = (3, -2, 4)
GOOD = Registration(SHIFTED, 0.5, 0.7, 1.0, 0.99, 0.0, 5.4, 5.4, "header", 4.0)


def head(contrast: str, shape: tuple[int, int, int], affine: np.ndarray) -> np.ndarray:
    points = apply_affine(affine, np.moveaxis(np.indices(shape), 0, -1))
    waves = np.cos(points @ (np.random.default_rng(0).normal(size=(3, 9)) / 4)).sum(axis=-1)
    folds = 0.5 + 0.5 * np.tanh(waves)
    inside = np.linalg.norm(points / [48, 58, 42], axis=-1) < 1
    return (1000 * inside * (0.3 + 0.7 * folds if contrast == "T2w" else 0.9 - 0.5 * folds)).astype(np.float32)


@pytest.fixture
def paths(tmp_path: Path) -> dict[str, str]:
    """A pair whose reference was scanned on another grid, the head 5.4 mm further."""
    images = {
        IMAGE: (head("T2w", SHAPE, AFFINE), AFFINE),
        REFERENCE: (head("T1w", OTHER_SHAPE, np.linalg.inv(SHIFTED) @ OTHER), OTHER),
    }
    for key, (voxels, affine) in images.items():
        nib.save(nib.Nifti1Image(voxels, affine), tmp_path / f"{key}.nii.gz")
    return {key: str(tmp_path / f"{key}.nii.gz") for key in images} | {"case": "sub-1"}


def on_one_grid(paths: dict[str, str], voxels: np.ndarray | None = None) -> dict[str, str]:
    nib.save(nib.Nifti1Image(head("T1w", SHAPE, AFFINE) if voxels is None else voxels, AFFINE), paths[REFERENCE])
    return paths


def load(paths: dict[str, str]) -> dict[str, Any]:
    return LoadPaird(check_grid=False)(paths)


def pretend(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    """Let registration find what is said here."""
    monkeypatch.setattr(align, "register", lambda *_: dataclasses.replace(GOOD, **changes))


def correlation(item: dict[str, Any]) -> float:
    """Return how well the reference is where it should be."""
    expected = head("T1w", SHAPE, AFFINE)
    inside = ndimage.binary_erosion(expected > 0, iterations=2)
    return float(np.corrcoef(item[REFERENCE][0].numpy()[inside], expected[inside])[0, 1])


def test_a_reference_on_another_grid_is_registered_and_resampled(paths: dict[str, str]) -> None:
    loaded = load(paths)
    item = AlignReferenced()(loaded)
    assert item[REFERENCE].shape == item[IMAGE].shape
    assert item[REFERENCE].dtype == torch.float32
    assert correlation(item) > 0.97
    assert item[IMAGE] is loaded[IMAGE]
    assert item[CASE].warnings == []
    facts = item[CASE].facts()["registration"]
    assert facts["usable"] is facts["resampled"] is True
    assert facts["shift_mm"] == pytest.approx(5.4, abs=0.3)
    assert facts["start"] == "header"
    assert facts["apparent_shift_mm"] < 0.5
    assert facts["doubted"] is False
    json.dumps(facts)


def test_a_resampled_reference_has_the_target_s_geometry_and_its_own_file(paths, monkeypatch) -> None:
    pretend(monkeypatch)
    item = AlignReferenced()(load(paths))
    torch.testing.assert_close(item[REFERENCE].affine, item[IMAGE].affine)
    assert item[REFERENCE].meta["filename_or_obj"] == paths[REFERENCE]
    for name in ("spatial_shape", "spacing"):
        np.testing.assert_allclose(item[REFERENCE].meta[name], item[IMAGE].meta[name], rtol=1e-6)


def test_a_reference_on_the_target_s_grid_is_left_as_it_is(paths, monkeypatch) -> None:
    monkeypatch.setattr(align, "register", None)
    monkeypatch.setattr(align, "resample", None)
    loaded = load(on_one_grid(paths))
    for register in ("grid", False):
        item = AlignReferenced(register)(loaded)
        assert item[REFERENCE] is loaded[REFERENCE]
        assert item[CASE].warnings == []
        facts = item[CASE].facts()["registration"]
        assert facts["usable"] is True
        assert facts["resampled"] is False
        assert facts["apparent_shift_mm"] < 0.5


def test_register_true_moves_a_reference_on_the_target_s_grid_too(paths, monkeypatch) -> None:
    pretend(monkeypatch)
    item = AlignReferenced(register=True)(load(on_one_grid(paths, head("T1w", SHAPE, np.linalg.inv(SHIFTED) @ AFFINE))))
    assert correlation(item) > 0.97


def test_register_false_lays_the_reference_where_the_header_puts_it_and_says_so(paths, monkeypatch) -> None:
    monkeypatch.setattr(align, "register", None)
    item = AlignReferenced(register=False)(load(paths))
    assert item[REFERENCE].shape == item[IMAGE].shape
    assert correlation(item) < 0.9
    shifted, said = item[CASE].warnings
    assert said.startswith(f"{paths[REFERENCE]}: it is on another grid and was laid on the image by the headers alone")
    assert "looks shifted by about" in shifted
    assert "--register true" in shifted


def test_a_reference_that_lies_on_the_target_is_left_as_it_is_after_a_look(paths) -> None:
    loaded = load(on_one_grid(paths))
    item = AlignReferenced()(loaded)
    assert item[REFERENCE] is loaded[REFERENCE]
    assert item[CASE].warnings == []
    assert item[CASE].registration.resampled is False
    assert item[CASE].registration.details["displacement_mm"] < 0.3


def test_a_reference_that_is_turned_on_the_target_s_grid_is_registered_and_told(paths) -> None:
    """A turn about the head's centre, which no shift of the whole gives away."""
    turn = nib.affines.from_matvec(nib.eulerangles.euler2mat(z=np.radians(4)))
    turned = on_one_grid(paths, head("T1w", SHAPE, turn @ AFFINE))
    as_given, item = (AlignReferenced(way)(load(turned)) for way in ("grid", "auto"))
    assert correlation(as_given) < 0.95
    assert correlation(item) > 0.97
    warning = item[CASE].warnings[-1]
    assert "mm off, although on the image's grid, and was registered; look at the overlay" in warning
    assert item[CASE].registration.details["rotation_degrees"] == pytest.approx(4, abs=0.2)
    assert item[CASE].registration.resampled is True


@pytest.mark.parametrize("changes", [{"displacement_mm": 0.6}, {"rotation_degrees": 40.0}])
def test_a_reference_on_the_target_s_grid_stays_where_registration_finds_little_or_errs(
    changes, paths, monkeypatch
) -> None:
    pretend(monkeypatch, **changes)
    loaded = load(on_one_grid(paths))
    assert AlignReferenced()(loaded)[REFERENCE] is loaded[REFERENCE]


def test_a_reference_that_cannot_be_registered_stays_on_the_target_s_grid(paths, monkeypatch) -> None:
    def fail(*_: Any) -> None:
        raise InputError("cannot be brought to overlap")

    monkeypatch.setattr(align, "register", fail)
    loaded = load(on_one_grid(paths))
    assert AlignReferenced()(loaded)[REFERENCE] is loaded[REFERENCE]
    (warning,) = loaded[CASE].warnings
    assert warning.endswith("nobody could look whether it lies off (cannot be brought to overlap).")
    with pytest.raises(InputError, match="overlap"):
        AlignReferenced(register=True)(loaded)


def test_what_shows_hardly_a_head_is_not_registered_on_its_own_grid(paths, monkeypatch) -> None:
    monkeypatch.setattr(align, "register", None)
    small = load(on_one_grid(paths))
    for key in (IMAGE, REFERENCE):
        small[key] = small[key][:, :20, :20, :10]
    assert AlignReferenced()(small)[REFERENCE] is small[REFERENCE]


def test_a_shifted_reference_on_the_target_s_grid_is_told(paths) -> None:
    item = AlignReferenced("grid")(load(on_one_grid(paths, np.roll(head("T1w", SHAPE, AFFINE), 2, axis=0))))
    (warning,) = item[CASE].warnings
    assert "looks shifted by about 3.8 mm against the image; register it (--register true)" in warning


def test_a_reference_that_shows_something_else_is_told(paths) -> None:
    other = np.random.default_rng(0).random(SHAPE, dtype=np.float32)
    item = AlignReferenced()(load(on_one_grid(paths, other)))
    (warning,) = item[CASE].warnings
    assert f"{paths[REFERENCE]}: it may be of another patient or misplaced" in warning
    assert item[CASE].registration.doubted is True


@pytest.mark.parametrize(
    ("voxels", "said"),
    [
        (np.random.default_rng(0).random(SHAPE, dtype=np.float32), "it may be of another patient or misplaced"),
        (np.roll(head("T1w", SHAPE, AFFINE), 2, axis=0), "it looks shifted by about 3.8 mm"),
    ],
)
def test_a_reference_in_doubt_is_done_without_where_doubts_are_refused(voxels, said, paths, monkeypatch) -> None:
    refusing = AlignReferenced("grid", on_failure="single_contrast", refuse_doubted=True)
    item = refusing(load(on_one_grid(paths, voxels)))
    assert not item[REFERENCE].any()
    ((doubt, sentence),) = item[CASE].doubts
    assert doubt is Doubt.REFERENCE_DOUBTED
    assert f"cannot be used, as {said}" in sentence
    assert sentence.endswith("; the output is made without this reference.")
    facts = item[CASE].facts()["registration"]
    assert facts["usable"] is False
    assert facts["doubted"] is True
    assert "sharpness" in facts


def test_a_reference_without_grave_doubt_is_used_where_doubts_are_refused(paths) -> None:
    loaded = load(on_one_grid(paths))
    item = AlignReferenced(on_failure="single_contrast", refuse_doubted=True)(loaded)
    assert item[REFERENCE] is loaded[REFERENCE]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"overlap": 0.2}, "as only 20% of the head lies in its field of view"),
        ({"rotation_degrees": 40.0}, "40 degrees"),
    ],
)
def test_a_reference_that_cannot_be_used_skips_the_case_with_its_reason(changes, reason, paths, monkeypatch) -> None:
    pretend(monkeypatch, **changes)
    loaded = load(paths)
    with pytest.raises(InputError, match=reason) as caught:
        AlignReferenced()(loaded)
    text = str(caught.value)
    assert text.startswith(f"{paths[REFERENCE]}: this reference cannot be used, as ")
    assert text.endswith(
        "; give another reference, or go without by --on_bad_reference single_contrast, where weights can."
    )
    facts = loaded[CASE].facts()["registration"]
    assert facts["usable"] is False
    assert reason in facts["reason"]
    assert facts["shift_mm"] == 5.4


def test_a_reference_that_cannot_be_used_may_be_done_without(paths, monkeypatch) -> None:
    pretend(monkeypatch, overlap=0.2)
    item = AlignReferenced(on_failure="single_contrast")(load(paths))
    assert item[REFERENCE].shape == item[IMAGE].shape
    assert not item[REFERENCE].any()
    (warning,) = item[CASE].warnings
    assert warning.startswith(f"{paths[REFERENCE]}: this reference cannot be used, as only 20%")
    assert warning.endswith("; the output is made without this reference.")
    assert item[CASE].registration.usable is False


def test_a_reference_elsewhere_is_refused_without_registration_too(paths) -> None:
    image = nib.load(paths[REFERENCE])
    voxels = image.get_fdata(dtype=np.float32)
    away = image.affine.copy()
    away[0, 3] += 300
    nib.save(nib.Nifti1Image(voxels, away), paths[REFERENCE])
    with pytest.raises(InputError, match="only 0% of the head lies in its field of view"):
        AlignReferenced(register=False)(load(paths))


def test_a_sheared_reference_is_refused(paths) -> None:
    image = nib.load(paths[REFERENCE])
    voxels = image.get_fdata(dtype=np.float32)
    sheared = image.affine.copy()
    sheared[0, 1] = 0.5
    nib.save(nib.Nifti1Image(voxels, sheared), paths[REFERENCE])
    with pytest.raises(InputError, match=r"reference\.nii\.gz: the voxel axes are .* off a right angle"):
        AlignReferenced()(load(paths))


@pytest.mark.parametrize("on_failure", ["skip", "single_contrast"])
def test_of_a_sheared_image_nobody_is_told_to_give_another_reference(on_failure, paths) -> None:
    image = nib.load(paths[IMAGE])
    sheared = image.affine.copy()
    sheared[0, 1] += 0.5
    nib.save(nib.Nifti1Image(image.get_fdata(dtype=np.float32), sheared), paths[IMAGE])
    aligned = AlignReferenced(on_failure=on_failure)
    if on_failure == "skip":
        with pytest.raises(InputError) as caught:
            aligned(load(paths))
        said = str(caught.value)
    else:
        ((doubt, said),) = aligned(load(paths))[CASE].doubts
        assert doubt is Doubt.SHEARED
    assert said.startswith(f"{paths[IMAGE]}: the voxel axes are ")
    assert "resample this image to a grid with right angles first" in said
    assert "another reference" not in said


@pytest.mark.parametrize("on_failure", ["skip", "single_contrast"])
def test_a_crash_of_itk_costs_a_reference_and_no_more(on_failure, paths, monkeypatch) -> None:
    pretend(monkeypatch)
    monkeypatch.setattr(isolation, "COMMAND", [sys.executable, "-c", "import os; os.abort()"])
    if on_failure == "skip":
        with pytest.raises(InputError, match=r"ITK, .*, ended by SIGABRT; .*; give another reference, or go without"):
            AlignReferenced()(load(paths))
    else:
        item = AlignReferenced(on_failure=on_failure)(load(paths))
        assert item[REFERENCE].shape == item[IMAGE].shape
        assert not item[REFERENCE].any()
        assert item[CASE].registration.usable is False
    monkeypatch.undo()
    assert correlation(AlignReferenced()(load(paths))) > 0.97


@pytest.mark.parametrize("on_failure", ["skip", "single_contrast"])
def test_a_full_temporary_folder_fails_the_case_and_costs_no_reference(on_failure, paths, monkeypatch) -> None:
    pretend(monkeypatch)
    monkeypatch.setattr("tempfile.TemporaryFile", lambda **_: Path("/dev/full").open("wb", buffering=0))  # noqa: SIM115
    with pytest.raises(InputError, match=r"the temporary folder cannot hold this reference .* by TMPDIR\.$"):
        AlignReferenced(on_failure=on_failure)(load(paths))


def test_the_item_given_keeps_its_reference(paths, monkeypatch) -> None:
    pretend(monkeypatch)
    loaded = load(paths)
    before = dict(loaded)
    item = AlignReferenced()(loaded)
    assert item[REFERENCE] is not loaded[REFERENCE]
    assert loaded.keys() == before.keys()
    assert all(loaded[key] is value for key, value in before.items())


def test_an_item_without_a_reference_is_left_alone() -> None:
    item = {IMAGE: MetaTensor(torch.ones(1, 4, 4, 4))}
    assert AlignReferenced()(item) == item


@pytest.mark.parametrize("register", ["yes", None, 2])
def test_register_is_auto_grid_true_or_false(register: Any) -> None:
    with pytest.raises(InputError, match="choose auto, grid, true or false"):
        AlignReferenced(register=register)


def test_on_failure_is_one_of_two() -> None:
    with pytest.raises(InputError, match="on_bad_reference is 'stop'; choose one of skip, single_contrast"):
        AlignReferenced(on_failure="stop")  # type: ignore[arg-type]


def test_the_cache_of_a_training_is_renewed_when_registration_is_set_otherwise() -> None:
    """``SliceStack`` hashes its transforms this way."""
    hashes = {pickle_hashing(AlignReferenced(register=register)) for register in ("auto", "grid", True, False)}
    assert len(hashes) == 4
    assert pickle_hashing(AlignReferenced()) == pickle_hashing(AlignReferenced())
