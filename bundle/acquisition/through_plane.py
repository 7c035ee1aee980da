# SPDX-License-Identifier: Apache-2.0
"""Thick slices on a fine grid, and what they say of it put back: the closed form of one small matrix.

Of all volumes x' the one is sought that minimises ||S x' - y||^2 + lambda ||x' - x||^2, for a network's output x, the
measured slices y, and what each slice takes of each fine voxel, S. It is x' = x + S^T (S S^T + lambda)^-1 (y - S x).
"""

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from bundle.acquisition.axis import SliceAxis
from bundle.acquisition.consistency import Consistency

LAMBDA: Final = 0.3  # of the mean of the diagonal of S S^T: profiles are known to a fifth of their thickness


@dataclass(frozen=True)
class ThroughPlane:
    """The slices of a volume (..., D) along its last axis: D fine voxels, of which they measured sums."""

    axis: SliceAxis

    def slices(self, volume: Tensor) -> Tensor:
        """Return S x, what slices (..., n) would have measured of a fine volume (..., D)."""
        return volume @ self.axis.sampling().to(volume).mT

    def interpolated(self, slices: Tensor) -> Tensor:
        """Return the cubic spline (..., D) through slices (..., n), which is what a network is given."""
        return slices @ self.axis.interpolation().to(slices).mT

    def measured(self, interpolated: Tensor) -> Tensor:
        """Return the slices (..., n) that a spline (..., D) goes through."""
        return interpolated @ torch.linalg.pinv(self.axis.interpolation()).to(interpolated).mT

    def restored(self, output: Tensor, interpolated: Tensor, in_plane: Consistency) -> Tensor:
        """Return a network's output (1, H, W, D) with what was measured, within and across the slices.

        Args:
            output: Tensor (1, H, W, D), fine.
            interpolated: Tensor (1, H, W, D), the spline through the measured slices, on the same scale.
            in_plane: what was measured of each slice.
        """
        volumes = (self.slices(output), self.measured(interpolated))
        pairs = zip(*(volume.movedim(-1, 0)[:, None] for volume in volumes), strict=True)  # each (1, 1, H, W)
        difference = torch.stack([(in_plane.restored(own, slice_) - own)[0] for own, slice_ in pairs], dim=-1)
        sampling = self.axis.sampling()
        gram = sampling @ sampling.mT
        gram.diagonal().add_(LAMBDA * gram.diagonal().mean())
        back = torch.linalg.solve(gram, sampling).to(output)  # n, D
        corrected = output + difference @ back
        return corrected.clamp(min=0) if in_plane.magnitude else corrected
