# SPDX-License-Identifier: Apache-2.0
"""What holds for all methods without training."""

import nibabel as nib
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

from bundle.baselines import SRGR, SSIP, Cubic, ZeroFilling
from bundle.baselines.baseline import Baseline
from bundle.kspace import project, restore_measured_magnitude, zero_fill
from bundle.metrics import psnr

METHODS = [ZeroFilling, Cubic, SSIP, SRGR]
GUIDED = [SSIP, SRGR]
sizes = st.integers(8, 33)
factors = st.sampled_from([1, 1.5, 2, 3, 4])


def smooth_pair(height: int, width: int, n: int = 1, seed: int = 0) -> torch.Tensor:
    """Two contrasts of one structure, in [0, 1]: Tensor (n, 2, H, W), float32."""
    structure = torch.rand(n, 1, height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    structure = project(structure, 1.5).clamp(0, 1)
    return torch.cat((structure, 0.9 - 0.7 * structure.square()), dim=1).float()


def degraded(pair: torch.Tensor, factor: float, magnitude: bool = True) -> torch.Tensor:
    return torch.cat((zero_fill(pair[:, :1], factor, magnitude), pair[:, 1:]), dim=1)


def real_pair(folder, target: str, reference: str, slice_index: int) -> torch.Tensor:
    """One slice of real volumes, each scaled by its maximum: Tensor (1, 2, H, W)."""
    volumes = [torch.from_numpy(nib.load(folder / name).get_fdata()).float() for name in (target, reference)]
    return torch.stack([(volume / volume.max())[..., slice_index] for volume in volumes])[None]


@given(height=sizes, width=sizes, n=st.integers(1, 3), factor=factors, method=st.sampled_from(METHODS))
@settings(deadline=None, max_examples=40)
def test_baseline_returns_one_channel_of_the_same_matrix(height, width, n, factor, method) -> None:
    output = method(factor)(smooth_pair(height, width, n))
    assert output.shape == (n, 1, height, width)
    assert output.dtype == torch.float32
    assert output.isfinite().all()


@given(height=sizes, width=sizes, magnitude=st.booleans(), method=st.sampled_from(METHODS))
@settings(deadline=None, max_examples=40)
def test_baseline_gives_the_high_res_where_all_of_k_space_was_measured(height, width, magnitude, method) -> None:
    pair = smooth_pair(height, width)
    baseline = method(1, magnitude) if method in GUIDED else method(1)
    assert_close(baseline(degraded(pair, 1)), pair[:, :1], rtol=0, atol=2e-6)


@given(height=sizes, width=sizes, factor=factors, method=st.sampled_from(GUIDED))
@settings(deadline=None, max_examples=30)
def test_guided_baseline_keeps_the_measured_block(height, width, factor, method) -> None:
    pair = degraded(smooth_pair(height, width), factor, magnitude=False)
    output = method(factor, magnitude=False)(pair)
    assert_close(project(output, factor), project(pair[:, :1], factor), rtol=0, atol=2e-6)


@pytest.mark.parametrize("method", GUIDED)
def test_guided_baseline_agrees_with_a_measured_magnitude(method) -> None:
    pair = degraded(smooth_pair(40, 37), 3)
    output = method(3)(pair)
    assert output.min() >= 0
    assert_close(output, restore_measured_magnitude(output, pair[:, :1], 3), rtol=0, atol=0.03)
    assert (output - pair[:, :1]).abs().max() > 0.1  # it is not the low-res that agrees with itself


@given(scale=st.floats(0.01, 100), factor=factors, method=st.sampled_from([ZeroFilling, Cubic, SRGR]))
@settings(deadline=None, max_examples=30)
def test_baseline_other_than_ssip_is_positively_homogeneous(scale, factor, method) -> None:
    pair = degraded(smooth_pair(21, 18), factor)
    assert_close(method(factor)(scale * pair) / scale, method(factor)(pair), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_baseline_does_not_depend_on_the_engines_precision(method) -> None:
    pair, baseline = degraded(smooth_pair(24, 19, n=2), 2), method(2)
    exact = baseline(pair)
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.inference_mode():
        assert torch.equal(baseline(pair), exact)
    assert baseline(pair.to(torch.bfloat16)).dtype == torch.float32
    assert_close(baseline(pair.double()).float(), exact, rtol=0, atol=1e-4)


class Product(Baseline):
    """A matrix product, which autocast would round to bfloat16."""

    def estimate(self, low_res: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
        return low_res @ reference.mT


def test_baseline_computes_in_float32_in_mixed_precision() -> None:
    pair = smooth_pair(24, 24)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = Product(2)(pair)
    assert torch.equal(output, pair[:, :1] @ pair[:, 1:].mT)


@pytest.mark.parametrize("method", METHODS)
def test_slices_of_a_batch_do_not_touch_each_other(method) -> None:
    pair = degraded(smooth_pair(24, 19, n=3), 3)
    pair[1, 1] *= 0.3
    assert_close(method(3)(pair)[1:2], method(3)(pair[1:2]), rtol=0, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_baseline_leaves_its_input_alone_and_has_no_state(method) -> None:
    pair, baseline = degraded(smooth_pair(24, 19), 3), method(3)
    before = pair.clone()
    baseline(pair)
    assert torch.equal(pair, before)
    assert isinstance(baseline, nn.Module)
    assert not baseline.state_dict()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("factor", [0, 0.5, "4", True, None, float("nan"), float("inf")])
def test_baseline_refuses_a_factor_that_is_none(method, factor) -> None:
    with pytest.raises(ValueError, match=r"at least 1|keeps no sample"):
        method(factor)


@pytest.mark.parametrize("shape", [(2, 24, 24), (1, 1, 24, 24), (1, 3, 24, 24)])
def test_baseline_refuses_an_image_without_two_contrasts(shape) -> None:
    with pytest.raises(ValueError, match="low-res and reference"):
        SRGR(2)(torch.rand(shape))


# Gains over zero-filling in dB on the slice named, magnitude low-res, measured with this code. At factor 2 a T1w
# reference is little help to either method: SRGR loses.
@pytest.mark.parametrize(
    ("folder", "subject", "reference", "slice_index", "method", "factor", "gain"),
    [
        ("open_ms", "sub-L12_ses-1", "T1w", 22, SSIP, 2, 0.64),
        ("open_ms", "sub-L12_ses-1", "T1w", 22, SSIP, 4, 1.02),
        ("open_ms", "sub-L12_ses-1", "T1w", 22, SRGR, 2, -0.17),
        ("open_ms", "sub-L12_ses-1", "T1w", 22, SRGR, 4, 0.82),
        ("brainweb_sim", "sub-BW05", "PDw", 90, SSIP, 2, 6.96),
        ("brainweb_sim", "sub-BW05", "PDw", 90, SSIP, 4, 3.49),
        ("brainweb_sim", "sub-BW05", "PDw", 90, SRGR, 2, 5.34),
        ("brainweb_sim", "sub-BW05", "PDw", 90, SRGR, 4, 3.74),
    ],
)
def test_guided_baseline_gains_on_zero_filling(
    shared_data, folder, subject, reference, slice_index, method, factor, gain
) -> None:
    pair = real_pair(shared_data / folder, f"{subject}_T2w.nii.gz", f"{subject}_{reference}.nii.gz", slice_index)
    low_res = degraded(pair, factor)
    before, after = (psnr(pair[:, :1], image).item() for image in (low_res[:, :1], method(factor)(low_res)))
    assert after - before == pytest.approx(gain, abs=0.02)


@pytest.mark.parametrize("factor", [2, 4])
def test_plain_zero_filling_is_ahead_of_cubic_and_of_a_window_on_real_slices(shared_data, factor) -> None:
    pair = real_pair(shared_data / "open_ms", "sub-L12_ses-1_T2w.nii.gz", "sub-L12_ses-1_T1w.nii.gz", 22)
    low_res, high_res = degraded(pair, factor), pair[:, :1]
    plain, cubic, windowed = (
        psnr(high_res, method(low_res)).item()
        for method in (ZeroFilling(factor), Cubic(factor), ZeroFilling(factor, "hann"))
    )
    assert plain > cubic > windowed
