# SPDX-License-Identifier: Apache-2.0
"""Dictionary transforms in k-space: the degradation, and its counterpart behind the network."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.data import MetaTensor
from monai.transforms import Transform

from bundle import kspace
from bundle.errors import InputError
from bundle.keys import HIGH_RES, IMAGE, LEVEL_TARGETS, LOW_RES, PRED, PRED_CONSISTENT

Item = dict[Hashable, Any]


class ZeroFilld(Transform):
    """Degrade the normalised target: it becomes ``high_res``, its zero-filled image ``low_res``.

    Args:
        factor: ratio of full to kept k-space samples on each in-plane axis.
        magnitude: as in :func:`bundle.kspace.zero_fill`.
        level_factors: factors of the targets of a progressive generator's levels before the last, such as
            :func:`bundle.kspace.level_factors` returns; empty where only the last level is supervised.

    Raises:
        InputError: if ``factor`` is not a number above 1.
    """

    def __init__(self, factor: float, magnitude: bool = True, level_factors: Sequence[float] = ()) -> None:
        if isinstance(factor, bool) or not isinstance(factor, (int, float)) or not factor > 1:
            raise InputError(f"factor is {factor!r}; give a number above 1, such as 2, 3 or 4.")
        self.factor = factor
        self.magnitude = magnitude
        self.level_factors = tuple(level_factors)

    def __call__(self, data: Mapping[Hashable, Any]) -> Item:
        """Return the item with ``high_res`` and ``low_res``, both (1, H, W, D) on one intensity scale.

        Level targets, on the same scale, are ``level_targets`` (n_levels - 1, H, W, D).
        """
        item = dict(data)
        item[HIGH_RES] = item[IMAGE]
        item[LOW_RES] = self._zero_filled(item[IMAGE], self.factor)
        if self.level_factors:
            targets = [self._zero_filled(item[IMAGE], factor).as_tensor() for factor in self.level_factors]
            item[LEVEL_TARGETS] = MetaTensor(torch.cat(targets), meta=item[IMAGE].meta)
        return item

    def _zero_filled(self, high_res: MetaTensor, factor: float) -> MetaTensor:
        """Return every slice of a volume (1, H, W, D) zero-filled; factor 1 is the volume itself."""
        if factor == 1:
            return high_res
        slices = torch.as_tensor(high_res.as_tensor()).movedim(-1, 0)  # D, 1, H, W
        low_res = kspace.zero_fill(slices, factor, self.magnitude)
        return MetaTensor(low_res.movedim(0, -1), meta=high_res.meta)


class DataConsistencyd(Transform):
    """Put the measured block of k-space back into the network's output, slice by slice.

    What was measured comes from the low-res image that the network was given, never from the ground truth.

    Args:
        factor: factor of the low-res image.
        magnitude: whether the low-res image is a magnitude, see
            :func:`bundle.kspace.restore_measured_magnitude`, or a real part, :func:`bundle.kspace.restore_measured`.
        output_key: where the result goes: ``pred`` replaces the network's output.
    """

    def __init__(self, factor: float, magnitude: bool = True, output_key: str = PRED_CONSISTENT) -> None:
        self.factor = factor
        self.restore = kspace.restore_measured_magnitude if magnitude else kspace.restore_measured
        self.output_key = output_key

    def __call__(self, data: Mapping[Hashable, Any]) -> Item:
        """Return the item with the consistent output (1, H, W, D), on the low-res image's scale."""
        item = dict(data)
        output, low_res = (item[key].as_tensor().float().movedim(-1, 0) for key in (PRED, LOW_RES))  # D, 1, H, W
        consistent = self.restore(output, low_res.to(output.device), self.factor)
        item[self.output_key] = MetaTensor(consistent.movedim(0, -1), meta=item[PRED].meta)
        return item
