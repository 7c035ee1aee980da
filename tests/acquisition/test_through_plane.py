# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from scipy.optimize import lsq_linear
from torch import Tensor

from bundle.acquisition import AxisEstimate, Consistency, KSpaceAxis, SliceAxis, ThroughPlane
from bundle.acquisition.through_plane import LAMBDA

AXES = [
    SliceAxis(24, 4, 4, 1.5),
    SliceAxis(24, 6, 5, 2.5, "box"),
    SliceAxis(25, 25 / 7, 3, (25 / 7 - 1) / 2, "gaussian"),
]
WHOLE = Consistency(AxisEstimate(9), AxisEstimate(10))


def head(size: int) -> Tensor:
    return 0.2 + torch.rand(1, 9, 10, size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("axis", AXES)
def test_the_spline_through_slices_gives_them_back(axis: SliceAxis) -> None:
    known = ThroughPlane(axis)
    slices = known.slices(head(axis.size))
    torch.testing.assert_close(known.measured(known.interpolated(slices)), slices)


@pytest.mark.parametrize("axis", AXES)
def test_what_was_measured_is_put_back_by_the_least_squares(axis: SliceAxis) -> None:
    """Against a solver of ||S x' - y||^2 + lambda ||x' - x||^2."""
    known, sampling = ThroughPlane(axis), axis.sampling()
    truth, output = head(axis.size), head(axis.size).flip(0, 1, 2, 3)
    found = known.restored(output, known.interpolated(known.slices(truth)), WHOLE)
    weight = LAMBDA * (sampling @ sampling.mT).diagonal().mean().sqrt() / LAMBDA**0.5
    system = torch.cat((sampling, weight * torch.eye(axis.size, dtype=torch.float64))).numpy()
    for row, column in ((0, 0), (5, 7)):
        values = torch.cat(((sampling @ truth[0, row, column]), weight * output[0, row, column])).numpy()
        np.testing.assert_allclose(found[0, row, column].numpy(), lsq_linear(system, values).x, atol=1e-6)


@pytest.mark.parametrize("axis", AXES)
def test_putting_back_never_raises_the_error_of_exact_slices(axis: SliceAxis) -> None:
    known, truth = ThroughPlane(axis), head(axis.size)
    output = truth + 0.1 * head(axis.size).flip(1, 2, 3)
    found = known.restored(output, known.interpolated(known.slices(truth)), WHOLE)
    assert (found - truth).norm() < 0.95 * (output - truth).norm()
    torch.testing.assert_close(known.restored(truth, known.interpolated(known.slices(truth)), WHOLE), truth)


def test_within_slices_the_measured_block_alone_is_put_back() -> None:
    """Coarse slices that are thick too: what lies outside their block is left to the network."""
    known = ThroughPlane(AXES[0])
    columns = KSpaceAxis(10, 2).matrix()
    truth = head(24)
    low_res = known.interpolated(known.slices(torch.einsum("ij,arjd->arid", columns, truth)))
    in_plane = Consistency(AxisEstimate(9), AxisEstimate(10, 2.0), magnitude=False)
    output = head(24).flip(3)
    change = known.restored(output, low_res, in_plane) - output
    torch.testing.assert_close(torch.einsum("ij,arjd->arid", columns, change), change)
    assert change.abs().max() > 0.05
