# SPDX-License-Identifier: Apache-2.0
"""Dictionary transforms from a loaded pair to the network's input, and from its output to a volume.

Volumes are channel-first with the slices along the last axis, (1, H, W, D), everywhere between :class:`SlicesLastd`
and :class:`RestoreNatived`.
"""

from collections.abc import Hashable, Mapping
from typing import Any, Literal

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform

from bundle.errors import InputError
from bundle.keys import HIGH_RES, IMAGE, LEVEL_TARGETS, LOW_RES, PRED, REFERENCE, SCALE, SLICE_AXIS, SLICES, UNCERTAINTY
from bundle.volumes.geometry import through_plane_axis
from bundle.volumes.intensity import IntensityScale, tissue_slices

Item = dict[Hashable, Any]


class SlicesLastd(MapTransform):
    """Move the through-plane axis last: the largest voxel spacing, the last axis on a tie.

    Args:
        keys: MetaTensors (1, X, Y, Z) on one grid; the first decides the axis.
    """

    def __init__(self, keys: KeysCollection = (IMAGE, REFERENCE)) -> None:
        super().__init__(keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> Item:
        """Return the item with tensors (1, H, W, D) and their affines to match, and the axis taken."""
        item = dict(data)
        first = item[self.keys[0]]
        axis = through_plane_axis(first.pixdim.tolist(), first.shape[1:])
        order = [*(i for i in range(3) if i != axis), axis]
        for key in self.keys:
            volume = item[key].permute(0, *(i + 1 for i in order))
            volume.affine = item[key].affine[:, [*order, 3]]
            item[key] = volume
        item[SLICE_AXIS] = axis
        item[SLICES] = torch.arange(first.shape[axis + 1])
        return item


class NormaliseIntensityd(MapTransform):
    """Map each volume to [0, 1] by its own range; keep the target's range to restore it later.

    Args:
        keys: tensors (1, H, W, D); the first is the target.
        per: one range per volume, or one per slice along the last axis.
    """

    def __init__(self, keys: KeysCollection = (IMAGE, REFERENCE), per: Literal["volume", "slice"] = "volume") -> None:
        super().__init__(keys)
        if per not in ("volume", "slice"):
            raise InputError(f"normalise is {per!r}; choose volume or slice.")
        self.per = per

    def __call__(self, data: Mapping[Hashable, Any]) -> Item:
        """Return the item normalised, with the target's offset and scale under ``intensity_scale``."""
        item = dict(data)
        for key in self.keys:
            scale = IntensityScale.from_array(item[key], per=self.per)
            item[key] = scale.normalise(item[key])
            if key == self.keys[0]:
                # one value, or one per slice; never 0-d, which collation would turn into a number
                item[SCALE] = {
                    name: torch.as_tensor(getattr(scale, name), dtype=torch.float32).reshape(-1)
                    for name in ("offset", "scale")
                }
        return item


class TissueSlicesd(MapTransform):
    """Leave out slices without tissue: they teach nothing and their scores say nothing.

    Args:
        maximum: keep at most this many, evenly spaced; ``None`` keeps all that hold tissue.
        keys: the first, the target, decides.

    Raises:
        InputError: if ``maximum`` is below 1.
    """

    def __init__(self, maximum: int | None = None, keys: KeysCollection = (IMAGE, REFERENCE)) -> None:
        super().__init__(keys)
        self.maximum = _positive(maximum)

    def __call__(self, data: Mapping[Hashable, Any]) -> Item:
        """Return the item with the slices kept, and their indices under ``slices``."""
        item = dict(data)
        kept = np.flatnonzero(tissue_slices(item[self.keys[0]][0].numpy(force=True)))
        return _keep_slices(item, self.keys, torch.from_numpy(kept)[_evenly_spaced(len(kept), self.maximum)])


class ThinSlicesd(MapTransform):
    """Keep at most ``maximum`` evenly spaced slices, or all, of tensors (C, H, W, D); absent keys are passed over.

    Raises:
        InputError: if ``maximum`` is below 1.
    """

    def __init__(
        self, maximum: int | None, keys: KeysCollection = (IMAGE, HIGH_RES, LOW_RES, REFERENCE, LEVEL_TARGETS)
    ) -> None:
        super().__init__(keys, allow_missing_keys=True)
        self.maximum = _positive(maximum)

    def __call__(self, data: Mapping[Hashable, Any]) -> Item:
        """Return the item thinned, and the native indices of its slices under ``slices``."""
        item = dict(data)
        keys = [key for key in self.keys if key in item]
        return _keep_slices(item, keys, _evenly_spaced(item[keys[0]].shape[-1], self.maximum))


class StackContrastsd(Transform):
    """Stack the low-res target and the reference to the network's two-channel input.

    Where nothing was zero-filled, the target as it came is the low-res. ``low_res`` and ``reference`` become views of
    the stack.
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> Item:
        """Return the item with ``image`` (2, H, W, D): channel 0 low-res, channel 1 reference."""
        low_res, reference = data.get(LOW_RES, data[IMAGE]), data[REFERENCE]
        _, height, width, n_slices = low_res.shape
        stack = torch.empty(2, n_slices, height, width, device=low_res.device).movedim(1, -1)
        stack[0], stack[1] = low_res.as_tensor()[0], reference.as_tensor()[0]
        volumes = {IMAGE: (stack, data[IMAGE]), LOW_RES: (stack[:1], low_res), REFERENCE: (stack[1:], reference)}
        return dict(data) | {key: MetaTensor(volume, meta=like.meta) for key, (volume, like) in volumes.items()}


class RestoreNatived(Transform):
    """Give the output the target's native intensity scale and axis order, in place.

    So it does the output's standard deviation, where there is one, which the scale alone changes.
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> Item:
        """Return the item with tensors (1, X, Y, Z), native intensities."""
        item = dict(data)
        for key in (PRED, UNCERTAINTY) if UNCERTAINTY in item else (PRED,):
            offset, scale = (item[SCALE][name].to(item[key].device) for name in ("offset", "scale"))
            item[key].mul_(scale)  # one value, or one a slice
            if key == PRED:
                item[key].add_(offset)
            item[key] = item[key].movedim(-1, int(item[SLICE_AXIS]) + 1)
        return item


def _positive(maximum: int | None) -> int | None:
    """Return a number of slices after checking it."""
    if maximum is not None and maximum < 1:
        raise InputError(f"the number of slices to keep is {maximum}; give 1 or more, or null for all.")
    return maximum


def _evenly_spaced(n_slices: int, maximum: int | None) -> torch.Tensor:
    """Return the indices in the middles of ``maximum`` equal parts, or all of them."""
    if maximum is None or n_slices <= maximum:
        return torch.arange(n_slices)
    return ((torch.arange(maximum) + 0.5) * n_slices / maximum).long()


def _keep_slices(item: Item, keys: KeysCollection, kept: torch.Tensor) -> Item:
    """Index the last axis of each key, and the record of native indices with it."""
    n_slices = item[keys[0]].shape[-1]
    item[SLICES] = torch.as_tensor(item.get(SLICES, torch.arange(n_slices)))[kept]
    for key in keys:
        item[key] = item[key][..., kept]
    return item
