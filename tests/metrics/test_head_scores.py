# SPDX-License-Identifier: Apache-2.0
import math
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bundle.metrics import head_mask, psnr, psnr_head, ssim, ssim_head


def disc(side: int, radius: float) -> torch.Tensor:
    """Return a round mask, Tensor (side, side)."""
    at = torch.arange(side) - (side - 1) / 2
    return at[:, None] ** 2 + at**2 < radius**2


def head(n: int = 2, side: int = 64) -> torch.Tensor:
    """Return slices of noise within a disc of radius 20, air around it, Tensor (n, 1, side, side)."""
    generator = torch.Generator().manual_seed(0)
    noise = 0.3 + 0.7 * torch.rand(n, 1, side, side, generator=generator, dtype=torch.float64)
    return noise * disc(side, 20)


def test_head_is_the_disc_that_holds_tissue() -> None:
    assert torch.equal(head_mask(head())[1, 0], disc(64, 20))


def test_head_has_no_holes_and_no_gap_in_its_outline() -> None:
    slices = head()
    slices[:, :, disc(64, 17) & ~disc(64, 10)] = 0  # bone
    slices[0, :, 30:34, 32:] = 0  # a gap in the scalp, and in the brain
    assert torch.equal(head_mask(slices)[0, 0, 28:36, :40], disc(64, 20)[28:36, :40])
    assert torch.equal(head_mask(slices)[1, 0], disc(64, 20))


def test_head_leaves_out_specks_of_the_air_but_no_large_piece() -> None:
    slices = head()
    slices[0, 0, 2:4, 2:4] = 1
    slices[0, 0, 54:64, 54:64] = 1  # 100 of the disc's 1257 pixels
    mask = head_mask(slices)[0, 0]
    assert not mask[2:4, 2:4].any()
    assert mask[54:64, 54:64].all()


def test_head_keeps_a_piece_of_a_twentieth_of_the_largest_and_drops_a_smaller_one() -> None:
    slices = torch.zeros(1, 1, 64, 64)
    slices[..., 5:25, 5:25] = slices[..., 45:49, 45:50] = slices[..., 45:49, 5:9] = 1  # 400, 20 and 16 pixels
    mask = head_mask(slices)[0, 0]
    assert mask[45:49, 45:50].all()
    assert not mask[45:49, 5:9].any()


def test_head_is_closed_within_each_slice_alone() -> None:
    slices = head(3)
    slices[1] = 0
    assert head_mask(slices).flatten(1).any(dim=1).tolist() == [True, False, True]


def test_head_is_on_the_device_of_the_slices_however_they_are_stored() -> None:
    class Elsewhere(torch.Tensor):
        device = torch.device("meta")

    slices = head()
    stored = torch.complex(torch.zeros_like(slices), -slices).conj().imag  # the minus sign is not in memory
    assert torch.equal(head_mask(stored), head_mask(slices))
    assert head_mask(slices.as_subclass(Elsewhere)).device.type == "meta"


def test_head_reaches_the_edge_of_a_slice_that_cuts_it() -> None:
    assert torch.equal(head_mask(head()[..., 32:])[0, 0], disc(64, 20)[:, 32:])


def test_head_is_found_by_the_threshold_of_the_whole_volume() -> None:
    slices = head()
    slices[1] *= 0.1  # little but noise of the air
    assert head_mask(slices).flatten(1).any(dim=1).tolist() == [True, False]


def test_head_of_nothing_is_empty_and_its_scores_are_nan() -> None:
    nothing = torch.zeros(2, 1, 16, 16)
    assert not head_mask(nothing).any()
    assert psnr_head(nothing, nothing).isnan().all()
    assert ssim_head(nothing, nothing).isnan().all()


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [("open_ms/sub-L12_ses-1", 0.3, 0.55), ("open_ms_mni/sub-C19", 0.25, 0.4), ("ixi_slices/sub-IXI", 0.3, 0.6)],
)
def test_head_of_real_volumes_covers_the_signal_and_leaves_out_the_air(
    shared_data: Path, name: str, least: float, most: float
) -> None:
    volume = nib.load(shared_data / f"{name}_T2w.nii.gz").get_fdata(dtype=np.float32)
    depth = volume.shape[2]
    middle = np.moveaxis(volume[..., depth // 4 : 3 * depth // 4], -1, 0) / volume.max()
    mask = head_mask(torch.from_numpy(middle)[:, None])[:, 0].numpy()
    assert middle[mask].sum() > 0.97 * middle.sum()
    assert least < mask.mean() < most
    brightest = np.quantile(middle, 0.99)
    assert mask[middle > 0.5 * brightest].mean() > 0.99


def test_psnr_in_the_head_of_a_constant_error_is_known_and_that_of_the_slice_higher_by_the_share_of_air() -> None:
    slices = head()
    inside = disc(64, 20)
    output = slices + 0.1 * inside
    torch.testing.assert_close(psnr_head(slices, output), torch.full((2,), 20.0, dtype=torch.float64))
    gain = 10 * math.log10(inside.numel() / inside.sum().item())
    torch.testing.assert_close(
        psnr(slices, output) - psnr_head(slices, output), torch.full_like(slices[:, 0, 0, 0], gain)
    )


@pytest.mark.parametrize("error", [0.3, math.nan])
def test_scores_in_the_head_do_not_see_the_air(error: float) -> None:
    slices = head()
    output = slices.clone()
    output[..., ~disc(64, 25)] = error  # windows centred in the head reach 3 pixels beyond it
    assert psnr_head(slices, output).isposinf().all()
    torch.testing.assert_close(ssim_head(slices, output), torch.ones(2, dtype=torch.float64))
    assert not (psnr(slices, output) > 20).any()


def test_ssim_in_the_head_is_one_of_equal_images_and_below_that_of_the_slice_otherwise() -> None:
    slices = head()
    torch.testing.assert_close(ssim_head(slices, slices.clone()), torch.ones(2, dtype=torch.float64))
    output = slices + 0.2 * disc(64, 20) * torch.rand(64, 64, generator=torch.Generator().manual_seed(1))
    assert (1 - ssim_head(slices, output) > 2 * (1 - ssim(slices, output))).all()


def test_ssim_in_the_head_of_two_constants_is_their_luminance_term() -> None:
    first, second = (torch.full((1, 1, 21, 22), value, dtype=torch.float64) for value in (0.5, 0.25))
    second[..., 15:] = 0.9  # beyond the windows of the head
    mask = torch.zeros_like(first, dtype=torch.bool)
    mask[..., :12] = True
    expected = (2 * 0.5 * 0.25 + 0.01**2) / (0.5**2 + 0.25**2 + 0.01**2)
    assert ssim_head(first, second, mask).item() == pytest.approx(expected, abs=1e-12)
    mask[..., 12] = True
    assert ssim_head(first, second, mask).item() != pytest.approx(expected, abs=1e-3)


@given(st.integers(7, 24), st.integers(7, 24), st.integers(0, 1000))
def test_scores_in_a_head_that_fills_the_slice_are_those_of_the_slice(height: int, width: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    reference, noise = torch.rand(2, 3, 1, height, width, generator=generator, dtype=torch.float64).unbind()
    everywhere = torch.ones_like(reference, dtype=torch.bool)
    distorted = reference + 0.2 * noise
    torch.testing.assert_close(psnr_head(reference, distorted, everywhere), psnr(reference, distorted))
    torch.testing.assert_close(ssim_head(reference, distorted, everywhere), ssim(reference, distorted))


@pytest.mark.parametrize("score", [psnr_head, ssim_head])
def test_scores_refuse_a_head_that_is_not_of_the_slices(score) -> None:
    slices = head()
    with pytest.raises(
        ValueError, match=r"the head is torch.bool of shape \(1, 1, 64, 64\) for slices \(2, 1, 64, 64\)"
    ):
        score(slices, slices, head_mask(slices)[:1])
    with pytest.raises(ValueError, match=r"the head is torch.float64"):
        score(slices, slices, slices)
