# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from monai.data import MetaTensor
from skimage.exposure import rescale_intensity

from bundle.data.reading import read_volume
from bundle.volumes.intensity import IntensityScale, tissue_slices

VOLUMES = st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3)).flatmap(
    lambda shape: arrays(np.float32, shape, elements=st.floats(0, 4096, width=32))
)


def test_scale_of_a_magnitude_image_is_its_maximum() -> None:
    scale = IntensityScale.from_array(np.array([3.0, 0.0, 12.0], dtype=np.float32))
    assert (scale.offset, scale.scale) == (0.0, 12.0)
    np.testing.assert_array_equal(scale.normalise(np.array([3.0, 0.0, 12.0])), [0.25, 0.0, 1.0])


def test_scale_leaves_air_at_zero_where_the_minimum_is_above() -> None:
    scale = IntensityScale.from_array(np.array([2.0, 8.0]))
    np.testing.assert_array_equal(scale.normalise(np.array([2.0, 8.0])), [0.25, 1.0])


@pytest.mark.parametrize(("lowest", "offset"), [(-24.0, 0.0), (-26.0, -26.0), (-1024.0, -1024.0)])
def test_scale_clips_ringing_and_keeps_what_goes_deeper(lowest: float, offset: float) -> None:
    image = np.array([lowest, 0.0, 100.0], dtype=np.float32)
    scale = IntensityScale.from_array(image)
    assert (scale.offset, scale.scale) == (offset, 100.0 - offset)
    normalised = scale.normalise(image)
    assert normalised[0] == 0
    assert normalised[2] == 1
    np.testing.assert_allclose(normalised * scale.scale + scale.offset, image if offset else image.clip(0), atol=1e-4)


@given(VOLUMES)
def test_normalise_agrees_with_scikit_image(image: np.ndarray) -> None:
    image[0, 0, 0] = 1.0 + image.max()
    expected = rescale_intensity(image, in_range=(0.0, float(image.max())), out_range=(0.0, 1.0))
    np.testing.assert_allclose(IntensityScale.from_array(image).normalise(image), expected, atol=1e-7)


@pytest.mark.parametrize("per", ["volume", "slice"])
@given(image=VOLUMES)
def test_normalise_reaches_from_0_to_1_and_can_be_undone(per: str, image: np.ndarray) -> None:
    image[0, 0] = 1.0 + image.max()
    scale = IntensityScale.from_array(image, per)  # type: ignore[arg-type]
    normalised = scale.normalise(image)
    assert normalised.dtype == np.float32
    assert normalised.min() >= 0
    assert normalised.max() == 1
    np.testing.assert_allclose(normalised * scale.scale + scale.offset, image, rtol=3e-7, atol=1e-30)


def test_undone_normalisation_gives_back_every_16_bit_integer() -> None:
    image = np.arange(65536, dtype=np.float32).reshape(256, 256, 1)
    scale = IntensityScale.from_array(image)
    np.testing.assert_array_equal(np.rint(scale.normalise(image) * scale.scale + scale.offset), image)


def test_normalise_is_indifferent_to_the_unit() -> None:
    image = np.random.default_rng(0).random((17, 17, 3), dtype=np.float32)
    results = [IntensityScale.from_array(image * unit).normalise(image * unit) for unit in (1, 1000)]
    np.testing.assert_allclose(results[0], results[1], atol=1e-7)


def test_scale_per_slice_measures_each_slice() -> None:
    image = np.random.default_rng(0).random((4, 5, 6), dtype=np.float32)
    scale = IntensityScale.from_array(image, "slice")
    for index, part in enumerate(np.moveaxis(scale.normalise(image), -1, 0)):
        alone = image[..., index]
        np.testing.assert_array_equal(part, IntensityScale.from_array(alone).normalise(alone))


def test_scale_per_slice_leaves_an_empty_slice_alone() -> None:
    image = np.zeros((4, 4, 2), dtype=np.float32)
    image[1, 1, 1] = 5
    scale = IntensityScale.from_array(image, "slice")
    np.testing.assert_array_equal(np.ravel(scale.scale), [1, 5])
    np.testing.assert_array_equal(scale.normalise(image)[..., 0], 0)


@pytest.mark.parametrize("per", ["volume", "slice"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_scale_takes_tensors_and_keeps_type_and_metadata(per: str, dtype: torch.dtype) -> None:
    values = torch.rand(1, 18, 17, 3, generator=torch.Generator().manual_seed(0)) * 900
    image = MetaTensor(values, meta={"filename_or_obj": "T2w.nii.gz"})
    scale = IntensityScale.from_array(image, per)  # type: ignore[arg-type]
    result = scale.normalise(image.to(dtype))
    assert isinstance(result, MetaTensor)
    assert result.dtype == dtype
    assert result.meta["filename_or_obj"] == "T2w.nii.gz"
    expected = IntensityScale.from_array(values.numpy(), per).normalise(values.numpy())  # type: ignore[arg-type]
    np.testing.assert_allclose(scale.normalise(image).numpy(), expected, rtol=3e-7)


def test_scale_refuses_an_unknown_unit() -> None:
    with pytest.raises(ValueError, match='per is \'patch\': choose "volume" or "slice"'):
        IntensityScale.from_array(np.ones((2, 2)), "patch")  # type: ignore[arg-type]


def disc(radius: float) -> np.ndarray:
    y, x = np.mgrid[-32:32, -32:32]
    return (np.hypot(x, y) < radius).astype(np.float32)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_tissue_slices_counts_against_the_fullest_slice(axis: int) -> None:
    # Areas relative to the fullest: 0, 1/16, 1/4, 1.
    volume = 500 * np.stack([disc(0), disc(7.5), disc(15), disc(30)], axis=axis)
    assert tissue_slices(volume, axis).tolist() == [False, False, True, True]


def test_tissue_slices_does_not_depend_on_margin_or_unit() -> None:
    volume = np.stack([0.1 * disc(30), disc(7.5), disc(15), disc(30)], axis=-1)
    padded = np.pad(volume, ((200, 200), (0, 300), (0, 0)))
    np.testing.assert_array_equal(tissue_slices(1e-3 * padded), tissue_slices(volume))


def test_tissue_slices_takes_noise_for_air_and_dark_tissue_for_tissue() -> None:
    generator = np.random.default_rng(0)
    volume = np.stack([disc(0), 0.25 * disc(30), 0.25 * disc(30) + 0.75 * disc(10)], axis=-1)
    noise = 0.04 * generator.standard_normal((2, *volume.shape))
    assert tissue_slices(np.hypot(volume + noise[0], noise[1])).tolist() == [False, True, True]


def test_tissue_slices_keeps_the_only_slice() -> None:
    assert tissue_slices(disc(20)[..., None]).tolist() == [True]


def test_tissue_slices_of_nothing_are_none() -> None:
    assert tissue_slices(np.zeros((8, 8, 3))).tolist() == [False] * 3


@pytest.mark.parametrize(
    ("path", "left_out"),
    [
        # Looked at one by one: the signal fades at L03's lowest two slices; below the cerebellum and
        # above the vertex of a brain-extracted volume; the top of BrainWeb's scalp.
        ("open_ms/sub-L01_ses-1_T2w", []),
        ("open_ms/sub-L03_ses-2_T2w", [0, 1]),
        ("open_ms/sub-L12_ses-1_T2w", []),
        ("open_ms/sub-L01_ses-2_FLAIR", [0, 43]),
        ("ixi_slices/sub-IXI_T2w", []),
        ("open_ms_mni/sub-C07_T2w", [*range(29), *range(137, 182)]),
        ("brainweb_sim/sub-BW05_T2w", range(166, 181)),
    ],
)
def test_tissue_slices_of_real_volumes_leave_out_the_empty_ends(
    shared_data: Path, path: str, left_out: list[int]
) -> None:
    volume = read_volume(shared_data / f"{path}.nii.gz")
    assert np.flatnonzero(~tissue_slices(volume.voxels, 2)).tolist() == list(left_out)


def test_scale_of_real_volumes_clips_only_ringing(shared_data: Path) -> None:
    for path in [*shared_data.glob("open_ms*/*ses-1*"), *shared_data.glob("ixi_slices/*")]:
        voxels = read_volume(path).voxels
        scale = IntensityScale.from_array(voxels)
        normalised = scale.normalise(voxels)
        assert scale.offset == 0
        assert (normalised.min(), normalised.max()) == (0, 1)
        np.testing.assert_array_equal(np.rint(normalised * scale.scale + scale.offset), voxels.clip(0))


@pytest.mark.parametrize("per", ["volume", "slice"])
def test_a_robust_scale_is_the_maximum_but_where_extremes_would_set_it(per) -> None:
    ramp = np.stack([np.linspace(0, 1000, 2500), np.linspace(0, 10, 2500)], axis=-1).astype(np.float32)[None]
    usual, robust = (IntensityScale.from_array(ramp, per, robust=way) for way in (False, True))
    np.testing.assert_array_equal(robust.scale, usual.scale)
    ramp[0, 100] = 30000.0, 500.0
    scales = IntensityScale.from_array(ramp, per, robust=True).scale
    np.testing.assert_allclose(scales, 2000 if per == "volume" else [[[2000, 20]]], rtol=2e-3)
    assert np.max(IntensityScale.from_array(ramp, per).scale) == 30000
    assert IntensityScale.from_array(np.zeros((4, 4, 1)), "volume", robust=True).scale == 1
