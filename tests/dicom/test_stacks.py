# SPDX-License-Identifier: Apache-2.0
"""The volumes of a folder are told apart, and each is found again by the name it is given."""

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK
from pydicom.dataset import Dataset

from bundle.data.pairs import find_pairs
from bundle.data.reading import read_volume
from bundle.dicom.series import find_stack, read_series
from bundle.dicom.stacks import stacks_in
from bundle.errors import InputError

VOXELS = np.random.default_rng(0).integers(1, 1000, (6, 24, 20))  # (Z, Y, X)


@pytest.fixture(scope="module")
def shared_dicom(bundle_root: Path) -> Path:
    folder = bundle_root.parent / "shared" / "dicom"
    if not folder.is_dir():
        pytest.skip("the DICOM files of scanners are not beside the checkout (../shared/dicom)")
    return folder


def moved(*places: tuple[float, float, float]) -> Any:
    """Return a change that puts the slices of a series elsewhere."""
    return lambda index, one: setattr(one, "ImagePositionPatient", list(places[index]))


def test_echoes_of_one_series_are_two_volumes(write_dicom: Any, tmp_path: Path) -> None:
    write_dicom(tmp_path, VOXELS, EchoTime=12)
    for path in list(tmp_path.iterdir()):
        path.rename(path.with_name(f"e1-{path.name}"))
    write_dicom(tmp_path, 2 * VOXELS, EchoTime=100)
    first, second = stacks_in(tmp_path)
    assert {float(one.tags["EchoTime"]) for one in (first, second)} == {12, 100}
    for stack in (first, second):
        factor = 1 if float(stack.tags["EchoTime"]) == 12 else 2
        np.testing.assert_array_equal(read_series(stack.path).voxels, factor * VOXELS.T)
    with pytest.raises(InputError, match=r"2 DICOM .*6 images of echo time 1\d+ ms, .*or name one of its files"):
        read_series(tmp_path)


def test_echoes_of_one_file_are_found_by_their_number(tmp_path: Path) -> None:
    itk = pytest.importorskip("itk")
    writer = itk.ImageFileWriter.New(itk.image_from_array(VOXELS.astype("u2")))
    writer.SetImageIO(itk.GDCMImageIO.New())
    writer.SetFileName(str(tmp_path / "frames.dcm"))
    writer.Update()
    file = pydicom.dcmread(tmp_path / "frames.dcm")
    for index, frame in enumerate(file.PerFrameFunctionalGroupsSequence):
        frame.PlanePositionSequence[0].ImagePositionPatient = [0, 0, index // 2]
        frame.MREchoSequence = [Dataset()]
        frame.MREchoSequence[0].EffectiveEchoTime = 12.0 + 88 * (index % 2)
    file.save_as(tmp_path / "frames.dcm")
    names = [str(stack.path.relative_to(tmp_path)) for stack in stacks_in(tmp_path)]
    assert names == ["frames.dcm/1", "frames.dcm/2"]
    for echo, name in enumerate(names):
        np.testing.assert_array_equal(read_volume(tmp_path / name).voxels, VOXELS[echo::2].T)
        listed = tmp_path / "list.csv"
        listed.write_text(f"image,reference\n{name},{names[0]}\n")
        assert find_pairs(listed)[0]["image"] == str(tmp_path / name)
    with pytest.raises(InputError, match=r"2 DICOM .* of echo time 12 ms, frames.dcm/1, .* 100 ms, frames.dcm/2"):
        read_series(tmp_path / "frames.dcm")
    with pytest.raises(InputError, match=r"this is none of the series that lie here"):
        read_series(tmp_path / "frames.dcm" / "3")


def test_images_in_one_place_that_nothing_tells_apart_are_refused(write_dicom: Any, tmp_path: Path) -> None:
    write_dicom(tmp_path, VOXELS, change=lambda index, one: setattr(one, "ImagePositionPatient", [0, 0, index // 2]))
    assert len(stacks_in(tmp_path)) == 1
    with pytest.raises(InputError, match="several of the 6 images lie in one place"):
        read_series(tmp_path)


@pytest.mark.parametrize(
    ("places", "sizes"),
    [
        ([(0, 0, z) for z in (0, 4, 8, 31, 35, 39)], [3, 3]),  # no whole number of steps
        ([(0, 0, z) for z in (0, 4, 8, 40, 44, 48)], [3, 3]),  # counted on
        ([(0, 0, 0), (0, 0, 4), (0, 0, 8), (0, 7, 16), (0, 7, 20), (0, 7, 24)], [3, 3]),  # aside
        ([(0, 0, z) for z in (0, 4, 8, 16, 20, 24)], [6]),  # a slice is missing
        ([(0, z / 4, z) for z in (0, 4, 8, 16, 20, 24)], [6]),  # tilted, and a slice is missing
    ],
)
def test_chunks_are_apart_where_no_slice_is_missing(
    places: list[tuple[float, float, float]], sizes: list[int], write_dicom: Any, tmp_path: Path
) -> None:
    write_dicom(tmp_path, VOXELS, change=moved(*places))
    assert [len(stack.frames) for stack in stacks_in(tmp_path)] == sizes
    if sizes == [3, 3]:
        np.testing.assert_array_equal(read_series(tmp_path / "1.2.3-4.dcm").voxels, VOXELS[3:].T)
    else:
        with pytest.raises(InputError, match=r"slices are missing"):
            read_series(tmp_path)


def test_a_gap_that_was_not_counted_on_is_missing_slices(write_dicom: Any, tmp_path: Path) -> None:
    def change(index: int, one: Dataset) -> None:
        one.ImagePositionPatient = [0, 0, 4 * (index + 5 * (index > 2))]
        one.InstanceNumber = index + 5 * (index > 2)

    write_dicom(tmp_path, VOXELS, change=change)
    with pytest.raises(InputError, match=r"slices are missing, 24 mm lie between"):
        read_series(tmp_path)


@pytest.mark.parametrize(
    ("thickness", "between", "refused"),
    [
        (4, None, False),
        (3, None, False),
        (2, None, True),
        (2, 4, False),
        (2, 2, True),
        (3.6, 0.4, False),
        (8, 4, False),
    ],
)
def test_every_other_slice_missing_is_seen_by_the_thickness(
    thickness: float, between: float | None, refused: bool, write_dicom: Any, tmp_path: Path
) -> None:
    tags = {"SliceThickness": thickness} | ({"SpacingBetweenSlices": between} if between else {})
    write_dicom(tmp_path, VOXELS, **tags)
    if refused:
        with pytest.raises(InputError, match=r"are 4 mm apart where .* 2 mm: every other one seems to be missing"):
            read_series(tmp_path)
    else:
        np.testing.assert_allclose(read_series(tmp_path).spacing, (1, 1, 4))


def test_orientations_of_one_series_are_volumes_of_their_own(write_dicom: Any, tmp_path: Path) -> None:
    def turn(index: int, one: Dataset) -> None:
        if index > 3:
            one.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
            one.ImagePositionPatient = [4 * index, 0, 0]

    write_dicom(tmp_path, VOXELS, change=turn)
    assert [len(stack.frames) for stack in stacks_in(tmp_path)] == [4, 2]


def test_files_without_preamble_and_ending_are_read_and_a_directory_is_passed_over(
    write_dicom: Any, tmp_path: Path
) -> None:
    folder = write_dicom(tmp_path / "T2", VOXELS)
    for number, path in enumerate(sorted(folder.iterdir())):
        content = path.read_bytes()
        path.write_bytes(content[content.index(b"\x08\x00\x08\x00") :])  # neither preamble nor meta information
        path.rename(folder / f"I{number}")
    directory = write_dicom(tmp_path / "other", VOXELS[:1], SOPClassUID="1.2.840.10008.1.3.10") / "1.2.3-0.dcm"
    content = directory.read_bytes().replace(b"\x28\x00\x10\x00US", b"\x29\x00\x10\x00US")  # no rows
    (folder / "DICOMDIR").write_bytes(content)
    np.testing.assert_array_equal(read_series(folder).voxels, VOXELS.T)


@pytest.mark.parametrize(
    "name",
    [
        *("ge_anatomical/001", "generic_compressed/001", "generic_compressed_j2k/001", "generic_compressed_jpeg/001"),
        *("generic_compressed_jpegls/001", "generic_compressed_rle/001"),
        *("philips_enhanced_anatomical/001", "siemens_multiframe_anatomical/001"),
    ],
)
def test_files_of_scanners_are_read_as_gdcm_reads_them(name: str, shared_dicom: Path) -> None:
    volume, frames = read_series(shared_dicom / name), find_stack(shared_dicom / name).frames
    files = list(dict.fromkeys(str(frame.path) for frame in frames))
    image = SimpleITK.ReadImage(files if len(files) > 1 else files[0])
    np.testing.assert_array_equal(volume.voxels, SimpleITK.GetArrayFromImage(image).T.astype("f4"))
    axes = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    np.testing.assert_allclose(volume.affine[:3, :3], np.diag([-1, -1, 1]) @ axes, atol=1e-4)
    np.testing.assert_allclose(volume.affine[:3, 3], np.array([-1, -1, 1]) * image.GetOrigin(), atol=1e-4)


def test_a_dual_echo_of_a_scanner_is_two_volumes_on_one_grid(shared_dicom: Path) -> None:
    stacks = stacks_in(shared_dicom / "dual_echo_phantom")
    first, second = (read_series(stack.path) for stack in stacks)
    assert [stack.tags["EchoTime"] for stack in stacks] == ["11", "92"]
    np.testing.assert_allclose(first.affine, second.affine, atol=1e-6)
    assert first.voxels.shape == second.voxels.shape == (64, 64, 35)
    assert first.voxels.mean() > second.voxels.mean()


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("failing_sliceincrement/001", "slices are missing, 10 mm lie between"),
        ("failing_sliceorientation/001", "2 DICOM series or images lie here"),
    ],
)
def test_what_other_tools_fail_on_is_refused(name: str, sentence: str, shared_dicom: Path) -> None:
    with pytest.raises(InputError, match=sentence):
        read_series(shared_dicom / name)
