# SPDX-License-Identifier: Apache-2.0
"""The measured block of k-space, put back behind the network."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Final

import torch
from monai.data import MetaTensor
from monai.transforms import Transform
from torch import Tensor

from bundle import kspace
from bundle.keys import LOW_RES, MEASURED, PRED, PRED_CONSISTENT, SLICE_AXIS

Item = dict[Hashable, Any]

CHUNK_PIXELS: Final = 2**21
"""How many pixels data consistency takes at a time; its Fourier transforms need about 40 bytes for each."""


class DataConsistencyd(Transform):
    """Put the measured block of k-space back into the network's output, slice by slice.

    What was measured comes from the low-res image that the network was given, never from the ground truth. How much
    of each axis that is, the item says (``measured_samples``, counted in each volume), or else the factor does.

    Args:
        factor: factor of the low-res images that do not say what was measured of them; a number, or a pair
            [rows, columns].
        magnitude: whether the low-res image is a magnitude, see
            :func:`bundle.kspace.restore_measured_magnitude`, or a real part, :func:`bundle.kspace.restore_measured`.
        output_key: where the result goes: ``pred`` replaces the network's output, in its own memory.
    """

    def __init__(
        self, factor: float | Sequence[float], magnitude: bool = True, output_key: str = PRED_CONSISTENT
    ) -> None:
        self.factors = kspace.in_plane_factors(factor)
        self.magnitude = magnitude
        self.output_key = output_key

    def __call__(self, data: Mapping[Hashable, Any]) -> Item:
        """Return the item with the consistent output (1, H, W, D), on the low-res image's scale."""
        item = dict(data)
        output, low_res = item[PRED].as_tensor(), item[LOW_RES].as_tensor()
        factors = self.factors_of(item)
        in_place = self.output_key == PRED and output.dtype == torch.float32
        consistent = output if in_place else torch.empty_like(output, dtype=torch.float32)
        n_slices = max(1, CHUNK_PIXELS // (output.shape[1] * output.shape[2]))
        for start in range(0, output.shape[-1], n_slices):
            chunk = slice(start, start + n_slices)
            pair = [volume[..., chunk].to(output.device).float().movedim(-1, 0) for volume in (output, low_res)]
            consistent[..., chunk] = self._restore(pair[0], pair[1], *factors).movedim(0, -1)
        item[self.output_key] = MetaTensor(consistent, meta=item[PRED].meta)
        return item

    def factors_of(self, item: Item) -> tuple[float, float]:
        """Return the factors of rows and columns of this volume."""
        if MEASURED not in item:
            return self.factors
        # native axes; the volume has its slice axis last
        in_plane = [n for axis, n in enumerate(item[MEASURED].tolist()) if axis != int(item[SLICE_AXIS])]
        rows, columns = (size / n for size, n in zip(item[PRED].shape[1:3], in_plane, strict=True))
        return rows, columns

    def _restore(self, output: Tensor, low_res: Tensor, factor: float, column_factor: float) -> Tensor:
        """Return slices (D, 1, H, W) that agree with the low-res."""
        if self.magnitude:
            return kspace.restore_measured_magnitude(output, low_res, factor, column_factor=column_factor)
        return kspace.restore_measured(output, low_res, factor, column_factor)
