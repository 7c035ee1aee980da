# SPDX-License-Identifier: Apache-2.0
"""Volumes as they came, without the values that are no signal."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Transform
from nibabel.affines import apply_affine

from bundle.case import Case
from bundle.doubts import Doubt
from bundle.keys import CASE, IMAGE, NO_DATA, REFERENCE
from bundle.transforms.io import Item, file_name
from bundle.volumes.extremes import ConstantBorder, constant_border, stray_voxels
from bundle.volumes.geometry import through_plane_axis


@dataclass(eq=False)
class MendExtremesd(Transform):
    """Put air where a volume has a constant border, and the neighbours' median in the place of single stray voxels.

    Place it behind :class:`bundle.transforms.LoadPaird`. The item gets ``no_data``: the border of the target, which
    :class:`bundle.transforms.RestoreNatived` gives back. What was found, the case tells. Volumes without either stay
    as they are, and so do those that were mended before.
    """

    keys: Sequence[str] = (IMAGE, REFERENCE)

    def __call__(self, data: Mapping[Hashable, Any]) -> Item:
        """Return the item with volumes (1, X, Y, Z) of signal alone."""
        item = dict(data)
        item[CASE] = Case.of(item)
        for key in (key for key in self.keys if key in item):
            volume = item[key]
            voxels = volume.as_tensor()[0].numpy(force=True)
            border = constant_border(voxels)
            mended = voxels if border is None else _filled(voxels, border.mask, border.air)
            places, medians = stray_voxels(mended, through_plane_axis(volume.pixdim.tolist(), voxels.shape))
            if len(places):
                mended = _filled(mended, tuple(places.T), medians)
            if mended is voxels:
                continue
            for doubt, sentence in _told(key, voxels, border, places, medians, volume.affine.numpy(force=True)):
                item[CASE].warn(doubt, f"{file_name(volume) or key}: {sentence}.")
            item[key] = MetaTensor(torch.from_numpy(mended)[None], meta=volume.meta)
            if border is not None and key == IMAGE:
                item[NO_DATA] = {"mask": torch.from_numpy(border.mask), "value": torch.tensor([border.value])}
        return item


def _filled(voxels: np.ndarray, places: Any, values: Any) -> np.ndarray:
    """Return a copy with other values in some places."""
    copy = voxels.copy(order="K")
    copy[places] = values
    return copy


def _told(
    key: str,
    voxels: np.ndarray,
    border: ConstantBorder | None,
    places: np.ndarray,
    medians: np.ndarray,
    affine: np.ndarray,
) -> Iterator[tuple[Doubt, str]]:
    """Yield what to say of a volume that was mended: sentences without the name of its file."""
    if border is not None:
        said = f"its border is {border.value:g} throughout ({border.mask.mean():.1%} of the voxels), which is no data"
        yield Doubt.BORDER, f"{said}: left out, and given back as it came" if key == IMAGE else f"{said}: left out"
    if len(places):
        first = tuple(places[0])
        where = ", ".join(f"{axis} {place:.1f}" for axis, place in zip("RAS", apply_affine(affine, first), strict=True))
        count = "a single voxel is" if len(places) == 1 else f"{len(places)} single voxels are"
        said = (
            f"{count} far out of range, {voxels[first]:g} at {where} mm, where the neighbours have {medians[0]:g}: "
            "the neighbours' median was taken"
        )
        yield (Doubt.STRAY_VOXELS if key == IMAGE else Doubt.STRAY_VOXELS_OF_REFERENCE), said
