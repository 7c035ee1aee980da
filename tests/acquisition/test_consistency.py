# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from bundle.acquisition import AxisEstimate, KSpaceAxis, Scan, scan
from bundle.acquisition.consistency import Consistency, known_response
from bundle.kspace import restore_measured, restore_measured_magnitude, zero_fill

SIZES = st.integers(19, 40)
FACTORS = st.floats(1, 4.6)


def pair(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(2, 2, 1, *shape, generator=torch.Generator().manual_seed(seed))


def head(height: int = 96, width: int = 90) -> torch.Tensor:
    """Return a slice of tissue with texture and dark spots in air, (1, 1, H, W), double."""
    rows, columns = torch.linspace(-1, 1, height)[:, None], torch.linspace(-1, 1, width)
    texture = torch.nn.functional.avg_pool2d(torch.rand(1, 1, height, width, generator=torch.Generator()), 7, 1, 3)
    return ((rows**2 + columns**2 < 0.5) * (0.4 + texture)).double()


def estimates(shape: tuple[int, ...], *axis) -> tuple[AxisEstimate, AxisEstimate]:
    return AxisEstimate(shape[0], *axis), AxisEstimate(shape[1], *axis)


def mse(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).square().mean())


@settings(deadline=None)
@given(height=SIZES, width=SIZES, rows=FACTORS, columns=FACTORS, magnitude=st.booleans())
def test_a_box_without_noise_is_the_projection(height, width, rows, columns, magnitude) -> None:
    output, other = pair(height, width)
    low_res = zero_fill(other, rows, magnitude, columns)
    consistency = Consistency(AxisEstimate(height, rows), AxisEstimate(width, columns), magnitude)
    restore = restore_measured_magnitude if magnitude else restore_measured
    expected = restore(output, low_res, rows, column_factor=columns)
    assert_close(consistency.corrected(output, low_res), expected, atol=2e-6, rtol=0)


@settings(deadline=None)
@given(
    shape=st.tuples(SIZES, SIZES),
    axis=st.tuples(FACTORS, st.sampled_from([0.0, 0.05, 0.2]), st.sampled_from(["box", "tukey", "hann", "fermi"])),
    seed=st.integers(0, 5),
)
def test_exact_data_never_raise_the_error_whatever_the_window(shape, axis, seed) -> None:
    truth, output = pair(*shape, seed=seed).double()
    consistency = Consistency(*estimates(shape, *axis), magnitude=False)
    better = consistency.restored(output, consistency.acquired(truth))
    assert mse(better, truth) <= mse(output, truth) * (1 + 1e-12)


@settings(deadline=None)
@given(shape=st.tuples(SIZES, SIZES), factor=FACTORS, deviation=st.sampled_from([0.0, 0.1]))
def test_the_correction_and_the_acquisition_are_self_adjoint(shape, factor, deviation) -> None:
    a, b = pair(*shape).double()
    consistency = Consistency(*estimates(shape, factor, deviation, "hann"), magnitude=False)
    for operator in (consistency.acquired, lambda x: consistency.restored(x, torch.zeros_like(x))):
        assert_close((operator(a) * b).sum(), (a * operator(b)).sum())


@pytest.mark.parametrize("window", ["box", "hann", "tukey"])
@pytest.mark.parametrize("shape", [(32, 40), (33, 39)])
def test_the_acquisition_is_that_of_the_scanner(window, shape) -> None:
    image = head(*shape)
    axes = [KSpaceAxis(n, n / 13, window, 0.5) for n in shape]  # all samples of an odd block have their partners
    consistency = Consistency(*(AxisEstimate(n, n / 13, 0.0, window, 0.5) for n in shape))
    scanned = scan(image[0, 0], Scan(*axes))
    assert_close(consistency.acquired(image)[0, 0].abs(), scanned)


def test_a_window_is_taken_back_where_it_is_known() -> None:
    truth = head()
    shape = truth.shape[-2:]
    low_res = scan(truth[0, 0], Scan(*(KSpaceAxis(n, 2, "hann") for n in shape)))[None, None]
    consistency = Consistency(*estimates(shape, 2.0, 0.0, "hann"))
    assert mse(consistency.restored(low_res, low_res), truth) < 0.6 * mse(low_res, truth)


def test_trust_ends_before_the_edge_of_the_block_by_the_deviations_of_the_factor() -> None:
    window, trust = known_response(AxisEstimate(200, 2, 0.1))
    frequency = (torch.arange(200) - 100).abs()  # the block ends at 50, a deviation is 5
    assert (window[frequency < 50] == 1).all()
    assert (trust[frequency <= 35] == 1).all()
    assert (trust[frequency >= 45] == 0).all()
    assert_close(trust[frequency == 40], torch.full((2,), 0.5, dtype=torch.float64))


@pytest.mark.parametrize("size", [40, 41])
def test_of_partial_fourier_the_symmetric_core_alone_is_known(size, monkeypatch) -> None:
    lopsided = KSpaceAxis(size, 2, partial=0.75)
    monkeypatch.setattr(AxisEstimate, "axis", lambda _: lopsided)
    window, trust = known_response(AxisEstimate(size, 2))
    frequency = (torch.arange(size) - size // 2).abs()
    assert torch.equal(window > 0, frequency <= 5)
    assert torch.equal(trust > 0, frequency <= 5)


def test_a_whole_axis_is_trusted_however_unsure_and_an_unknown_window_never() -> None:
    assert (known_response(AxisEstimate(40, 1, 0.3))[1] == 1).all()
    for factor in (1, 2):
        assert not known_response(AxisEstimate(40, factor, window=None))[1].any()


def test_nothing_is_put_back_where_the_window_is_not_known() -> None:
    output, low_res = pair(30, 30)
    unknown, known = AxisEstimate(30, 2, window=None), AxisEstimate(30, 2)
    assert torch.equal(Consistency(known, unknown).restored(output, low_res), output)


@pytest.mark.parametrize("deviation", [0.02, 0.1])
@pytest.mark.parametrize("error", [-1.0, 1.0])
def test_a_factor_that_is_wrong_by_a_deviation_does_no_harm(deviation, error) -> None:
    truth = head()
    shape = truth.shape[-2:]
    low_res = zero_fill(truth, 3)
    output = 0.7 * truth + 0.3 * zero_fill(truth, 2)  # sharper than the low-res in its block already
    consistency = Consistency(*estimates(shape, 3 * (1 + error * deviation), deviation))
    assert mse(consistency.restored(output, low_res), truth) <= mse(output, truth)


def test_noise_is_not_put_back() -> None:
    truth = head()
    shape = truth.shape[-2:]
    generator = torch.Generator().manual_seed(0)
    noise = 0.05 * torch.randn(2, *shape, generator=generator).double()
    low_res = scan(truth[0, 0], Scan(*(KSpaceAxis(n, 1.2) for n in shape), noise))[None, None]
    consistency = Consistency(*estimates(shape, 1.2))
    output = truth * (1 + 0.01 * torch.randn(1, 1, *shape, generator=generator))
    plain, cautious = consistency.corrected(output, low_res), consistency.restored(output, low_res)
    assert mse(plain, truth) > 2 * mse(output, truth)
    assert mse(cautious, truth) < 1.05 * mse(output, truth)


def test_no_ringing_is_put_into_air_that_the_output_knows() -> None:
    truth = head()
    consistency = Consistency(*estimates(truth.shape[-2:], 3.0))
    low_res = zero_fill(truth, 3)
    output = torch.where(truth > 0, low_res, 0)
    plain, kept = consistency.corrected(output, low_res), consistency.restored(output, low_res)
    sure = (truth == 0) & (low_res < 0.3)
    assert plain[sure].max() > 0.05
    assert kept[sure].max() == 0
    assert mse(kept, truth) < mse(plain, truth)


def test_dark_spots_of_a_body_without_air_are_no_noise() -> None:
    body = 0.6 + 0.4 * torch.rand(1, 1, 96, 96, generator=torch.Generator().manual_seed(0)).double()
    body[..., 40:56, 8:88] = 0.2  # a dark structure ...
    body[..., 47:50, 8:88] = 0.005  # ... and what looks like air within it
    consistency = Consistency(*estimates(body.shape[-2:], 2.0))
    low_res = zero_fill(body, 2)
    output = torch.where(body > 0.1, low_res, 0)
    restored = consistency.restored(output, low_res)
    assert_close(restored, consistency.corrected(output, low_res))
    assert mse(restored, body) < mse(output, body)


def test_noise_that_the_output_shows_as_well_is_put_back() -> None:
    noise = 0.03 * torch.randn(2, 96, 96, generator=torch.Generator().manual_seed(0)).double()
    truth = (head(96, 96) + noise[0]).hypot(noise[1])
    low_res = zero_fill(truth, 1.5)
    output = (0.98 * low_res - 0.005).clamp(min=0)
    consistency = Consistency(*estimates(truth.shape[-2:], 1.5))
    restored = consistency.restored(output, low_res)
    assert_close(restored, consistency.corrected(output, low_res))
    assert mse(restored, truth) < mse(output, truth)


def test_what_the_low_res_shows_as_tissue_comes_back_where_the_output_has_lost_it() -> None:
    truth = head()
    low_res = zero_fill(truth, 2)
    output = low_res.clone()
    lost = (..., slice(42, 48), slice(42, 48))
    output[lost] = 0
    consistency = Consistency(*estimates(truth.shape[-2:], 2.0))
    assert consistency.restored(output, low_res)[lost].mean() > 0.3 * truth[lost].mean()


def test_slices_are_restored_each_by_itself() -> None:
    output, low_res = pair(40, 44)
    output[0, :, :10] = 0  # air
    consistency = Consistency(AxisEstimate(40, 2), AxisEstimate(44, 2))
    alone = torch.cat([consistency.restored(output[i : i + 1], low_res[i : i + 1]) for i in range(2)])
    assert_close(consistency.restored(output, low_res), alone)
