# SPDX-License-Identifier: Apache-2.0
"""Slices thicker than their pixels, on the finer grid on which they are to be sharpened."""

import dataclasses
import logging
from collections.abc import Hashable, Mapping
from typing import Any, Final

from monai.transforms import Transform
from monai.utils import MetaKeys

from bundle.acquisition import SliceAxis, ThroughPlane
from bundle.case import Case, LowResFinding
from bundle.errors import InputError
from bundle.keys import CASE, IMAGE, REFERENCE
from bundle.transforms.io import Item, as_meta_tensor, file_name
from bundle.transforms.low_res import THICK_FROM, relative_spacing
from bundle.volumes.enlarge import regrid_affine

logger = logging.getLogger(__name__)

THINNEST: Final = 0.5  # of the distance of slices: what a header says of them is believed from here ...
THICKEST: Final = 1.25  # ... to here
MOST: Final = 7.0  # fine slices to a thick one: networks are trained on no more


@dataclasses.dataclass(eq=False)
class ThickSlicesd(Transform):
    """Lay a cubic spline through thick slices, on a grid of finer ones that fill the same space.

    It follows :class:`bundle.transforms.MeasuredBlockd`, whose finding it completes. What is not thick is left as it
    is.

    Args:
        spacing: wanted distance of fine slices in mm; ``None`` for the size of the pixels, or of the reference's voxels
            where they are larger.
        thickness: of the slices as they came, full width at half maximum in mm; ``None`` for what the header says, or
            else their distance.
    """

    spacing: float | None = None
    thickness: float | None = None

    def __post_init__(self) -> None:
        for name, value in (("spacing", self.spacing), ("slice_thickness", self.thickness)):
            if value is not None and not value > 0:
                raise InputError(f"{name} is {value}; give millimetres above 0.")

    def __call__(self, data: Mapping[Hashable, Any]) -> Item:
        """Return the item with the target on the fine grid; ``InputError`` where there is nothing to gain at all."""
        item = dict(data)
        case = Case.of(item)
        found, image = case.low_res, item[IMAGE]
        if found is None:
            raise ValueError(f"{case}: put MeasuredBlockd before ThickSlicesd.")
        shape = list(image.shape[1:])
        if found.slices is None:
            item[CASE] = case
            case.low_res = found = self._found(item, found)
            if found.slices is None and not found.is_coarse_in_plane:
                raise InputError(
                    f"{file_name(image) or case}: there is nothing to sharpen: {found.said}; where you know better, "
                    "say how much too coarse it is in plane by --factor F, or how fine slices are to be by --spacing."
                )
            logger.info("%s: %s", case, found.said)
        if found.slices is None or shape == found.matrix_after:
            return item
        fine = ThroughPlane(found.slices).interpolated(image.as_tensor().movedim(found.slice_axis + 1, -1))
        affine = regrid_affine(image.affine.numpy(), shape, found.matrix_after, found.slice_axis)
        meta = {**image.meta, MetaKeys.ORIGINAL_AFFINE: affine.copy()}
        voxels = fine.movedim(-1, found.slice_axis + 1)[0].contiguous()
        if image.min() >= 0:  # a spline overshoots
            voxels.clamp_(min=0)
        item[IMAGE] = as_meta_tensor(voxels.numpy(force=True), affine, meta)
        return item

    def _found(self, item: Item, found: LowResFinding) -> LowResFinding:
        """Return the finding with what becomes of the slices."""
        axis, before = found.slice_axis, found.matrix_before[found.slice_axis]
        apart = found.spacing_before[axis]
        wanted = self.spacing or self._usual(item, found)
        after = round(before * min(apart / wanted, MOST))
        ratio = after / before
        if ratio < THICK_FROM or before < 2:
            why = "there is one slice" if before < 2 else f"slices {apart:.3g} mm apart are no thicker than that"
            return dataclasses.replace(found, said=f"{found.said}; {why}, and stay")
        thickness = self.thickness or self._by_header(item, apart)
        slices = SliceAxis(after, ratio, thickness / apart * ratio, (ratio - 1) / 2)
        matrix, spacing = [*found.matrix_after], [*found.spacing_after]
        matrix[axis], spacing[axis] = after, apart / ratio
        said = f"{found.said}; slices {apart:.3g} mm apart become {spacing[axis]:.3g} mm"
        if abs(thickness / apart - 1) > 0.02:
            said = f"{found.said}; slices of {thickness:.3g} mm, {apart:.3g} mm apart, become {spacing[axis]:.3g} mm"
        if REFERENCE in item and apart / self._across_reference(item, found) < THICK_FROM:
            said += " (those of the reference are hardly finer, and help little)"
        if ratio < 0.95 * apart / wanted:
            said += f", not {wanted:.3g} (no more than {MOST:.0f} of one)"
        return dataclasses.replace(found, said=said, matrix_after=matrix, spacing_after=spacing, slices=slices)

    def _by_header(self, item: Item, apart: float) -> float:
        """Return how thick the slices are in mm; their distance where the header says nothing that can be true."""
        header = Case.of(item).header
        said = header.fields.get("SliceThickness") if header else None
        return said[0] if said and THINNEST <= said[0] / apart <= THICKEST else apart

    def _usual(self, item: Item, found: LowResFinding) -> float:
        """Return the size of the pixels in mm, or of the reference's voxels across the slices where they are larger."""
        pixels = max(size for axis, size in enumerate(found.spacing_after) if axis != found.slice_axis)
        if REFERENCE not in item:
            return pixels
        voxels = self._across_reference(item, found)
        return max(pixels, voxels) if found.spacing_before[found.slice_axis] / voxels >= THICK_FROM else pixels

    def _across_reference(self, item: Item, found: LowResFinding) -> float:
        """Return the size of the reference's voxels across the slices, in mm."""
        return found.spacing_before[found.slice_axis] / relative_spacing(item)[found.slice_axis]
