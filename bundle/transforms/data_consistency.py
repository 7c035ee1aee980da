# SPDX-License-Identifier: Apache-2.0
"""The measured block of k-space, put back behind the network."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from monai.data import MetaTensor
from monai.transforms import Transform
from torch import Tensor

from bundle import kspace
from bundle.keys import LOW_RES, MEASURED, PRED, PRED_CONSISTENT, SLICE_AXIS
from bundle.transforms.io import Item

CHUNK_PIXELS: Final = 2**21  # at a time; their Fourier transforms need about 40 bytes for each


@dataclass(eq=False)
class DataConsistencyd(Transform):
    """Put the measured block of k-space back into the network's output, slice by slice.

    What was measured comes from the low-res image that the network was given, never from the ground truth; how much
    of each axis that is, the item says (``measured_samples``). It is a ``magnitude``, or else a real part. The result
    goes to ``output_key``: ``pred`` replaces the network's output, in its own memory.
    """

    magnitude: bool = True
    output_key: str = PRED_CONSISTENT

    def __call__(self, data: Mapping[Hashable, Any]) -> Item:
        """Return the item with the consistent output (1, H, W, D), on the low-res image's scale."""
        item = dict(data)
        output, low_res = item[PRED].as_tensor(), item[LOW_RES].as_tensor()
        factors = measured_factors(item)
        in_place = self.output_key == PRED and output.dtype == torch.float32
        consistent = output if in_place else torch.empty_like(output, dtype=torch.float32)
        n_slices = max(1, CHUNK_PIXELS // (output.shape[1] * output.shape[2]))
        for start in range(0, output.shape[-1], n_slices):
            chunk = slice(start, start + n_slices)
            pair = [volume[..., chunk].to(output.device).float().movedim(-1, 0) for volume in (output, low_res)]
            consistent[..., chunk] = restored(pair[0], pair[1], factors, self.magnitude).movedim(0, -1)
        item[self.output_key] = MetaTensor(consistent, meta=item[PRED].meta)
        return item


def measured_factors(item: Mapping[Hashable, Any]) -> tuple[float, float]:
    """Return the factors of rows and columns of a volume, slices last, by the measured samples of its native axes."""
    in_plane = [n for axis, n in enumerate(item[MEASURED].tolist()) if axis != int(item[SLICE_AXIS])]
    rows, columns = (size / n for size, n in zip(item[LOW_RES].shape[1:3], in_plane, strict=True))
    return rows, columns


def restored(output: Tensor, low_res: Tensor, factors: tuple[float, float], magnitude: bool) -> Tensor:
    """Return slices (N, 1, H, W) that agree with the low-res within the measured block of k-space."""
    restore = kspace.restore_measured_magnitude if magnitude else kspace.restore_measured
    return restore(output, low_res, factors[0], column_factor=factors[1])
