# SPDX-License-Identifier: Apache-2.0
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.transforms import Compose
from torch.testing import assert_close

from bundle.data import SliceStack
from bundle.data.slice_stack import split_channels
from bundle.errors import InputError
from bundle.keys import CASE, HIGH_RES, IMAGE, LOW_RES, REFERENCE, SUBJECT
from bundle.transforms import LoadPaird, NormaliseIntensityd, SlicesLastd, StackContrastsd, ZeroFilld


class Counting(LoadPaird):
    """Count how often a pair is read."""

    n_reads = 0

    def __call__(self, data):
        type(self).n_reads += 1
        return super().__call__(data)


@pytest.fixture
def pairs(tmp_path: Path) -> list[dict[str, str]]:
    random = np.random.default_rng(0)
    found = []
    for name, shape in (("a", (24, 20, 3)), ("b", (18, 26, 2))):
        paths = {key: str(tmp_path / f"{name}_{key}.nii.gz") for key in (IMAGE, REFERENCE)}
        for path in paths.values():
            nib.save(nib.Nifti1Image(random.random(shape).astype(np.float32), np.diag([1, 1, 3, 1.0])), path)
        found.append({**paths, SUBJECT: name, CASE: f"sub-{name}"})
    return found


def preprocessing(factor: float = 2, load: LoadPaird | None = None) -> Compose:
    return Compose([load or LoadPaird(), SlicesLastd(), NormaliseIntensityd(), ZeroFilld(factor), StackContrastsd()])


def test_stack_holds_every_slice_of_every_volume_padded_to_one_size(pairs) -> None:
    stack = SliceStack(pairs, preprocessing())
    assert stack.voxels.shape == (5, 3, 24, 26)
    assert stack.sizes.tolist() == [[24, 20]] * 3 + [[18, 26]] * 2
    assert (stack.voxels[0, :, :, 20:] == 0).all()


def test_stack_gives_back_what_preprocessing_made_to_half_precision(pairs) -> None:
    stack = SliceStack(pairs, preprocessing())
    item = preprocessing()(pairs[1])
    height, width = stack.sizes[4].tolist()
    found = {key: part[0] for key, part in split_channels(stack.voxels[4:5, :, :height, :width].float()).items()}
    assert_close(found[IMAGE], item[IMAGE].as_tensor()[..., 1], atol=1e-3, rtol=1e-3)
    assert_close(found[HIGH_RES], item[HIGH_RES].as_tensor()[..., 1], atol=1e-3, rtol=1e-3)
    assert_close(found[IMAGE][:1], item[LOW_RES].as_tensor()[..., 1], atol=1e-3, rtol=1e-3)


def test_cache_serves_a_second_start_without_reading_the_volumes(pairs, tmp_path) -> None:
    first = SliceStack(pairs, preprocessing(), cache_dir=tmp_path / "cache")
    Counting.n_reads = 0
    SliceStack(pairs, preprocessing(load=Counting()), cache_dir=tmp_path / "other")
    assert Counting.n_reads == 2
    again = SliceStack(pairs, preprocessing(load=Counting()), cache_dir=tmp_path / "other")
    assert Counting.n_reads == 2
    assert torch.equal(first.voxels, again.voxels)


def test_cache_is_renewed_when_a_file_or_the_preprocessing_changes(pairs, tmp_path) -> None:
    cache = tmp_path / "cache"
    before = SliceStack(pairs, preprocessing(), cache_dir=cache).voxels
    assert not torch.equal(SliceStack(pairs, preprocessing(factor=4), cache_dir=cache).voxels, before)
    image = nib.load(pairs[0][IMAGE])
    nib.save(nib.Nifti1Image(image.get_fdata(dtype=np.float32)[::-1].copy(), image.affine), pairs[0][IMAGE])
    os.utime(pairs[0][IMAGE], ns=(1, 1))
    assert not torch.equal(SliceStack(pairs, preprocessing(), cache_dir=cache).voxels, before)


def test_stack_refuses_an_empty_training_set() -> None:
    with pytest.raises(InputError, match="no pairs to train on"):
        SliceStack([], preprocessing())


def test_a_damaged_file_of_the_cache_is_made_anew(pairs, tmp_path, caplog) -> None:
    cache = tmp_path / "cache"
    before = SliceStack(pairs, preprocessing(), cache_dir=cache).voxels
    for file in cache.iterdir():
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 64
        file.write_bytes(content)
    assert torch.equal(SliceStack(pairs, preprocessing(), cache_dir=cache).voxels, before)
    assert caplog.text.count("the file is damaged") == 2
    caplog.clear()
    assert torch.equal(SliceStack(pairs, preprocessing(), cache_dir=cache).voxels, before)
    assert "damaged" not in caplog.text
