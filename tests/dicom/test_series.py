# SPDX-License-Identifier: Apache-2.0
"""A DICOM series comes out as the volume it is made of, in its place; whatever is not one series is refused."""

import re
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from pydicom.dataset import Dataset

from bundle.data.reading import read_volume
from bundle.dicom.headers import is_dicom
from bundle.dicom.series import read_series
from bundle.errors import InputError
from bundle.volumes.nifti import write_volume

itk = pytest.importorskip("itk")  # loads its parts when they are first used

# Python deprecates how ITK is wrapped; as an error, that would end the process.
pytestmark = pytest.mark.filterwarnings("ignore:builtin type:DeprecationWarning")

# Axial slices, turned by 20 degrees about y, then 10 about x: columns are x, y and normal.
A, B = np.radians(20), np.radians(10)
OBLIQUE = np.array([[1, 0, 0], [0, np.cos(B), -np.sin(B)], [0, np.sin(B), np.cos(B)]]) @ np.array(
    [[np.cos(A), 0, np.sin(A)], [0, 1, 0], [-np.sin(A), 0, np.cos(A)]]
)
SPACING = (0.75, 0.5, 3.0)
ORIGIN = np.array([-40.0, 30.0, 12.5])


def write_slice(path: Path, pixels: np.ndarray, position: np.ndarray, axes: np.ndarray = OBLIQUE, **tags: Any) -> None:
    """Write one DICOM file, its pixels (Y, X), by GDCM through ITK; tags are named ``t0020_0013``."""
    image = itk.image_from_array(np.ascontiguousarray(pixels[None]))
    image.SetSpacing(SPACING)
    image.SetOrigin([float(value) for value in position])
    image.SetDirection(itk.matrix_from_array(np.ascontiguousarray(axes)))
    known = {
        "t0008_0060": "MR",
        "t0008_103e": "t2 tse tra",
        "t0010_0010": "Somebody^Known",
        "t0018_0050": "3",
        "t0020_000d": "1.2.3",
        "t0020_000e": "1.2.3.4",
        "t0020_0011": "7",
        "t0008_0018": f"1.2.3.4.{abs(hash(path.name)) % 10**9}",
    }
    dictionary = itk.MetaDataDictionary()
    for name, value in (known | tags).items():
        dictionary[name[1:].replace("_", "|")] = str(value)
    image.SetMetaDataDictionary(dictionary)
    writer = itk.ImageFileWriter.New(image)
    io = itk.GDCMImageIO.New()
    io.KeepOriginalUIDOn()
    writer.SetImageIO(io)
    writer.SetFileName(str(path))
    writer.Update()


def write_series(
    folder: Path, voxels: np.ndarray, axes: np.ndarray = OBLIQUE, order: list[int] | None = None, **tags: Any
) -> Path:
    """Write voxels (X, Y, Z) as a series whose file names follow ``order``."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, index in enumerate(order or range(voxels.shape[2])):
        position = ORIGIN + index * SPACING[2] * axes[:, 2]
        write_slice(folder / f"IM{number:04d}", voxels[:, :, index].T, position, axes, t0020_0013=number, **tags)
    return folder


def voxels_of(shape: tuple[int, int, int] = (20, 24, 5), dtype: str = "i2") -> np.ndarray:
    return np.random.default_rng(0).integers(1, 1000, shape).astype(dtype)


def expected_affine(axes: np.ndarray = OBLIQUE) -> np.ndarray:
    """Return the affine from the definition of DICOM's tags: (x, y, z) of NIfTI are (-x, -y, z) of DICOM."""
    affine = np.eye(4)
    affine[:3, :3] = np.diag([-1, -1, 1]) @ (axes * SPACING)
    affine[:3, 3] = np.array([-1, -1, 1]) * ORIGIN
    return affine


@pytest.mark.parametrize("axes", [np.eye(3), OBLIQUE, OBLIQUE[:, [1, 2, 0]]], ids=["axial", "oblique", "sagittal"])
def test_a_series_has_its_voxels_where_dicom_says(axes: np.ndarray, tmp_path: Path) -> None:
    voxels = voxels_of()
    volume = read_volume(write_series(tmp_path / "T2", voxels, axes))
    np.testing.assert_array_equal(volume.voxels, voxels)
    np.testing.assert_allclose(volume.affine, expected_affine(axes), atol=1e-4)
    np.testing.assert_allclose(volume.spacing, SPACING, atol=1e-5)
    assert volume.path == tmp_path / "T2"


def test_slices_are_ordered_by_position_whatever_their_names_and_numbers(tmp_path: Path) -> None:
    voxels = voxels_of()
    volume = read_series(write_series(tmp_path, voxels, order=[3, 0, 4, 2, 1]))
    np.testing.assert_array_equal(volume.voxels, voxels)
    np.testing.assert_allclose(volume.affine, expected_affine(), atol=1e-4)


def test_a_series_equals_what_nifti_holds_of_the_same_grid(tmp_path: Path) -> None:
    voxels = voxels_of()
    volume = read_series(write_series(tmp_path / "T2", voxels))
    nib.save(nib.Nifti1Image(voxels, expected_affine()), tmp_path / "same.nii")
    same = read_volume(tmp_path / "same.nii")
    np.testing.assert_allclose(volume.affine, same.affine, atol=1e-4)
    np.testing.assert_array_equal(volume.voxels, same.voxels)


def test_rescale_slope_and_intercept_are_applied_slice_by_slice(tmp_path: Path) -> None:
    folder = tmp_path / "T2"
    folder.mkdir()
    rescaled = voxels_of((20, 24, 3)).astype("f4")
    for index, slope in enumerate((2, 4, 8)):
        stored = (np.arange(20 * 24).reshape(24, 20) % 300).astype("i2") * slope - 5  # the writer divides again
        rescaled[:, :, index] = stored.T
        tags = {"t0028_1053": slope, "t0028_1052": -5, "t0020_0013": index}
        write_slice(folder / f"{index}.dcm", stored.astype("i2"), ORIGIN + index * 3 * OBLIQUE[:, 2], **tags)
    np.testing.assert_array_equal(read_series(folder).voxels, rescaled)


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2"])
def test_results_are_written_under_a_header_of_the_series_own_type(dtype: str, tmp_path: Path) -> None:
    voxels = voxels_of(dtype="i2").clip(0, 255).astype(dtype)
    volume = read_series(write_series(tmp_path / "T2", voxels))
    write_volume(tmp_path / "out.nii.gz", volume.voxels, volume, "input")
    written = nib.load(tmp_path / "out.nii.gz")
    assert written.get_data_dtype() == np.dtype(dtype)
    np.testing.assert_array_equal(np.asarray(written.dataobj), voxels)
    np.testing.assert_allclose(written.affine, volume.affine, atol=1e-4)
    assert [int(written.header[code]) for code in ("sform_code", "qform_code")] == [1, 1]
    np.testing.assert_allclose(written.get_qform(), volume.affine, atol=1e-4)
    assert b"Somebody" not in written.header.binaryblock


def test_one_slice_is_as_thick_as_its_header_says(tmp_path: Path) -> None:
    volume = read_series(write_series(tmp_path, voxels_of((20, 24, 1))))
    assert volume.voxels.shape == (20, 24, 1)
    np.testing.assert_allclose(volume.spacing, SPACING, atol=1e-5)


def test_what_a_series_says_of_its_acquisition_is_kept(tmp_path: Path) -> None:
    tags = {"t0018_1310": "0\\256\\192\\0", "t0018_0093": "75", "t0018_0094": "no number"}
    fields = read_series(write_series(tmp_path / "a", voxels_of(), **tags)).fields
    assert fields == {
        "AcquisitionMatrix": [256, 192],
        "PercentSampling": [75],
        "SliceThickness": [3],
        "SpacingBetweenSlices": [3],
    }


def test_files_that_are_no_dicom_are_passed_over(tmp_path: Path) -> None:
    voxels = voxels_of()
    write_series(tmp_path, voxels)
    (tmp_path / "notes.txt").write_text("exported on Monday")
    report = tmp_path / "report.dcm"
    write_slice(report, voxels[:, :, 0].T, ORIGIN)
    kind = b"1.2.840.10008.5.1.4.1.1.88.11"  # a structured report
    start = report.read_bytes()
    at = start.index(b"\x02\x00\x02\x00UI")
    end = at + 8 + int.from_bytes(start[at + 6 : at + 8], "little")
    report.write_bytes(start[: at + 6] + len(kind).to_bytes(2, "little") + kind + start[end:][:50])
    np.testing.assert_array_equal(read_series(tmp_path).voxels, voxels)


def test_spaces_and_unicode_in_folder_names_are_no_obstacle(tmp_path: Path) -> None:
    voxels = voxels_of()
    np.testing.assert_array_equal(read_series(write_series(tmp_path / "Schädel T2 ﬁne", voxels)).voxels, voxels)


def test_dicom_files_are_told_by_their_content(tmp_path: Path) -> None:
    write_series(tmp_path / "T2", voxels_of((20, 24, 1)))
    (tmp_path / "no.dcm").write_text("text")
    assert is_dicom(tmp_path / "T2" / "IM0000")
    assert not is_dicom(tmp_path / "no.dcm")
    assert not is_dicom(tmp_path / "missing.dcm")


def refusal(folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_series(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_folder_without_dicom_is_refused_naming_where_it_lies(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert "holds no DICOM images; give a folder that holds one series" in refusal(tmp_path)
    write_series(tmp_path / "study" / "T2", voxels_of((20, 24, 1)))
    assert f"holds no DICOM images itself, {tmp_path / 'study' / 'T2'} does" in refusal(tmp_path / "study")
    assert capfd.readouterr().err == ""


def test_several_series_are_refused_and_listed(tmp_path: Path) -> None:
    write_series(tmp_path, voxels_of((20, 24, 5)))
    for index in range(2):
        tags = {"t0020_000e": "1.2.3.5", "t0020_0011": 8, "t0008_103e": "t1 se", "t0020_0013": index}
        write_slice(tmp_path / f"other{index}", voxels_of()[:, :, 0].T, ORIGIN + index * OBLIQUE[:, 2], **tags)
    sentence = refusal(tmp_path)
    assert "2 DICOM series or images lie here" in sentence
    assert "7 t2 tse tra: 5 images, IM0000" in sentence
    assert "8 t1 se: 2 images, other0" in sentence


@pytest.mark.parametrize("missing", [1, 2, 3])
def test_a_missing_slice_is_refused_with_the_gap(missing: int, tmp_path: Path) -> None:
    write_series(tmp_path, voxels_of())
    (tmp_path / f"IM{missing:04d}").unlink()
    names = f"IM{missing - 1:04d} and IM{missing + 1:04d}"
    assert f"slices are missing, 6 mm lie between {names} where 3 mm are usual" in refusal(tmp_path)


@pytest.mark.parametrize(("shift", "allowed"), [(0.04, True), (0.06, False), (-0.5, False)])
def test_uneven_spacing_is_refused_beyond_a_tenth_of_a_voxel(shift: float, allowed: bool, tmp_path: Path) -> None:
    """The finest spacing is 0.5 mm, so 0.05 mm is what a grid may be off, as for two volumes on one grid."""
    write_series(tmp_path, voxels_of())
    position = ORIGIN + (2 * 3 + shift) * OBLIQUE[:, 2]
    write_slice(tmp_path / "IM0002", voxels_of()[:, :, 2].T, position, t0020_0013=2)
    if allowed:
        assert read_series(tmp_path).voxels.shape == (20, 24, 5)
    else:
        assert "spaced unevenly" in refusal(tmp_path)


def test_slices_shifted_against_each_other_are_refused(tmp_path: Path) -> None:
    for index in range(5):
        position = ORIGIN + index * (3 * OBLIQUE[:, 2] + 0.5 * OBLIQUE[:, 1])  # a tilted gantry
        write_slice(tmp_path / f"{index}", voxels_of()[:, :, index].T, position, t0020_0013=index)
    assert "shifted against each other" in refusal(tmp_path)


@pytest.mark.parametrize("n_bytes", [0, 600, -300])
@pytest.mark.parametrize("index", [2, 4])
def test_a_truncated_file_is_refused_and_not_taken_for_a_missing_slice(
    index: int, n_bytes: int, tmp_path: Path
) -> None:
    write_series(tmp_path, voxels_of())
    path = tmp_path / f"IM{index:04d}"
    path.write_bytes(path.read_bytes()[:n_bytes])
    assert re.search(rf"IM{index:04d}: (this file|the image) is cut short.* damaged.*; copy", refusal(tmp_path))


def test_colour_is_refused(tmp_path: Path, write_dicom: Any) -> None:
    write_dicom(tmp_path, np.ones((2, 24, 20)), SamplesPerPixel=3)
    assert "in colour" in refusal(tmp_path)


def test_a_screenshot_beside_the_slices_is_passed_over(tmp_path: Path) -> None:
    voxels = voxels_of()
    write_series(tmp_path, voxels)
    pixels = itk.image_from_array(np.zeros((24, 20, 3), "u1"), is_vector=True)
    writer = itk.ImageFileWriter.New(pixels)
    writer.SetImageIO(itk.GDCMImageIO.New())
    writer.SetFileName(str(tmp_path / "colour.dcm"))
    writer.Update()
    np.testing.assert_array_equal(read_series(tmp_path).voxels, voxels)


def test_frames_of_one_file_have_their_places(tmp_path: Path) -> None:
    voxels = voxels_of()
    volume = itk.image_from_array(np.ascontiguousarray(voxels.T.astype("u2")))
    volume.SetSpacing(SPACING)
    volume.SetOrigin(ORIGIN.tolist())
    volume.SetDirection(itk.matrix_from_array(np.ascontiguousarray(OBLIQUE)))
    writer = itk.ImageFileWriter.New(volume)
    writer.SetImageIO(itk.GDCMImageIO.New())
    writer.SetFileName(str(tmp_path / "frames.dcm"))
    writer.Update()
    for path in (tmp_path, tmp_path / "frames.dcm"):
        volume = read_series(path)
        np.testing.assert_array_equal(volume.voxels, voxels)
        np.testing.assert_allclose(volume.affine, expected_affine(), atol=1e-4)


@pytest.mark.parametrize("n_frames", [2, 4])
def test_frames_without_places_are_refused_with_the_remedy(n_frames: int, tmp_path: Path, write_dicom: Any) -> None:
    write_dicom(tmp_path, voxels_of((20, 24, 1)).T, NumberOfFrames=n_frames)
    assert "does not say where each of its frames lies; export it as single images" in refusal(tmp_path)


@pytest.mark.parametrize("kept", [0.9, 0.5, 0.0])
def test_pixels_that_are_fewer_than_the_header_says_are_refused_naming_the_file(
    kept: float, tmp_path: Path, write_dicom: Any
) -> None:
    """They were read from memory that had held another image."""

    def cut(index: int, one: Any) -> None:
        one.PixelData = one.PixelData[: int(len(one.PixelData) * (kept if index == 1 else 1)) // 2 * 2]

    write_dicom(tmp_path, voxels_of().T, change=cut)
    assert f"{tmp_path / '1.2.3-1.dcm'}: the image is cut short" in refusal(tmp_path)


@pytest.mark.parametrize("tag", ["PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient"])
def test_a_slice_without_its_place_is_refused_naming_the_file(tag: str, tmp_path: Path, write_dicom: Any) -> None:
    write_dicom(tmp_path, voxels_of().T, change=lambda index, one: delattr(one, tag) if index == 3 else None)
    assert f"{tmp_path / '1.2.3-3.dcm'}: " in refusal(tmp_path)


@pytest.mark.parametrize("text", ["0\\0", "0,6\\0,6", "0.6", "-1\\-1", "nan\\1", "inf\\1", "", "a\\b", "1\\1\\1"])
def test_a_pixel_spacing_that_is_no_size_is_refused_as_it_reads(text: str, tmp_path: Path, write_dicom: Any) -> None:
    write_dicom(tmp_path, voxels_of().T, PixelSpacing=[0.25, 0.25])
    for path in tmp_path.iterdir():  # no library writes such a value
        content = path.read_bytes()
        length = (len(text) + 1) // 2 * 2
        element = b"\x28\x00\x30\x00DS" + length.to_bytes(2, "little") + text.ljust(length).encode()
        path.write_bytes(content.replace(b"\x28\x00\x30\x00DS\x0a\x000.25\\0.25 ", element))
    assert f"its pixel spacing reads {text or 'nothing'!r}, which is no size in mm" in refusal(tmp_path)


def test_pixels_of_another_size_than_the_header_s_are_refused(
    tmp_path: Path, write_dicom: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_dicom(tmp_path, voxels_of().T)
    monkeypatch.setattr("bundle.dicom.series._stored_pixels", lambda path: np.ones((20, 24)))  # whatever decodes them
    assert "the image is not of the size that its header says" in refusal(tmp_path)


def shift(_: int, one: Any) -> None:
    one.BitsStored, one.HighBit = 12, 15


def padded(_: int, one: Any) -> None:
    one.PixelPaddingValue = 65535
    one.PixelData = b"\xff\xff" * 20 + one.PixelData[40:]


def looked_up(_: int, one: Any) -> None:
    table = Dataset()
    table.LUTDescriptor, table.LUTData, table.ModalityLUTType = [2, 0, 16], b"\0\1\0\0", "US"
    one.ModalityLUTSequence = [table]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda _, one: setattr(one, "PhotometricInterpretation", "MONOCHROME1"), "its pixels are MONOCHROME1"),
        (shift, "its pixels end at bit 15 where 12 bits are stored"),
        (padded, "it is padded with pixels of 65535"),
        (looked_up, "its pixels are to be looked up in a table"),
    ],
)
def test_pixels_that_are_no_brightness_are_refused(change: Any, said: str, tmp_path: Path, write_dicom: Any) -> None:
    write_dicom(tmp_path, voxels_of().T, change=change)
    assert f"{tmp_path / '1.2.3-0.dcm'}: {said}" in refusal(tmp_path)


def test_padding_that_is_the_darkest_of_the_pixels_is_no_obstacle(tmp_path: Path, write_dicom: Any) -> None:
    voxels = voxels_of()
    voxels[:3] = 0
    write_dicom(tmp_path, voxels.T, PixelPaddingValue=0)
    np.testing.assert_array_equal(read_series(tmp_path).voxels, voxels)


@pytest.mark.parametrize("kind", ["P", "PHASE MAP", "REAL"])
def test_what_is_no_magnitude_is_refused(kind: str, tmp_path: Path, write_dicom: Any) -> None:
    write_dicom(tmp_path, voxels_of().T, ImageType=["ORIGINAL", "PRIMARY", kind, "ND"])
    assert f"this is no magnitude image (image type {kind})" in refusal(tmp_path)


def test_slices_of_several_echoes_are_no_volume(tmp_path: Path, write_dicom: Any) -> None:
    write_dicom(tmp_path / "one", voxels_of().T, change=lambda index, one: setattr(one, "EchoTime", 80 + index % 2))
    assert read_series(tmp_path / "one").voxels.shape == (20, 24, 5)
    write_dicom(tmp_path / "two", voxels_of().T, change=lambda index, one: setattr(one, "EchoTime", 20 + 20 * index))
    assert "two: the slices have echo times of 20 to 100 ms" in refusal(tmp_path / "two")


@pytest.mark.parametrize("keyword", ["RescaleSlope", "RescaleIntercept"])
def test_a_scale_that_is_no_number_is_refused_as_it_reads(keyword: str, tmp_path: Path, write_dicom: Any) -> None:
    def spoil(index: int, one: Any) -> None:
        if index == 2:
            one.add_new(keyword, "LO", "a lot")

    write_dicom(tmp_path, voxels_of().T, change=spoil)
    assert f"1.2.3-2.dcm: its {keyword} reads 'a lot', which is no number" in refusal(tmp_path)
