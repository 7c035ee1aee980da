# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal.windows import hann as scipy_hann
from torch.testing import assert_close

from bundle.baselines import ZeroFilling
from bundle.baselines.unguided import hann
from bundle.kspace import block_mask, zero_fill


def test_plain_zero_filling_is_the_low_res() -> None:
    image = torch.rand(2, 2, 12, 15)
    assert torch.equal(ZeroFilling(4)(image), image[:, :1])


@given(n=st.integers(4, 60), factor=st.sampled_from([1, 1.5, 2, 3, 4]))
def test_hann_window_is_scipys_over_the_measured_block(n, factor) -> None:
    mask = block_mask(n, factor)
    kept = int(mask.sum())
    periodic = scipy_hann(kept, sym=False)  # its one is at kept // 2 for even sizes; between two samples for odd ones
    if kept % 2 == 0:
        assert_close(hann(n, factor)[mask].numpy(), periodic)
    assert hann(n, factor)[n // 2] == 1
    assert not hann(n, factor)[~mask].any()


@given(n=st.integers(4, 60), factor=st.sampled_from([1, 1.5, 2, 3, 4]))
def test_hann_window_is_symmetric_in_frequency(n, factor) -> None:
    index = torch.arange(n)
    assert_close(hann(n, factor), hann(n, factor)[(2 * (n // 2) - index) % n])


def test_hann_window_scales_each_wave_by_its_two_weights() -> None:
    rows, columns = torch.arange(24, dtype=torch.float64)[:, None], torch.arange(30, dtype=torch.float64)
    wave = torch.cos(2 * np.pi * (2 * rows / 24 - 3 * columns / 30))[None, None]
    output = ZeroFilling(2, "hann")(torch.cat((wave, wave), dim=1))
    weight = np.cos(np.pi * 2 / 12) ** 2 * np.cos(np.pi * 3 / 15) ** 2  # 12 and 15 samples are kept
    assert_close(output, weight * wave)


def test_hann_window_reduces_the_ringing_at_an_edge() -> None:
    edge = torch.zeros(1, 1, 32, 96)
    edge[..., 24:72] = 1
    low_res = zero_fill(edge, 4, magnitude=False)
    windowed = ZeroFilling(4, "hann")(torch.cat((low_res, edge), dim=1))
    assert low_res.max() > 1.05
    assert windowed.max() < 1.01


def test_zero_filling_refuses_a_window_that_does_not_exist() -> None:
    with pytest.raises(ValueError, match="choose one of none, hann"):
        ZeroFilling(2, "tukey")
