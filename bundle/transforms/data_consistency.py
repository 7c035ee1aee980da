# SPDX-License-Identifier: Apache-2.0
"""What was measured, put back behind the network."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from monai.data import MetaTensor
from monai.transforms import Transform

from bundle.acquisition import Consistency, ThroughPlane
from bundle.case import Case
from bundle.keys import CASE, LOW_RES, PRED, PRED_CONSISTENT
from bundle.transforms.io import Item

CHUNK_PIXELS: Final = 2**20  # at a time; their Fourier transforms need about 80 bytes for each


@dataclass(eq=False)
class DataConsistencyd(Transform):
    """Put what was measured of k-space, and of thick slices, back into the network's output.

    It comes from the low-res image that the network was given, never from the ground truth; how each axis was acquired,
    the case knows (:class:`bundle.case.LowResFinding`). It is a ``magnitude``, or else a real part. The result
    goes to ``output_key``: ``pred`` replaces the network's output, in its own memory.
    """

    magnitude: bool = True
    output_key: str = PRED_CONSISTENT

    def __call__(self, data: Mapping[Hashable, Any]) -> Item:
        """Return the item with the consistent output (1, H, W, D), on the low-res's scale; the case notes it."""
        item = dict(data)
        output, low_res = item[PRED].as_tensor(), item[LOW_RES].as_tensor()
        consistency = _consistency_of(item, self.magnitude)
        item[CASE] = Case.of(item)
        item[CASE].measured["data_consistency"] = {"restored": True}
        if thick := _through_plane_of(item):
            restored = thick.restored(output.float(), low_res.to(output.device).float(), consistency)
            return item | {self.output_key: MetaTensor(restored, meta=item[PRED].meta)}
        in_place = self.output_key == PRED and output.dtype == torch.float32
        consistent = output if in_place else torch.empty_like(output, dtype=torch.float32)
        n_slices = max(1, CHUNK_PIXELS // (output.shape[1] * output.shape[2]))
        for start in range(0, output.shape[-1], n_slices):
            chunk = slice(start, start + n_slices)
            pair = [volume[..., chunk].to(output.device).float().movedim(-1, 0) for volume in (output, low_res)]
            consistent[..., chunk] = consistency.restored(*pair).movedim(0, -1)
        item[self.output_key] = MetaTensor(consistent, meta=item[PRED].meta)
        return item


def _through_plane_of(item: Mapping[Hashable, Any]) -> ThroughPlane | None:
    """Return how an item's slices were acquired where finer ones are made of them."""
    found = Case.of(item).low_res
    return ThroughPlane(found.slices) if found and found.slices else None


def _consistency_of(item: Mapping[Hashable, Any], magnitude: bool) -> Consistency:
    """Return the data consistency of an item's slices; ``ValueError`` if nobody has looked how they were acquired."""
    found = Case.of(item).low_res
    if found is None:
        raise ValueError(f"{item.get(CASE)}: how its low-res image came is not known; put MeasuredBlockd first.")
    return Consistency(*found.axes, magnitude)
