# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from bundle.errors import InputError
from bundle.networks import VGG16Features
from bundle.networks.vgg import OXFORD_MEAN_ACTIVATION, OXFORD_PATTERN_ACTIVATION, calibration_pattern

WEIGHTS = "vgg16_imagenet_conv1_1-conv4_3_fp16.npz"


@pytest.fixture(scope="module")
def vgg(bundle_root: Path) -> VGG16Features:
    return VGG16Features(bundle_root / "models" / WEIGHTS)


@pytest.fixture(scope="module")
def torchvision_like(bundle_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Oxford weights as torchvision would hold them: RGB 0..1, standardised, hence rescaled."""
    with np.load(bundle_root / "models" / WEIGHTS) as arrays:
        state = {name: torch.from_numpy(arrays[name].astype(np.float32)) / 100 for name in arrays.files}
    state["classifier.0.weight"] = torch.zeros(1)  # torchvision's file holds the classifier too
    path = tmp_path_factory.mktemp("vgg") / "vgg16.pth"
    torch.save(state, path)
    return path


def test_features_have_the_channels_and_sizes_of_the_four_taps(vgg) -> None:
    shapes = [tuple(f.shape) for f in vgg(torch.rand(2, 1, 64, 48))]
    assert shapes == [(2, 64, 64, 48), (2, 128, 32, 24), (2, 256, 16, 12), (2, 512, 8, 6)]
    assert all((f >= 0).all() for f in vgg(torch.rand(1, 1, 32, 32)))  # taps are after ReLU


def test_features_equal_a_plain_sequential_of_the_published_layers(vgg, bundle_root) -> None:
    with np.load(bundle_root / "models" / WEIGHTS) as arrays:
        x = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
        y = 255 * x.repeat(1, 3, 1, 1) - torch.tensor([123.68, 116.779, 103.939]).view(1, 3, 1, 1)
        for index in (0, 2, "pool", 5, 7, "pool", 10, 12, 14):
            if index == "pool":
                y = torch.nn.functional.max_pool2d(y, 2)
                continue
            weight, bias = (
                torch.from_numpy(arrays[f"features.{index}.{k}"].astype(np.float32)) for k in ("weight", "bias")
            )
            y = torch.nn.functional.conv2d(y, weight, bias, padding=1).relu()
    assert_close(vgg(x)[2] * OXFORD_MEAN_ACTIVATION[2], y, rtol=1e-3, atol=1e-2)


def test_shipped_weights_are_the_published_ones_in_half_precision(vgg, shared_data) -> None:
    with np.load(shared_data.parent / "weights" / "vgg16_imagenet_conv1_1-conv4_3_rgb_fp32.npz") as arrays:
        published = torch.from_numpy(arrays["features.14.weight"])
    shipped = vgg.convolutions[6].weight * (OXFORD_MEAN_ACTIVATION[2] / OXFORD_MEAN_ACTIVATION[1])
    assert_close(shipped, published, rtol=1e-3, atol=1e-6)


def test_recorded_activations_are_those_of_the_shipped_weights(vgg) -> None:
    means = torch.stack([f.mean() for f in vgg(calibration_pattern())]) * torch.tensor(OXFORD_MEAN_ACTIVATION)
    assert_close(means, torch.tensor(OXFORD_PATTERN_ACTIVATION), rtol=1e-3, atol=0)


def test_scaled_features_have_a_mean_near_one_on_brain_slices(vgg, shared_data) -> None:
    import nibabel as nib

    voxels = nib.load(shared_data / "open_ms" / "sub-L03_ses-2_T2w.nii.gz").get_fdata(dtype=np.float32)
    slices = torch.from_numpy(voxels / voxels.max()).movedim(-1, 0)[20:30:5, None]
    assert_close(torch.stack([f.mean() for f in vgg(slices)]), torch.ones(4), rtol=0.2, atol=0)


def test_other_weights_are_scaled_by_their_own_activations(vgg, torchvision_like) -> None:
    other = VGG16Features(torchvision_like)
    pattern = calibration_pattern()
    means = [torch.stack([f.mean() for f in network(pattern)]) for network in (vgg, other)]
    assert_close(means[1], means[0], rtol=1e-3, atol=0)


def test_features_are_frozen_but_pass_gradients_to_the_image(vgg) -> None:
    assert not any(parameter.requires_grad for parameter in vgg.parameters())
    assert not vgg.train().training
    image = torch.rand(1, 1, 16, 16, requires_grad=True)
    sum(f.sum() for f in vgg(image)).backward()
    assert image.grad.abs().sum() > 0


def test_missing_weights_are_reported_with_the_remedy(tmp_path) -> None:
    with pytest.raises(InputError, match=r"none.npz: no VGG16 weights here; give --vgg_weights"):
        VGG16Features(tmp_path / "none.npz")


@pytest.mark.parametrize("name", ["broken.npz", "broken.pth"])
def test_unreadable_weights_are_reported(tmp_path, name) -> None:
    (tmp_path / name).write_bytes(b"not weights at all")
    with pytest.raises(InputError, match="cannot be read as VGG16 weights"):
        VGG16Features(tmp_path / name)


def test_weights_of_another_network_are_reported(tmp_path) -> None:
    torch.save({"layer.weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match="these are not VGG16 weights"):
        VGG16Features(tmp_path / "other.pth")
