# SPDX-License-Identifier: Apache-2.0
"""Whatever a header says, reading ends with a usable volume or one sentence: never a traceback, a hang or a giant."""

import gzip
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bundle.data.reading import read_volume
from bundle.errors import InputError
from bundle.volumes.geometry import Volume
from bundle.volumes.nifti import write_volume

SHAPE = (19, 18, 3)
MEMORY_LIMIT = 64 << 20  # the file is 4 KiB; a header may not make the reader take more than this
FUZZ = settings(
    max_examples=100, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
FIELDS = [name for name in nib.Nifti1Header.template_dtype.names if name != "magic"]


def content() -> bytes:
    voxels = np.random.default_rng(0).integers(0, 900, SHAPE, dtype=np.int16)
    image = nib.Nifti1Image(voxels, np.diag([0.6, -0.6, 3.0, 1.0]))
    image.set_qform(image.affine, 1)
    return image.to_bytes()


def read_measured(path: Path) -> Volume | InputError:
    """Read a file within the limit of memory; return the volume, or the sentence that refuses it."""
    tracemalloc.start()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return read_volume(path)
    except InputError as error:
        return error
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < MEMORY_LIMIT


def holds(path: Path) -> None:
    """Read a file, and write what was read: either works, or one sentence says why not."""
    volume = read_measured(path)
    if isinstance(volume, InputError):
        assert str(path) in str(volume)
        assert "\n" not in str(volume)
        return
    assert volume.voxels.ndim == 3
    assert volume.voxels.dtype == np.float32
    assert np.isfinite(volume.voxels).all()
    assert np.isfinite(volume.affine).all()
    assert min(volume.spacing) > 0
    result = path.with_name("result.nii")
    write_volume(result, volume.voxels, volume)
    again = read_volume(result)
    np.testing.assert_array_equal(again.voxels, volume.voxels)
    np.testing.assert_allclose(again.affine, volume.affine, rtol=1e-6)


@FUZZ
@given(st.lists(st.tuples(st.integers(0, 351), st.integers(0, 255)), min_size=1, max_size=6))
@example([(40, 7)])  # seven dimensions
@example([(43, 0x7F), (45, 0x7F), (47, 0x7F)])  # 32767 voxels an axis
@example([(255, 0xFF), (254, 0xFF)])  # form codes out of range
def test_a_header_with_wrong_bytes_is_read_or_refused(tmp_path: Path, changes: list[tuple[int, int]]) -> None:
    damaged = bytearray(content())
    for place, value in changes:
        damaged[place] = value
    (tmp_path / "fuzzed.nii").write_bytes(damaged)
    holds(tmp_path / "fuzzed.nii")


def values(name: str) -> st.SearchStrategy[np.ndarray]:
    """Return values of one field of the header, odd ones among them."""
    field = nib.Nifti1Header.template_dtype[name]
    base = field.base
    if base.kind == "S":
        return st.binary(max_size=field.itemsize).map(lambda text: np.array(text, dtype=base))
    if base.kind in "iu":
        limits = np.iinfo(base)
        number: st.SearchStrategy = st.one_of(st.integers(limits.min, limits.max), st.integers(-1, 8))
        number = number.filter(lambda value: limits.min <= value <= limits.max)
    else:
        number = st.one_of(st.floats(width=32), st.sampled_from([0.0, -0.0, -1.0, 1e-38, 3e38, np.nan, np.inf]))
    size = int(np.prod(field.shape, dtype=int))
    return st.lists(number, min_size=size, max_size=size).map(lambda n: np.array(n, dtype=base).reshape(field.shape))


@FUZZ
@given(st.data())
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_header_with_odd_fields_is_read_or_refused(tmp_path: Path, pack: Callable, data: st.DataObject) -> None:
    raw = content()
    header = np.frombuffer(raw[:348], dtype=nib.Nifti1Header.template_dtype).copy()
    for name in data.draw(st.lists(st.sampled_from(FIELDS), min_size=1, max_size=3, unique=True)):
        header[name] = data.draw(values(name), label=name)
    (tmp_path / "fuzzed.nii.gz").write_bytes(pack(header.tobytes() + raw[348:]))
    holds(tmp_path / "fuzzed.nii.gz")


@FUZZ
@given(st.integers(0, 400), st.booleans())
def test_a_file_cut_anywhere_is_refused(tmp_path: Path, length: int, packed: bool) -> None:
    whole = gzip.compress(content()) if packed else content()
    (tmp_path / "cut.nii.gz").write_bytes(whole[:length])
    with pytest.raises(InputError, match=r"cut\.nii\.gz"):
        read_volume(tmp_path / "cut.nii.gz")


@pytest.mark.parametrize(
    "dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "float32", "float64"]
)
@pytest.mark.parametrize("endian", ["<", ">"])
def test_every_type_and_byte_order_is_read(tmp_path: Path, dtype: str, endian: str) -> None:
    voxels = np.random.default_rng(1).integers(0, 120, SHAPE).astype(dtype)
    header = nib.Nifti1Header(endianness=endian)
    header.set_data_dtype(np.dtype(dtype).newbyteorder(endian))
    nib.save(nib.Nifti1Image(voxels, np.eye(4), header), tmp_path / "volume.nii.gz")
    np.testing.assert_array_equal(read_volume(tmp_path / "volume.nii.gz").voxels, voxels.astype(np.float32))


def test_a_negative_slope_turns_the_intensities_as_the_standard_says(tmp_path: Path) -> None:
    voxels = np.arange(np.prod(SHAPE)).reshape(SHAPE).astype(np.int16)
    image = nib.Nifti1Image(voxels, np.eye(4))
    image.header.set_slope_inter(-2.0, 5000.0)
    nib.save(image, tmp_path / "negative.nii.gz")
    np.testing.assert_array_equal(read_volume(tmp_path / "negative.nii.gz").voxels, 5000.0 - 2.0 * voxels)
