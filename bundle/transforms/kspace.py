# SPDX-License-Identifier: Apache-2.0
"""Dictionary transforms in k-space: the degradation, and its counterpart behind the network."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Final

import torch
from monai.data import MetaTensor
from monai.transforms import Transform
from torch import Tensor

from bundle import kspace
from bundle.keys import HIGH_RES, IMAGE, LEVEL_TARGETS, LOW_RES, MEASURED, PRED, PRED_CONSISTENT, SLICE_AXIS

Item = dict[Hashable, Any]

CHUNK_PIXELS: Final = 2**21
"""How many pixels data consistency takes at a time; its Fourier transforms need about 40 bytes for each."""


class ZeroFilld(Transform):
    """Degrade the normalised target: it becomes ``high_res``, its zero-filled image ``low_res``.

    Args:
        factor: ratio of full to kept k-space samples on both in-plane axes, or a pair [rows, columns].
        magnitude: as in :func:`bundle.kspace.zero_fill`.
        level_factors: factors, or pairs, of the targets of a progressive generator's levels before the last, such as
            :func:`bundle.kspace.level_factors` returns; empty where only the last level is supervised.

    Raises:
        InputError: if ``factor`` is neither a number above 1 nor a pair of which one is.
    """

    def __init__(
        self,
        factor: float | Sequence[float],
        magnitude: bool = True,
        level_factors: Sequence[float | Sequence[float]] = (),
    ) -> None:
        self.factors = kspace.in_plane_factors(factor)
        self.magnitude = magnitude
        self.level_factors = [(1.0, 1.0) if level == 1 else kspace.in_plane_factors(level) for level in level_factors]

    def __call__(self, data: Mapping[Hashable, Any]) -> Item:
        """Return the item with ``high_res`` and ``low_res``, both (1, H, W, D) on one intensity scale.

        Level targets, on the same scale, are ``level_targets`` (n_levels - 1, H, W, D).
        """
        item = dict(data)
        item[HIGH_RES] = item[IMAGE]
        item[LOW_RES] = self._zero_filled(item[IMAGE], self.factors)
        if self.level_factors:
            targets = [self._zero_filled(item[IMAGE], factors).as_tensor() for factors in self.level_factors]
            item[LEVEL_TARGETS] = MetaTensor(torch.cat(targets), meta=item[IMAGE].meta)
        return item

    def _zero_filled(self, high_res: MetaTensor, factors: tuple[float, float]) -> MetaTensor:
        """Return every slice of a volume (1, H, W, D) zero-filled; factor 1 is the volume itself."""
        if factors == (1, 1):
            return high_res
        slices = torch.as_tensor(high_res.as_tensor()).movedim(-1, 0)  # D, 1, H, W
        low_res = kspace.zero_fill(slices, factors[0], self.magnitude, factors[1])
        return MetaTensor(low_res.movedim(0, -1), meta=high_res.meta)


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
