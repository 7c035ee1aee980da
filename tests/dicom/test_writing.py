# SPDX-License-Identifier: Apache-2.0
"""A result becomes a derived MR series: valid, in its place, of the same patient, and read back to the same voxels."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st

from bundle.dicom import writing
from bundle.dicom.series import find_stack, read_series
from bundle.dicom.writing import write_derived_series
from bundle.errors import InputError
from bundle.volumes.enlarge import regrid
from bundle.volumes.geometry import Volume

VOXELS = np.random.default_rng(0).integers(1, 1000, (5, 24, 20))  # (Z, Y, X)
A, B = np.radians(20), np.radians(10)
OBLIQUE = np.array([[1, 0, 0], [0, np.cos(B), -np.sin(B)], [0, np.sin(B), np.cos(B)]]) @ np.array(
    [[np.cos(A), 0, np.sin(A)], [0, 1, 0], [-np.sin(A), 0, np.cos(A)]]
)
KNOWN = {
    **{"PatientName": "Known^Somebody", "PatientID": "4711", "PatientBirthDate": "19700101", "PatientSex": "F"},
    **{"StudyInstanceUID": "1.2.826.0.1.3680043.9.7", "FrameOfReferenceUID": "1.2.826.0.1.3680043.9.8"},
    **{"StudyDate": "20240101", "StudyTime": "120000", "AccessionNumber": "", "ReferringPhysicianName": ""},
    **{"SeriesDescription": "t2_tse_tra", "SeriesNumber": 7, "BodyPartExamined": "BRAIN", "Manufacturer": "Scanners"},
    **{"ScanningSequence": "SE", "SequenceVariant": "SK", "RepetitionTime": 4000, "EchoTime": 100, "StudyID": "1"},
    **{"SliceThickness": 3.5, "PositionReferenceIndicator": "", "PatientPosition": "HFS", "EchoTrainLength": 15},
}


@pytest.fixture
def source(write_dicom: Any, tmp_path: Path) -> Path:
    """Return an oblique series whose slices are 3 mm apart."""

    def turn(index: int, one: Any) -> None:
        one.ImageOrientationPatient = [f"{value:.12f}" for value in OBLIQUE[:, :2].T.ravel()]
        one.ImagePositionPatient = [f"{value:.8f}" for value in [-40, 30, 12.5] + 3.5 * index * OBLIQUE[:, 2]]
        one.PixelSpacing = [0.5, 0.75]

    return write_dicom(tmp_path / "T2", VOXELS, series="1.2.826.0.1.3680043.9.9", change=turn, **KNOWN)


def result_of(source: Path, shape: tuple[int, int, int] | None = None, scale: float = 1.1) -> Volume:
    """Return what a network might have made of a series, of more voxels if so."""
    like = read_series(source)
    like = regrid(like, shape) if shape else like
    voxels = scale * np.random.default_rng(1).random(like.voxels.shape, dtype=np.float32) * 1000
    return Volume(voxels, like.affine, source, like.header)


@pytest.mark.parametrize("shape", [None, (40, 48, 5), (40, 24, 7)])
def test_two_other_readers_find_the_voxels_in_their_place(
    shape: tuple[int, int, int] | None, source: Path, tmp_path: Path
) -> None:
    result = result_of(source, shape)
    write_derived_series(tmp_path / "out", result, find_stack(source))
    files = sorted((tmp_path / "out").iterdir())
    assert [file.name for file in files] == [f"IM{k + 1:04d}.dcm" for k in range(result.voxels.shape[2])]

    image = SimpleITK.ReadImage(list(map(str, files)))
    by_itk = SimpleITK.GetArrayFromImage(image).T
    assert np.abs(by_itk - result.voxels).max() <= 0.5
    to_ras = np.diag([-1, -1, 1])
    axes = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    np.testing.assert_allclose(to_ras @ axes, result.affine[:3, :3], atol=1e-5)
    np.testing.assert_allclose(to_ras @ image.GetOrigin(), result.affine[:3, 3], atol=1e-5)

    slices = [pydicom.dcmread(file) for file in files]  # the standard's equation C.7.6.2.1-1
    by_pydicom = np.stack([one.pixel_array.T for one in slices], axis=-1)
    np.testing.assert_array_equal(by_pydicom, by_itk)
    for k, one in enumerate(slices):
        x, y = np.reshape(one.ImageOrientationPatient, (2, 3)).astype(float)
        down, right = map(float, one.PixelSpacing)
        place = to_ras @ (np.array(one.ImagePositionPatient, dtype=float) + 3 * right * x + 2 * down * y)
        np.testing.assert_allclose(place, (result.affine @ [3, 2, k, 1])[:3], atol=1e-5)
        assert one.SpacingBetweenSlices == pytest.approx(np.linalg.norm(result.affine[:3, 2]))
        assert one.SliceThickness == pytest.approx(3.5 if shape is None or shape[2] == 5 else 2.5)


def test_the_series_is_a_derived_one_of_the_same_patient_and_study(source: Path, tmp_path: Path) -> None:
    write_derived_series(tmp_path / "out", result_of(source), find_stack(source))
    before = [pydicom.dcmread(file) for file in sorted(source.iterdir())]
    after = [pydicom.dcmread(file) for file in sorted((tmp_path / "out").iterdir())]
    for k, (old, new) in enumerate(zip(before, after, strict=True)):
        for keyword in ("PatientName", "PatientID", "PatientBirthDate", "StudyInstanceUID", "FrameOfReferenceUID"):
            assert new[keyword].value == old[keyword].value == KNOWN[keyword]
        assert list(new.ImageType)[:2] == ["DERIVED", "SECONDARY"]
        assert new.SeriesDescription == "t2_tse_tra SR, research only"
        assert new.SeriesInstanceUID != old.SeriesInstanceUID
        assert new.SourceImageSequence[0].ReferencedSOPInstanceUID == old.SOPInstanceUID
        assert new.ReferencedSeriesSequence[0].SeriesInstanceUID == old.SeriesInstanceUID
        assert len(new.ReferencedSeriesSequence[0].ReferencedInstanceSequence) == len(
            {str(one.SOPInstanceUID) for one in before}
        )
        assert (new.InstanceNumber, new.EchoTime, new.BurnedInAnnotation if "BurnedInAnnotation" in new else "") == (
            k + 1,
            100,
            "",
        )
    assert len({one.SeriesInstanceUID for one in after}) == 1
    assert len({one.SOPInstanceUID for one in after}) == len(after)


def test_equal_results_are_equal_files_and_others_another_series(source: Path, tmp_path: Path) -> None:
    for name, scale in (("a", 1.0), ("b", 1.0), ("c", 0.9)):
        write_derived_series(tmp_path / name, result_of(source, scale=scale), find_stack(source))
    a, b, c = ([file.read_bytes() for file in sorted((tmp_path / name).iterdir())] for name in "abc")
    assert a == b
    uids = [pydicom.dcmread(tmp_path / name / "IM0001.dcm").SeriesInstanceUID for name in "ac"]
    assert uids[0] != uids[1]
    assert a != c


def test_a_long_description_keeps_the_marker(source: Path, tmp_path: Path) -> None:
    for path in source.iterdir():
        one = pydicom.dcmread(path)
        one.SeriesDescription = 20 * "t2 "
        one.save_as(path)
    write_derived_series(tmp_path / "out", result_of(source), find_stack(source))
    words = pydicom.dcmread(tmp_path / "out" / "IM0001.dcm").SeriesDescription
    assert len(words) == 64
    assert words.endswith("SR, research only")


@settings(max_examples=40, deadline=None)
@given(
    low=st.floats(-40_000, 10_000),
    length=st.floats(1, 90_000),
    slope=st.sampled_from(["", "1", "0.25", "4.25885225885225"]),
)
def test_no_voxel_changes_by_more_than_half_a_grey_level(low: float, length: float, slope: str) -> None:
    class Source:
        @staticmethod
        def numbers(tag: str) -> list[float]:
            return [float(slope)] if slope else []

    voxels = (low + length * np.linspace(0, 1, 40)).reshape(5, 8, 1).astype("f4")
    step, intercept, stored = writing._stored(voxels, [Source()])  # type: ignore[list-item]
    assert stored.dtype in (np.uint16, np.int16)
    wanted = float(slope or 1)
    assert step == pytest.approx(wanted) or step <= length / 65_000  # the source's, but where 16 bits do not reach
    assert np.abs(stored * step + intercept - voxels).max() <= 0.5 * step * (1 + 1e-6) + 0.01


def verdict(file: Path) -> str:
    """Return what dciodvfy says, which tells the kind of the image too."""
    said = subprocess.run(["dciodvfy", str(file)], capture_output=True, text=True, check=False).stderr
    assert "MRImage" in said
    return said


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (Debian: dicom3tools) is not installed")
@pytest.mark.parametrize("spoil", [{}, {"BodyPartExamined": ""}, {"StudyInstanceUID": ""}, {"ScanningSequence": ""}])
@pytest.mark.parametrize("slope", [None, 0.5])
def test_a_validator_finds_no_error(spoil: dict[str, str], slope: float | None, source: Path, tmp_path: Path) -> None:
    for path in source.iterdir():
        one = pydicom.dcmread(path)
        for keyword, value in spoil.items():
            setattr(one, keyword, value)
        one.InversionTime, one.PatientAge = 0, "042Y"
        if slope:
            one.RescaleSlope, one.RescaleIntercept = slope, 0
        one.save_as(path)
    write_derived_series(tmp_path / "out", result_of(source), find_stack(source))
    for file in (tmp_path / "out").iterdir():
        assert "Error" not in verdict(file)


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (Debian: dicom3tools) is not installed")
@pytest.mark.parametrize(
    "name",
    [
        *("dual_echo_phantom/0036_e2.dcm", "ge_anatomical/001", "generic_compressed_rle/001"),
        *("philips_enhanced_anatomical/001", "siemens_multiframe_anatomical/001"),
    ],
)
def test_what_is_derived_from_scanners_files_is_valid_and_comes_back(
    name: str, bundle_root: Path, tmp_path: Path
) -> None:
    source = bundle_root.parent / "shared" / "dicom" / name
    if not source.exists():
        pytest.skip("the DICOM files of scanners are not beside the checkout (../shared/dicom)")
    volume = read_series(source)
    write_derived_series(tmp_path / "out", volume, find_stack(source))
    said = subprocess.run(
        ["dciodvfy", str(tmp_path / "out" / "IM0001.dcm")], capture_output=True, text=True, check=False
    )
    assert "Error" not in said.stderr
    back = read_series(tmp_path / "out")
    np.testing.assert_allclose(back.voxels, volume.voxels, rtol=1e-6)
    np.testing.assert_allclose(back.affine, volume.affine, atol=1e-6)


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (Debian: dicom3tools) is not installed")
def test_the_validator_finds_an_error(source: Path) -> None:
    file = next(source.iterdir())
    one = pydicom.dcmread(file)
    del one.PatientID
    one.save_as(file)
    assert "Error" in verdict(file)


def test_a_failure_leaves_the_former_series_and_nothing_half_written(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "results" / "out"
    write_derived_series(out, result_of(source), find_stack(source))
    former = {file.name: file.read_bytes() for file in out.iterdir()}

    filled = writing._fill

    def fill(image: Any, *others: Any) -> None:
        if image.InstanceNumber == 3:
            raise OSError("disk full")
        filled(image, *others)

    monkeypatch.setattr(writing, "_fill", fill)
    with pytest.raises(OSError, match="disk full"):
        write_derived_series(out, result_of(source), find_stack(source))
    assert {file.name: file.read_bytes() for file in out.iterdir()} == former
    assert list(out.parent.iterdir()) == [out]


def test_only_own_series_are_replaced(source: Path, tmp_path: Path) -> None:
    result, stack = result_of(source), find_stack(source)
    write_derived_series(tmp_path / "out", result, stack)
    write_derived_series(tmp_path / "out", result, stack)
    (tmp_path / "out" / "notes.txt").write_text("mine")
    for folder in (tmp_path / "out", source):
        before = {file.name: file.read_bytes() for file in folder.iterdir()}
        with pytest.raises(InputError, match="this is no series of an earlier run; move it"):
            write_derived_series(folder, result, stack)
        assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
