# SPDX-License-Identifier: Apache-2.0
"""Hard data consistency as a layer: the measured block of k-space is put back, and gradients flow through."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bundle.kspace import in_plane_factors, restore_measured, restore_measured_magnitude


class DataConsistency(nn.Module):
    """Make an image agree with the low-res image it was made from, in the measured block of k-space.

    Without parameters. On whole slices it does what :class:`bundle.transforms.DataConsistencyd` does. On patches,
    which training cuts, it projects on the same share of the patch's own k-space: the measured block of a slice
    is a band limit, and a patch has the same one, but for its edges, where the patch is continued periodically.

    Args:
        factor: factor of the low-res image; a number, or a pair [rows, columns].
        magnitude: whether the low-res image is a magnitude or a real part, as in :func:`bundle.kspace.zero_fill`.
    """

    def __init__(self, factor: float | Sequence[float], magnitude: bool = True) -> None:
        super().__init__()
        rows, columns = in_plane_factors(factor)
        self.factor = float(rows)
        self.column_factor = float(columns)
        self.magnitude = magnitude

    def forward(self, image: Tensor, low_res: Tensor) -> Tensor:
        """Return ``image`` (N, 1, H, W) with the measured block of ``low_res`` (N, 1, H, W), in float32."""
        if torch.jit.is_scripting():  # scripted modules run in the precision of their input
            return self._restore(image, low_res)
        with torch.autocast(image.device.type, enabled=False):
            return self._restore(image.float(), low_res.float())

    def _restore(self, image: Tensor, low_res: Tensor) -> Tensor:
        if self.magnitude:
            return restore_measured_magnitude(image, low_res, self.factor, column_factor=self.column_factor)
        return restore_measured(image, low_res, self.factor, self.column_factor)
