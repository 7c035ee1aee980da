# SPDX-License-Identifier: Apache-2.0
"""From a loaded pair to the network's input, and back: in between volumes are (1, H, W, D), the slices last."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Transform

from bundle.case import Case
from bundle.errors import InputError
from bundle.keys import (
    HIGH_RES,
    IMAGE,
    INTERVAL,
    LEVEL_TARGETS,
    LOW_RES,
    NO_DATA,
    PRED,
    REFERENCE,
    SCALE,
    SLICE_AXIS,
    SLICES,
    ZERO_FILLED_BY,
)
from bundle.transforms.io import Item
from bundle.volumes.geometry import through_plane_axis
from bundle.volumes.intensity import IntensityScale, tissue_slices

CONTRASTS: Final = (IMAGE, REFERENCE)


class SlicesLastd(Transform):
    """Move the target's through-plane axis last: the largest voxel spacing in its file, the last axis on a tie."""

    def __call__(self, data: Mapping[Hashable, Any]) -> Item:
        """Return the item with tensors (1, H, W, D) and their affines to match, and the axis taken."""
        item = dict(data)
        shape = item[IMAGE].shape[1:]
        found = Case.of(item).low_res
        axis = found.slice_axis if found else through_plane_axis(item[IMAGE].pixdim.tolist(), shape)
        order = [*(i for i in range(3) if i != axis), axis]
        for key in (key for key in CONTRASTS if key in item):
            volume = item[key].permute(0, *(i + 1 for i in order))
            volume.affine = item[key].affine[:, [*order, 3]]
            item[key] = volume
        return item | {SLICE_AXIS: axis, SLICES: torch.arange(shape[axis])}


@dataclass(eq=False)
class NormaliseIntensityd(Transform):
    """Map volumes to [0, 1] by their own ranges, one per volume or one per slice along the last axis.

    Steps of one key each hold one volume less in memory than one step of two: a chain keeps what a step was given.
    """

    per: Literal["volume", "slice"] = "volume"
    keys: Sequence[str] = CONTRASTS
    robust: bool = False  # see bundle.volumes.intensity.IntensityScale.from_array

    def __post_init__(self) -> None:
        if self.per not in ("volume", "slice"):
            raise InputError(f"normalise is {self.per!r}; choose volume or slice.")

    def __call__(self, data: Mapping[Hashable, Any]) -> Item:
        """Return the item normalised, with the target's offset and scale under ``intensity_scale``."""
        item = dict(data)
        for key in (key for key in self.keys if key in item):
            scale = IntensityScale.from_array(item[key], self.per, self.robust)
            item[key] = scale.normalise(item[key])
            if key == IMAGE:  # one value, or one per slice; never 0-d, which collation would turn into a number
                values = vars(scale).items()
                item[SCALE] = {n: torch.as_tensor(value, dtype=torch.float32).reshape(-1) for n, value in values}
        return item


@dataclass(eq=False)
class ThinSlicesd(Transform):
    """Keep at most ``maximum`` evenly spaced slices, 1 or more, or all; ``slices`` holds their native indices."""

    maximum: int | None

    def __post_init__(self) -> None:
        if self.maximum is not None and self.maximum < 1:
            raise InputError(f"the number of slices to keep is {self.maximum}; give 1 or more, or null for all.")

    def __call__(self, data: Mapping[Hashable, Any]) -> Item:
        """Return the item with volumes (C, H, W, D) of fewer slices."""
        item = dict(data)
        kept = self._candidates(item[IMAGE])
        if self.maximum is not None and len(kept) > self.maximum:
            # the middles of equal parts
            kept = kept[((torch.arange(self.maximum) + 0.5) * len(kept) / self.maximum).long()]
        item[SLICES] = torch.as_tensor(item.get(SLICES, torch.arange(item[IMAGE].shape[-1])))[kept]
        volumes = [key for key in (*CONTRASTS, HIGH_RES, LOW_RES, LEVEL_TARGETS) if key in item]
        return item | {key: item[key][..., kept] for key in volumes}

    def _candidates(self, image: torch.Tensor) -> torch.Tensor:
        return torch.arange(image.shape[-1])


@dataclass(eq=False)
class TissueSlicesd(ThinSlicesd):
    """Leave out slices without tissue: they teach nothing and their scores say nothing.

    Of those that the target's tissue leaves, keep at most ``maximum``, evenly spaced.
    """

    maximum: int | None = None

    def _candidates(self, image: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(np.flatnonzero(tissue_slices(image[0].numpy(force=True))))


@dataclass(eq=False)
class StackContrastsd(Transform):
    """Stack the low-res target and the reference to the network's two-channel input, in one step or in two.

    What is known of its zero-filling goes along as metadata, under ``zero_filled_by``.

    Where nothing was zero-filled, the target as it came is the low-res; without a reference its channel is 0.
    ``low_res`` and ``reference`` become views of the stack.
    """

    keys: Sequence[str] = (LOW_RES, REFERENCE)

    def __call__(self, data: Mapping[Hashable, Any]) -> Item:
        """Return the item with ``image`` (2, H, W, D): channel 0 low-res, channel 1 reference."""
        item = dict(data)
        if LOW_RES in self.keys:
            low_res = item.get(LOW_RES, item[IMAGE])
            _, height, width, n_slices = low_res.shape
            stack = torch.empty(2, n_slices, height, width, device=low_res.device).movedim(1, -1)
            stack[0] = low_res.as_tensor()[0]  # memory is taken as it is written
            found = Case.of(item).low_res
            known = {ZERO_FILLED_BY: found.zero_filled_by if found else 0.0}
            item[IMAGE] = MetaTensor(stack, meta={**item[IMAGE].meta, **known})
            item[LOW_RES] = MetaTensor(stack[:1], meta=low_res.meta)
        if REFERENCE in self.keys:
            stack = item[IMAGE].as_tensor()
            if REFERENCE not in item:
                stack[1] = 0
                return item
            stack[1] = item[REFERENCE].as_tensor()[0]
            item[REFERENCE] = MetaTensor(stack[1:], meta=item[REFERENCE].meta)
        return item


class RestoreNatived(Transform):
    """Give the output the target's native intensity scale and axis order, in place.

    So it does the output's interval, where there is one, which the scale alone changes. Where the target held no data
    the output is as the target came, and its interval 0.
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> Item:
        """Return the item with tensors (1, X, Y, Z), native intensities."""
        item = dict(data)
        for key in (PRED, INTERVAL) if INTERVAL in item else (PRED,):
            offset, scale = (item[SCALE][name].to(item[key].device) for name in ("offset", "scale"))
            item[key].mul_(scale)  # one value, or one a slice
            if key == PRED:
                item[key].add_(offset)
            item[key] = item[key].movedim(-1, int(item[SLICE_AXIS]) + 1)
            if NO_DATA in item:
                border = _on_grid(item[NO_DATA]["mask"], item[key].shape[1:], int(item[SLICE_AXIS]))
                item[key][0, border.to(item[key].device)] = float(item[NO_DATA]["value"]) if key == PRED else 0.0
        return item


def _on_grid(mask: torch.Tensor, shape: Sequence[int], slice_axis: int) -> torch.Tensor:
    """Return a mask (X, Y, Z) on the grid of an output, by the nearest voxel.

    Rows and columns may be enlarged, which leaves the first voxel in its place, and slices divided in the same space.
    """
    for axis, (size, before) in enumerate(zip(shape, mask.shape, strict=True)):
        if size != before:
            at = torch.arange(size) * before / size
            nearest = (at + before / size / 2).floor() if axis == slice_axis else at.round()
            mask = mask.index_select(axis, nearest.long().clamp(max=before - 1))
    return mask
