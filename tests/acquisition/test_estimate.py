# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import pytest

from bundle.acquisition import AxisEstimate, KSpaceAxis, Scan, SliceAxis, zero_filled_by

AXIS = AxisEstimate(100, 2.0, 0.01)


@pytest.mark.parametrize(
    ("rows", "columns", "factor"),
    [
        (AXIS, AXIS, 2.0),
        (AXIS, replace(AXIS, factor=2.4), 2.4),
        (replace(AXIS, factor=2.4), AXIS, 2.4),
        (AXIS, replace(AXIS, factor=2.6), 0.0),
        (AXIS, replace(AXIS, window="hann"), 0.0),
        (replace(AXIS, window=None), AXIS, 0.0),
        (AXIS, replace(AXIS, deviation=0.05), 0.0),
        (replace(AXIS, partial=0.75), AXIS, 0.0),
        (replace(AXIS, factor=1.0), replace(AXIS, factor=1.0), 0.0),
    ],
)
def test_the_larger_factor_is_known_where_both_axes_are_surely_cut_without_a_window(rows, columns, factor) -> None:
    assert zero_filled_by(rows, columns) == factor


def test_acquisition_of_thick_slices_is_no_plain_zero_filling() -> None:
    assert Scan(KSpaceAxis(64, 2), KSpaceAxis(48, 2)).zero_filled_by == pytest.approx(2)
    assert Scan(SliceAxis(64, 2, 2), KSpaceAxis(48, 2)).zero_filled_by == 0
