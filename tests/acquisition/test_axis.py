# SPDX-License-Identifier: Apache-2.0
"""Matrices of one axis against zero-filling, closed forms and published windows."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import windows

from bundle.acquisition.axis import KSpaceAxis, SliceAxis, circulant
from bundle.errors import InputError
from bundle.kspace import project

SIZES = st.integers(8, 40)
FACTORS = st.floats(1, 4)


@settings(deadline=None)
@given(SIZES, FACTORS)
def test_matrix_of_a_box_is_the_projection_but_for_an_unpaired_frequency(size: int, factor: float) -> None:
    image = torch.rand(size, 3, dtype=torch.float64)
    kept = round(size / factor)
    if kept % 2 == 0 and kept < size:
        return  # holds a frequency without its partner; test_scan compares magnitudes there
    found = KSpaceAxis(size, factor).matrix().real @ image
    torch.testing.assert_close(found, project(image.mT[:, None], 1, factor)[:, 0].mT, atol=1e-12, rtol=0)


@settings(deadline=None)
@given(SIZES, FACTORS, st.sampled_from(["box", "tukey", "hann", "hamming", "fermi", "gaussian"]))
def test_matrix_multiplies_each_frequency_by_the_response(size: int, factor: float, window: str) -> None:
    axis = KSpaceAxis(size, factor, window, 0.4)  # type: ignore[arg-type]
    frequency = size // 3 - size // 2
    wave = torch.exp(2j * math.pi * frequency * torch.arange(size, dtype=torch.float64) / size)
    response = axis.response()[frequency + size // 2]
    torch.testing.assert_close(axis.matrix().to(wave) @ wave, response * wave, atol=1e-10, rtol=0)


@settings(deadline=None)
@given(SIZES, FACTORS)
def test_matrix_of_a_symmetric_response_is_self_adjoint(size: int, factor: float) -> None:
    matrix = KSpaceAxis(size, factor, "hann").matrix()
    torch.testing.assert_close(matrix, matrix.mH, atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    ("window", "taper", "reference"),
    [
        ("hann", 1.0, windows.hann(33)),
        ("hamming", 1.0, windows.hamming(33)),
        ("tukey", 0.5, windows.tukey(33, 0.5)),
        ("gaussian", 1.0, windows.gaussian(33, 8)),
        ("box", 1.0, np.ones(33)),
    ],
)
def test_window_is_that_of_scipy(window: str, taper: float, reference: np.ndarray) -> None:
    # 32 of 64 samples are kept: centred frequencies -16 to 15, and the window is 33 long from edge to edge
    response = KSpaceAxis(64, 2, window, taper).response()  # type: ignore[arg-type]
    torch.testing.assert_close(response[16:48], torch.from_numpy(reference[:32]), atol=1e-12, rtol=0)
    assert response[:16].abs().sum() + response[48:].abs().sum() == 0


def test_fermi_window_is_one_half_where_its_taper_says() -> None:
    response = KSpaceAxis(400, 2, "fermi", 0.1).response()
    assert response[200 + 90] == pytest.approx(0.5)
    assert response[200] == pytest.approx(1, abs=1e-8)


@pytest.mark.parametrize("partial", [0.75, -0.75])
def test_partial_fourier_leaves_out_one_side(partial: float) -> None:
    response = KSpaceAxis(64, 2, partial=partial).response()
    kept = response.nonzero().flatten() - 32
    expected = (-16, 8) if partial > 0 else (-8, 15)
    assert (int(kept.min()), int(kept.max())) == expected


def test_part_of_the_matrix_is_part_of_the_whole() -> None:
    axis = KSpaceAxis(21, 2.2, partial=0.7)
    torch.testing.assert_close(axis.matrix(4, 9), axis.matrix()[4:13])


def test_circulant_matrix_convolves() -> None:
    kernel, image = torch.rand(2, 11, dtype=torch.float64)
    convolved = torch.fft.ifft(torch.fft.fft(kernel) * torch.fft.fft(image)).real
    torch.testing.assert_close(circulant(kernel, 0, 11) @ image, convolved)


@pytest.mark.parametrize("profile", ["box", "trapezoid", "gaussian"])
@pytest.mark.parametrize(("spacing", "thickness", "first"), [(4, 3, 1.5), (2.5, 3, 0), (5, 5, 2)])
def test_slices_show_a_slope_as_it_is(profile: str, spacing: float, thickness: float, first: float) -> None:
    axis = SliceAxis(60, spacing, thickness, first, profile)  # type: ignore[arg-type]
    slope = torch.arange(60, dtype=torch.float64)
    inner = slice(20, 40)  # further out profiles are cut, and nothing lies beyond the last slice
    torch.testing.assert_close((axis.matrix() @ slope)[inner], slope[inner], atol=3e-3, rtol=0)
    torch.testing.assert_close(axis.matrix() @ torch.ones(60).double(), torch.ones(60).double())


@pytest.mark.parametrize(
    ("profile", "deviation"), [("box", 12**-0.5), ("trapezoid", (10 / 9 / 12) ** 0.5), ("gaussian", 0.4247)]
)
def test_profile_has_its_width(profile: str, deviation: float) -> None:
    axis = SliceAxis(401, 200, 60, 200, profile)  # type: ignore[arg-type]
    weights, places = axis.sampling()[0], torch.arange(401) - 200.0
    assert float((weights * places**2).sum()) ** 0.5 == pytest.approx(60 * deviation, rel=2e-3)
    half = float(weights.max()) / 2
    assert int((weights >= half - 1e-9).sum()) == pytest.approx(60, abs=2)


def test_slices_as_thin_as_voxels_are_the_voxels() -> None:
    matrix = SliceAxis(20, 1, 1, 0, "box").matrix()
    torch.testing.assert_close(matrix, torch.eye(20, dtype=torch.float64), atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    "make",
    [
        lambda: KSpaceAxis(32, 2, "welch"),  # type: ignore[arg-type]
        lambda: KSpaceAxis(32, 2, partial=0.5),
        lambda: KSpaceAxis(32, 2, "tukey", 0),
        lambda: SliceAxis(32, 20, 20, 15),
        lambda: SliceAxis(32, 4, 0),
        lambda: SliceAxis(32, 4, 4, 0, "round"),  # type: ignore[arg-type]
    ],
)
def test_bad_axis_is_refused(make) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError):
        make()
