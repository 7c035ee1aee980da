# SPDX-License-Identifier: Apache-2.0
"""How a low-res image is simulated: what a scanner adds to a noise-free volume, and zero-filling in k-space."""

import hashlib
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Transform

from bundle import kspace
from bundle.acquisition import AxisEstimate
from bundle.case import Case, LowResFinding
from bundle.errors import InputError
from bundle.keys import CASE, HIGH_RES, IMAGE, LEVEL_TARGETS, LOW_RES, REFERENCE, SLICE_AXIS
from bundle.phantom.scanner import bias_field, rician
from bundle.transforms.io import Item


@dataclass(eq=False)
class SimulateScand(Transform):
    """Give noise-free simulated volumes a receive field and Rician noise, the same at every reading of a case.

    Each contrast has a field and noise of its own, as if scanned one after the other.

    Args:
        noise: standard deviation in each channel of the receiver, relative to the volume's maximum, at least 0.
        bias: amplitude of the receive field about 1, in [0, 1).
    """

    noise: float
    bias: float

    def __post_init__(self) -> None:
        if not self.noise >= 0 or not 0 <= self.bias < 1:
            given = f"noise is {self.noise} and bias_field {self.bias}"
            raise InputError(f"{given}; give noise of 0 or more and a field below 1.")

    def __call__(self, data: Mapping[Hashable, Any]) -> Item:
        """Return the item with both contrasts as scanned."""
        item = dict(data)
        for key in (IMAGE, REFERENCE):
            digest = hashlib.sha256(f"{item[CASE]}:{key}".encode()).digest()
            generator = np.random.default_rng(int.from_bytes(digest[:8], "little"))
            volume = item[key].numpy(force=True)[0]
            sigma = self.noise * float(volume.max())
            scanned = rician(volume * bias_field(volume.shape, self.bias, generator), sigma, generator)
            item[key] = MetaTensor(torch.from_numpy(scanned)[None], meta=item[key].meta)
        return item


class ZeroFilld(Transform):
    """Degrade the normalised target: it becomes ``high_res``, its zero-filled image ``low_res``.

    The ``factor``, or pair [rows, columns], and ``magnitude`` are those of :func:`bundle.kspace.zero_fill`;
    ``level_factors`` those of the targets of a progressive generator's levels before the last, such as
    :func:`bundle.kspace.level_factors` returns: none where only the last level is supervised.
    """

    def __init__(
        self, factor: float | Sequence[float], magnitude: bool = True, level_factors: Sequence[float | list[float]] = ()
    ) -> None:
        self.factors = kspace.in_plane_factors(factor)
        self.magnitude = magnitude
        self.level_factors = [(1.0, 1.0) if level == 1 else kspace.in_plane_factors(level) for level in level_factors]

    def __call__(self, data: Mapping[Hashable, Any]) -> Item:
        """Return the item with ``high_res`` and ``low_res``, both (1, H, W, D) on one intensity scale.

        The case knows how much of k-space is left. Level targets, on the same scale, are ``level_targets``
        (n_levels - 1, H, W, D).
        """
        item = dict(data)
        item[HIGH_RES] = item[IMAGE]
        item[LOW_RES] = self._zero_filled(item[IMAGE], self.factors)
        item[CASE] = case = Case.of(item)
        case.low_res = self._finding(item)
        if self.level_factors:
            targets = [self._zero_filled(item[IMAGE], factors).as_tensor() for factors in self.level_factors]
            item[LEVEL_TARGETS] = MetaTensor(torch.cat(targets), meta=item[IMAGE].meta)
        return item

    def _finding(self, item: Item) -> LowResFinding:
        """Return what is known of the low-res of an item with its slices last."""
        *sizes, n_slices = item[IMAGE].shape[1:]
        *spacing, distance = item[IMAGE].pixdim.tolist()
        axes = [AxisEstimate(n, n / _n_kept(n, f), source="given") for n, f in zip(sizes, self.factors, strict=True)]
        axis = int(item.get(SLICE_AXIS, 2))
        sizes.insert(axis, n_slices)  # now along native axes
        spacing.insert(axis, distance)
        said = f"zero-filled in k-space by {' x '.join(f'{f:g}' for f in self.factors)}, as asked"
        return LowResFinding(said, axis, sizes, sizes, spacing, spacing, (axes[0], axes[1]))

    def _zero_filled(self, high_res: MetaTensor, factors: tuple[float, float]) -> MetaTensor:
        """Return every slice of a volume (1, H, W, D) zero-filled; factor 1 is the volume itself."""
        if factors == (1, 1):
            return high_res
        slices = high_res.as_tensor().movedim(-1, 0)  # D, 1, H, W
        low_res = kspace.zero_fill(slices, factors[0], self.magnitude, factors[1])
        return MetaTensor(low_res.movedim(0, -1), meta=high_res.meta)


def _n_kept(size: int, factor: float) -> int:
    start, stop = kspace.kept_block(size, factor)
    return stop - start
