# SPDX-License-Identifier: Apache-2.0
import gzip
import os
import tempfile
import tracemalloc
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundle.data.reading import read_volume
from bundle.errors import InputError
from bundle.volumes import nifti
from bundle.volumes.geometry import Volume
from bundle.volumes.nifti import write_volume
from bundle.volumes.volume_checks import two_places

OBLIQUE = nib.affines.from_matvec(
    nib.eulerangles.euler2mat(0.1, -0.2, 0.3) @ np.diag([-0.6, -0.6, 3.3]), [99.425, 118.858, -41.166]
)
SHAPE = (20, 21, 5)
# What write_volume may change: the type of the voxels, their scaling, and where they start.
STORAGE = {"datatype", "bitpix", "scl_slope", "scl_inter", "vox_offset"}


def ramp(shape: tuple[int, ...] = SHAPE, dtype: str = "int16") -> np.ndarray:
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def save(path: Path, array: np.ndarray, affine: np.ndarray = OBLIQUE, header: nib.Nifti1Header | None = None) -> Path:
    image = nib.Nifti1Image(array, affine, header)
    image.set_sform(affine, 1)
    image.set_qform(affine, 2)
    nib.save(image, path)
    return path


def save_rich(path: Path, array: np.ndarray, slope: float = 1.0, inter: float = 0.0, endian: str = "<") -> Path:
    """Write a file with as many header fields set as a scanner's converter would set."""
    header = nib.Nifti1Header(endianness=endian)
    header.set_data_shape(array.shape)
    header.set_data_dtype(array.dtype)
    header.set_qform(OBLIQUE, 1)
    header.set_sform(OBLIQUE, 4)
    header.set_xyzt_units("mm", "sec")
    header.set_intent("estimate", (), "T2")
    header.set_dim_info(freq=0, phase=1, slice=2)
    header["descrip"] = b"TE=100;Time=123456.789"
    header["aux_file"] = b"scan"
    header["cal_min"], header["cal_max"] = 0.0, 900.0
    header["toffset"], header["slice_duration"] = 1.5, 0.25
    header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"kept as it is"))
    return save_scaled(path, array, header, slope, inter)


def save_scaled(path: Path, array: np.ndarray, header: nib.Nifti1Header, slope: float, inter: float) -> Path:
    """Write an array unchanged under a header with a scaling."""
    image = nib.Nifti1Image(array, None, header)
    image.header.set_slope_inter(slope, inter)
    nib.save(image, path)
    return path


def different_fields(a: nib.Nifti1Header, b: nib.Nifti1Header) -> set[str]:
    return {name for name in a if not np.array_equal(a[name], b[name])}


def stored_header(path: Path) -> nib.Nifti1Header:
    """Return the header as the file has it, nothing mended."""
    packed = path.read_bytes()[:2] == b"\x1f\x8b"
    with gzip.open(path) if packed else path.open("rb") as stream:
        content = stream.read(540)
    kind = nib.Nifti2Header if content[4:7] == b"n+2" else nib.Nifti1Header
    return kind(content[: kind.template_dtype.itemsize], check=False)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_read_volume_applies_slope_and_intercept(tmp_path: Path, name: str) -> None:
    path = save_rich(tmp_path / name, ramp(), slope=0.5, inter=10.0)
    volume = read_volume(path)
    assert volume.voxels.dtype == np.float32
    np.testing.assert_array_equal(volume.voxels, 0.5 * ramp() + 10)
    assert volume.path == path
    assert volume.spacing == pytest.approx((0.6, 0.6, 3.3))


def test_read_volume_equals_nibabel_on_real_volumes(shared_data: Path) -> None:
    for path in sorted(shared_data.glob("open_ms*/*T2w*")):
        volume, image = read_volume(path), nib.load(path)
        np.testing.assert_array_equal(volume.voxels, image.get_fdata())
        np.testing.assert_array_equal(volume.affine, image.affine)
        np.testing.assert_allclose(volume.spacing, image.header.get_zooms(), rtol=1e-5)


def test_read_volume_tells_gzip_by_content_not_by_name(tmp_path: Path) -> None:
    packed = save(tmp_path / "a.nii.gz", ramp())
    misnamed = packed.rename(tmp_path / "b.nii")
    np.testing.assert_array_equal(read_volume(misnamed).voxels, ramp())


def test_read_volume_voxels_are_contiguous_and_writable(tmp_path: Path) -> None:
    voxels = read_volume(save(tmp_path / "a.nii", ramp(dtype="float32"))).voxels
    assert voxels.flags.f_contiguous  # each slice of the file in one piece
    assert voxels.flags.writeable


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("dtype", ["float32", "input"])
@pytest.mark.parametrize("endian", ["<", ">"])
def test_write_volume_keeps_every_header_field(tmp_path: Path, name: str, dtype: str, endian: str) -> None:
    source = save_rich(tmp_path / "in.nii", ramp(), slope=0.5, inter=10.0, endian=endian)
    volume = read_volume(source)
    write_volume(tmp_path / name, volume.voxels, volume, dtype)
    before, after = stored_header(source), stored_header(tmp_path / name)
    changed = different_fields(before, after)
    assert changed <= (STORAGE if dtype == "float32" else set())
    assert after.endianness == endian
    again = nib.load(tmp_path / name)
    assert again.header.extensions[0].get_content() == b"kept as it is"
    np.testing.assert_array_equal(again.affine, volume.affine)
    np.testing.assert_array_equal(again.get_fdata(), volume.voxels)


def test_write_volume_returns_real_volumes_byte_for_byte(shared_data: Path, tmp_path: Path) -> None:
    paths = [path for path in sorted(shared_data.glob("*/*.nii.gz")) if path.parent.name != "brainweb_sim"]
    paths += sorted(shared_data.glob("brainweb_sim/sub-BW05_*"))
    assert paths
    for path in paths:
        volume = read_volume(path)
        write_volume(tmp_path / "out.nii", volume.voxels, volume, "input")
        again = read_volume(tmp_path / "out.nii")
        assert different_fields(stored_header(path), stored_header(tmp_path / "out.nii")) <= {"scl_slope"}
        assert again.header.get_data_dtype() == volume.header.get_data_dtype()
        for form in ("get_qform", "get_sform"):
            before, code_before = getattr(volume.header, form)(coded=True)
            after, code_after = getattr(again.header, form)(coded=True)
            assert code_before == code_after
            np.testing.assert_array_equal(before, after)
        np.testing.assert_array_equal(again.affine, volume.affine)
        np.testing.assert_array_equal(again.voxels, volume.voxels)


@pytest.mark.parametrize("path", ["open_ms_mni/sub-C07_T2w.nii.gz", "open_ms_native/sub-L12_ses-1_T1w.nii.gz"])
def test_write_volume_as_float32_keeps_the_forms_of_real_volumes(shared_data: Path, tmp_path: Path, path: str) -> None:
    volume = read_volume(shared_data / path)
    write_volume(tmp_path / "out.nii.gz", volume.voxels + 0.25, volume)
    assert different_fields(stored_header(shared_data / path), stored_header(tmp_path / "out.nii.gz")) <= STORAGE
    again = nib.load(tmp_path / "out.nii.gz")
    assert again.get_data_dtype() == np.float32
    np.testing.assert_array_equal(np.asarray(again.dataobj), volume.voxels + 0.25)


@settings(deadline=None, max_examples=40)
@given(
    dtype=st.sampled_from(["uint8", "int8", "int16", "uint16", "int32", "float32", "float64"]),
    shape=st.sampled_from([(17, 17, 1), (18, 17, 3), (17, 4, 19), (2, 20, 21), (17, 18, 2, 1), (17, 18, 1, 1)]),
    slope=st.sampled_from([1.0, 0.25, -2.0, 0.0037]),
    inter=st.sampled_from([0.0, 7.5, 300.0]),
    seed=st.integers(0, 100),
)
def test_write_volume_as_input_returns_what_was_read(
    dtype: str, shape: tuple[int, ...], slope: float, inter: float, seed: int
) -> None:
    spacing = [3.0 if n == min(shape[:3]) else 1.0 for n in shape[:3]]
    array = np.random.default_rng(seed).uniform(0 if dtype[0] == "u" else -100, 127, shape).astype(dtype)
    array.flat[0] = 127 if slope > 0 else 0
    if slope < 0:
        inter += 300  # some voxels must be above 0
    with tempfile.TemporaryDirectory() as folder:
        first, second = Path(folder) / "in.nii", Path(folder) / "out.nii"
        header = nib.Nifti1Header()
        header.set_data_dtype(dtype)
        header.set_data_shape(shape)
        header.set_sform(np.diag([*spacing, 1]), 1)
        save_scaled(first, array, header, slope, inter)
        volume = read_volume(first)
        assert volume.voxels.shape == shape[:3]
        write_volume(second, volume.voxels, volume, "input")
        before, after = nib.load(first), nib.load(second)
        assert after.shape == shape
        assert different_fields(stored_header(first), stored_header(second)) == set()
        np.testing.assert_allclose(after.get_fdata(), before.get_fdata(), rtol=1e-6, atol=1e-4)
        if not dtype.startswith("float"):
            np.testing.assert_array_equal(after.dataobj.get_unscaled(), before.dataobj.get_unscaled())


@pytest.mark.parametrize(("dtype", "limits"), [("int16", (-32768, 32767)), ("uint16", (0, 65535)), ("uint8", (0, 255))])
def test_write_volume_as_input_rounds_and_clips(tmp_path: Path, dtype: str, limits: tuple[int, int]) -> None:
    volume = read_volume(save(tmp_path / "in.nii", (ramp() % 200).astype(dtype)))
    voxels = np.full(SHAPE, 7.6, dtype=np.float32)
    voxels[0, 0, :3] = [-1e6, 1e6, 6.4]
    write_volume(tmp_path / "out.nii", voxels, volume, "input")
    stored = np.asarray(nib.load(tmp_path / "out.nii").dataobj.get_unscaled())
    assert stored.dtype == dtype
    assert stored[0, 0, :4].tolist() == [*limits, 6, 8]


def test_write_volume_as_input_stays_within_half_a_step_of_a_scaled_file(tmp_path: Path) -> None:
    volume = read_volume(save_rich(tmp_path / "in.nii", ramp(), slope=0.5, inter=10.0))
    voxels = volume.voxels + np.float32(0.2)
    write_volume(tmp_path / "out.nii", voxels, volume, "input")
    assert np.abs(nib.load(tmp_path / "out.nii").get_fdata() - voxels).max() <= 0.25 + 1e-4


@pytest.mark.parametrize(("qform", "sform"), [(0, 0), (1, 0), (0, 2), (2, 1), (1, 4)])
def test_write_volume_keeps_form_codes(tmp_path: Path, qform: int, sform: int) -> None:
    image = nib.Nifti1Image(ramp(), OBLIQUE)
    image.set_qform(OBLIQUE, qform)
    image.set_sform(OBLIQUE, sform)
    nib.save(image, tmp_path / "in.nii")
    volume = read_volume(tmp_path / "in.nii")
    write_volume(tmp_path / "out.nii", volume.voxels, volume)
    after = nib.load(tmp_path / "out.nii")
    assert (int(after.header["qform_code"]), int(after.header["sform_code"])) == (qform, sform)
    np.testing.assert_array_equal(after.affine, nib.load(tmp_path / "in.nii").affine)
    assert different_fields(stored_header(tmp_path / "in.nii"), stored_header(tmp_path / "out.nii")) <= STORAGE


def test_forms_that_disagree_are_told_and_writing_keeps_both(tmp_path: Path) -> None:
    shifted = OBLIQUE + np.array([[0, 0, 0, 2.0], [0] * 4, [0] * 4, [0] * 4])
    image = nib.Nifti1Image(ramp(), OBLIQUE)
    image.set_sform(OBLIQUE, 1)
    image.set_qform(shifted, 1)
    nib.save(image, tmp_path / "in.nii")
    volume = read_volume(tmp_path / "in.nii")
    assert "in.nii: qform and sform disagree by up to 2.00 mm; the sform is used" in str(two_places(volume))
    np.testing.assert_allclose(volume.affine, OBLIQUE, atol=1e-5)
    write_volume(tmp_path / "out.nii", volume.voxels, volume)
    after = nib.load(tmp_path / "out.nii")
    np.testing.assert_array_equal(after.get_qform(), nib.load(tmp_path / "in.nii").get_qform())
    np.testing.assert_array_equal(after.get_sform(), volume.affine)


def test_nothing_is_told_of_forms_that_agree(shared_data: Path, tmp_path: Path) -> None:
    assert two_places(read_volume(save(tmp_path / "in.nii", ramp()))) is None
    assert two_places(read_volume(save_sform(tmp_path / "sform.nii", ramp(), OBLIQUE))) is None
    assert two_places(read_volume(shared_data / "open_ms_native/sub-L12_ses-1_T2w.nii.gz")) is None


def test_a_broken_quaternion_is_told(tmp_path: Path) -> None:
    path = save(tmp_path / "in.nii", ramp())
    header = stored_header(path)
    header["quatern_b"] = 5
    path.write_bytes(header.binaryblock + path.read_bytes()[348:])
    volume = read_volume(path)
    assert "qform and sform disagree" in str(two_places(volume))
    np.testing.assert_allclose(volume.affine, OBLIQUE, atol=1e-5)


@pytest.mark.parametrize("shape", [(20, 21), (20, 21, 1), (20, 21, 1, 1), (20, 21, 3, 1), (20, 21, 3, 1, 1)])
@pytest.mark.parametrize("dtype", ["float32", "input"])
def test_volume_keeps_its_shape_on_file(tmp_path: Path, shape: tuple[int, ...], dtype: str) -> None:
    volume = read_volume(save(tmp_path / "in.nii.gz", ramp(shape)))
    assert volume.voxels.shape == (*shape, 1)[:3]
    write_volume(tmp_path / "out.nii.gz", volume.voxels, volume, dtype)
    after = nib.load(tmp_path / "out.nii.gz")
    assert after.shape == shape
    np.testing.assert_array_equal(after.get_fdata(), ramp(shape))


def test_volume_of_nifti_2_comes_back_as_nifti_2(tmp_path: Path) -> None:
    nib.save(nib.Nifti2Image(ramp(), OBLIQUE), tmp_path / "in.nii")
    volume = read_volume(tmp_path / "in.nii")
    write_volume(tmp_path / "out.nii", volume.voxels, volume, "input")
    assert (tmp_path / "out.nii").read_bytes() == (tmp_path / "in.nii").read_bytes()
    np.testing.assert_array_equal(volume.affine, OBLIQUE)


def test_write_volume_gives_the_same_bytes_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    volume = read_volume(save(tmp_path / "in.nii", ramp()))
    write_volume(tmp_path / "a.nii.gz", volume.voxels, volume)
    monkeypatch.setattr("time.time", lambda: 0.0)
    write_volume(tmp_path / "b.nii.gz", volume.voxels, volume)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_write_volume_leaves_the_volume_it_is_like_alone(tmp_path: Path) -> None:
    volume = read_volume(save_rich(tmp_path / "in.nii", ramp(), slope=0.5))
    header = volume.header.binaryblock
    write_volume(tmp_path / "out.nii", volume.voxels, volume)
    assert volume.header.binaryblock == header


def test_write_volume_may_replace_the_file_that_was_read(tmp_path: Path) -> None:
    path = save(tmp_path / "in.nii", ramp())
    volume = read_volume(path)
    write_volume(path, volume.voxels + 1, volume)
    np.testing.assert_array_equal(nib.load(path).get_fdata(), ramp() + 1)


def test_read_header_is_the_volume_without_its_voxels(tmp_path: Path) -> None:
    path = save_rich(tmp_path / "in.nii.gz", ramp(), slope=0.5, inter=10.0, endian=">")
    volume, header = read_volume(path), read_volume(path, with_voxels=False)
    assert header.voxels.shape == volume.voxels.shape
    assert not any(header.voxels.strides)
    assert not header.voxels.any()
    assert (header.spacing, header.path) == (volume.spacing, volume.path)
    np.testing.assert_array_equal(header.affine, volume.affine)
    assert header.header.binaryblock == volume.header.binaryblock


def test_write_volume_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "in.nii", ramp())
    before, volume = path.read_bytes(), read_volume(path)

    stored, n_slices = nifti._stored, []

    def full(voxels: np.ndarray, header: nib.Nifti1Header) -> np.ndarray:
        n_slices.append(len(n_slices))
        if len(n_slices) > 2:
            raise OSError("disk full")
        return stored(voxels, header)

    monkeypatch.setattr(nifti, "_stored", full)
    with pytest.raises(OSError, match="disk full"):
        write_volume(path, volume.voxels, volume)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def corrupted(path: Path, what: str) -> Path:
    """Write one file that must be refused."""
    array = ramp()
    if what == "missing":
        return path
    if what == "series":
        return save(path, ramp((20, 21, 5, 3)))
    if what == "vector":
        return save(path, ramp((20, 21, 5, 1, 3)))
    if what == "rgb":
        colours = np.zeros(SHAPE, dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
        return save(path, colours)
    if what == "complex":
        return save(path, array.astype(np.complex64))
    if what in ("nan", "infinite", "overflow"):
        value = {"nan": np.nan, "infinite": -np.inf, "overflow": 1e300}[what]
        array = array.astype(np.float64)
        array[1, 2, :3] = value
        return save(path, array)
    if what == "constant":
        return save(path, np.full(SHAPE, 7, dtype=np.int16))
    if what == "negative":
        return save(path, -array)
    if what == "zero-size":
        return save(path, np.zeros((20, 0, 5), dtype=np.int16))
    if what == "small":
        return save(path, ramp((20, 16, 5)))
    if what == "small-sagittal":
        return save(path, ramp((20, 21, 5)), np.diag([4.0, 1, 1, 1]))
    if what == "singular":
        affine = OBLIQUE.copy()
        affine[:, 1] = affine[:, 0]
        return save_sform(path, array, affine)
    if what == "zero-column":
        return save_sform(path, array, np.diag([1.0, 0, 1, 1]))
    if what == "nan-affine":
        return save_sform(path, array, np.diag([1.0, np.nan, 1, 1]))
    return damaged(path, what)


def save_sform(path: Path, array: np.ndarray, affine: np.ndarray) -> Path:
    header = nib.Nifti1Header()
    header.set_data_dtype(array.dtype)
    header.set_data_shape(array.shape)
    header.set_sform(affine, 1)
    nib.save(nib.Nifti1Image(array, None, header), path)
    return path


def damaged(path: Path, what: str) -> Path:
    """Damage the bytes of a good file."""
    content = save(path, np.random.default_rng(0).integers(0, 999, SHAPE, dtype=np.int16)).read_bytes()
    plain = gzip.decompress(content)
    header = nib.Nifti1Header(plain[:348])
    if what == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif what == "cut-checksum":
        path.write_bytes(content[:-6])
    elif what == "flipped-bit":
        path.write_bytes(content[:-5] + bytes([content[-5] ^ 1]) + content[-4:])
    elif what == "plain-truncated":
        path.write_bytes(plain[:-100])
    elif what == "empty":
        path.write_bytes(b"")
    elif what == "text":
        path.write_bytes(b"not an image\n" * 100)
    elif what == "unknown-type":
        header["datatype"] = 9999
        path.write_bytes(header.binaryblock + plain[348:])
    elif what == "zero-pixdim":
        header["pixdim"][2] = 0
        header["sform_code"] = 0
        path.write_bytes(header.binaryblock + plain[348:])
    elif what == "pair":
        header["magic"] = b"ni1"
        path.write_bytes(header.binaryblock)
    elif what == "folder":
        path.unlink()
        path.mkdir()
    return path


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("missing", "there is no such file; check the path"),
        ("folder", "this folder holds no DICOM images"),
        ("truncated", "cut short or damaged"),
        ("cut-checksum", "cut short or damaged"),
        ("flipped-bit", "cut short or damaged"),
        ("plain-truncated", "fewer voxels than its header says"),
        ("empty", "not a NIfTI file"),
        ("text", "not a NIfTI file"),
        ("pair", "convert the pair to a single .nii file"),
        ("unknown-type", "the NIfTI header is damaged"),
        ("series", "a series of 3 volumes"),
        ("vector", "a series of 3 volumes"),
        ("rgb", "RGB colours; give a grey-scale image"),
        ("complex", "of type complex64; give a magnitude image"),
        ("nan", "3 voxels are NaN or infinite"),
        ("infinite", "3 voxels are NaN or infinite"),
        ("overflow", "3 voxels are NaN or infinite"),
        ("constant", "every voxel is 7"),
        ("negative", "no voxel is above 0"),
        ("zero-size", "the image has no voxels"),
        ("small", "slices along axis 3 have a matrix of 20 x 16; the network needs at least 17 x 17"),
        ("small-sagittal", "slices along axis 1 have a matrix of 21 x 5"),
        ("singular", "the affine in the header is degenerate"),
        ("zero-column", "the affine in the header is degenerate"),
        ("nan-affine", "the affine in the header is degenerate"),
        ("zero-pixdim", "voxel size of zero"),
    ],
)
def test_read_volume_refuses_in_one_sentence_that_names_the_file(tmp_path: Path, what: str, message: str) -> None:
    path = corrupted(tmp_path / "bad.nii.gz", what)
    with pytest.raises(InputError) as caught:
        read_volume(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert message in text
    assert text.endswith(".")
    assert "\n" not in text


def test_read_volume_accepts_the_smallest_matrix(tmp_path: Path) -> None:
    assert read_volume(save(tmp_path / "a.nii", ramp((17, 17, 5)))).voxels.shape == (17, 17, 5)


def test_read_volume_takes_an_axis_of_one_voxel_as_the_slice_axis(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii", ramp((20, 21, 1)), np.diag([2.0, 1, 1, 1]))
    assert read_volume(path).voxels.shape == (20, 21, 1)


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    return read_volume(save(tmp_path / "in.nii", ramp()))


def test_write_volume_refuses_another_shape(volume: Volume, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="reshape"):
        write_volume(tmp_path / "out.nii", volume.voxels[:-1], volume)


def test_write_volume_refuses_nan(volume: Volume, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="NaN or infinity"):
        write_volume(tmp_path / "out.nii", volume.voxels * np.nan, volume)


def test_write_volume_refuses_an_unknown_type(volume: Volume, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'int8': choose \"float32\" or \"input\""):
        write_volume(tmp_path / "out.nii", volume.voxels, volume, "int8")  # type: ignore[arg-type]


def test_write_volume_refuses_another_ending(volume: Volume, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"ends in \.nii or \.nii\.gz"):
        write_volume(tmp_path / "out.mha", volume.voxels, volume)


def test_write_volume_refuses_a_folder_that_cannot_be_made(volume: Volume, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cannot write into this output folder"):
        write_volume(tmp_path / "file" / "out.nii", volume.voxels, volume)


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_is_no_file_is_refused_at_once(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(InputError, match=r"a\.nii\.gz: this is a folder, a pipe or a device, and no file"):
        read_volume(path)


def growing(path: Path, shape: tuple[int, ...], extension: int = 0, offset: int = 352, more: int = 0) -> Path:
    """Write a compressed file of zeros by what a header promises: an extension, where voxels start, and more behind."""
    header = nib.Nifti1Header()
    header.set_data_shape(shape)
    header.set_data_dtype(np.uint8)
    header.set_sform(OBLIQUE, 1)
    header["vox_offset"] = offset
    left = offset + int(np.prod(shape, dtype=np.int64)) + more
    with gzip.open(path, "wb", compresslevel=1) as stream:
        start = header.binaryblock + (np.array([1, extension, 6], "<i4").tobytes() if extension else bytes(4))
        left -= stream.write(start)
        while left > 0:
            left -= stream.write(bytes(min(left, 2**24)))
    return path


@pytest.mark.parametrize(
    ("promised", "said"),
    [
        ({"shape": (2000, 2000, 200)}, r"2000 x 2000 x 200 voxels are more than 536,870,912; crop"),
        ({"shape": SHAPE, "extension": 2**31 - 16, "offset": 368, "more": 2**28}, "it is longer than 16 MB"),
        ({"shape": SHAPE, "offset": 2**28}, "it is longer than 16 MB"),
        ({"shape": SHAPE, "more": 2**28}, "the file holds more than its header says"),
    ],
    ids=["matrix", "extension", "offset", "behind"],
)
def test_a_small_file_that_grows_is_refused_before_it_has_grown(promised, said, tmp_path: Path) -> None:
    path = growing(tmp_path / "a.nii.gz", **promised)
    assert path.stat().st_size < 2**23
    tracemalloc.start()
    with pytest.raises(InputError, match=said):
        nifti.read_nifti(path)
    assert tracemalloc.get_traced_memory()[1] < 2**25
    tracemalloc.stop()


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_every_file_that_holds_less_than_its_header_promises_is_refused(ending: str, tmp_path: Path) -> None:
    path = save(tmp_path / f"a{ending}", ramp())
    content = gzip.decompress(path.read_bytes()) if ending == ".nii.gz" else path.read_bytes()
    for missing in (1, 2, 500, len(content) - 352):
        short = content[: len(content) - missing]
        path.write_bytes(gzip.compress(short) if ending == ".nii.gz" else short)
        with pytest.raises(InputError, match="holds fewer voxels than its header says"):
            read_volume(path)
