# SPDX-License-Identifier: Apache-2.0
"""How a low-res image came: zero-filled by the scanner, as a small matrix, or not low-res at all."""

import logging
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Transform
from monai.utils import MetaKeys
from nibabel.affines import voxel_sizes
from nibabel.orientations import io_orientation

from bundle.case import Case, LowResFinding
from bundle.errors import InputError
from bundle.keys import CASE, IMAGE, MEASURED, REFERENCE
from bundle.kspace import in_plane_factors, kept_block
from bundle.settings import TrainingRecord
from bundle.transforms.io import Item, as_meta_tensor, file_name
from bundle.volumes.enlarge import enlarge_voxels, regrid_affine
from bundle.volumes.geometry import through_plane_axis
from bundle.volumes.measured_block import BLOCK_TOLERANCE, COARSER, InPlaneAxis, occupied_block

logger = logging.getLogger(__name__)

Mode = Literal["auto", "zero_filled", "small"]
Shape = tuple[int, ...]
CASES: Final = ("zero-filled", "small matrix", "zero-filled and small matrix")


@dataclass(eq=False)
class MeasuredBlockd(Transform):
    """Find out how much of the target's k-space was measured, and bring a small matrix to the network's.

    It follows :class:`bundle.transforms.LoadPaird` and precedes all that looks at the grid. The item gets
    ``measured_samples`` and its case the finding. An item that has been here passes, and what the case knows of its
    file is not looked for again.

    Args:
        factor: that of the weights; a number, or a pair [rows, columns].
        mode: ``auto`` looks at k-space and at the reference's voxels; ``zero_filled`` takes the target as zero-filled
            by ``factor``, unseen; ``small`` enlarges it by ``factor``, unseen.
        weights: training records of other weights by file name, to be named where the factor is another.
    """

    factor: float | Sequence[float]
    mode: Mode = "auto"
    weights: Mapping[str, TrainingRecord] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.mode not in get_args(Mode):
            raise InputError(f"low_res is {self.mode!r}; choose one of {', '.join(get_args(Mode))}.")
        self.factors = in_plane_factors(self.factor)

    def __call__(self, data: Mapping[Hashable, Any]) -> Item:
        """Return the item with the target on the network's matrix, and ``measured_samples``.

        ``InputError`` if the target is at full resolution, or low-res by another factor than the weights'.
        """
        item = dict(data)
        item[CASE] = case = Case.of(item)
        if MEASURED in item:
            return item
        shape, found = list(item[IMAGE].shape[1:]), case.low_res
        if found is None or found.matrix_before != shape:
            look = {"auto": self._found, "zero_filled": self._zero_filled, "small": self._small}[self.mode]
            found = case.low_res = look(item)
        if found.matrix_after != shape:
            affine = regrid_affine(item[IMAGE].affine.numpy(), shape, found.matrix_after)
            voxels = enlarge_voxels(item[IMAGE][0].numpy(force=True), found.matrix_after)
            meta = {**item[IMAGE].meta, MetaKeys.ORIGINAL_AFFINE: affine.copy()}
            item[IMAGE] = as_meta_tensor(voxels, affine, meta)
        item[MEASURED] = torch.tensor(found.measured)
        return item

    def _zero_filled(self, item: Item) -> LowResFinding:
        shape = tuple(item[IMAGE].shape[1:])
        slice_axis = _slice_axes(item[IMAGE])[0]
        blocks = (kept_block(n, f) for n, f in zip(_in_plane(shape, slice_axis), self.factors, strict=True))
        measured = _replaced(shape, slice_axis, [end - start for start, end in blocks])
        return _finding(item, CASES[0], slice_axis, shape, measured)

    def _small(self, item: Item) -> LowResFinding:
        shape = tuple(item[IMAGE].shape[1:])
        zooms = _zooms(item)
        axes = _slice_axes(item[IMAGE])
        # small voxels between thin slices: the reference tells which axes are too coarse
        slice_axis = next((axis for axis in axes if min(_in_plane(zooms, axis)) > COARSER), axes[0])
        sizes = [round(n * f) for n, f in zip(_in_plane(shape, slice_axis), self.factors, strict=True)]
        return _finding(item, CASES[1], slice_axis, _replaced(shape, slice_axis, sizes), shape)

    def _found(self, item: Item) -> LowResFinding:
        target = item[IMAGE]
        shape = tuple(target.shape[1:])
        for slice_axis in _slice_axes(target):
            axes = self._axes(item, slice_axis)
            fits = [fit for axis in axes if (fit := axis.fit())]
            if len(fits) < 2:
                continue
            enlarged, measured = (_replaced(shape, slice_axis, numbers) for numbers in zip(*fits, strict=True))
            affine = regrid_affine(target.affine.numpy(), shape, enlarged)
            if through_plane_axis(voxel_sizes(affine), enlarged) == slice_axis:
                case = CASES[0] if enlarged == shape else CASES[1] if measured == shape else CASES[2]
                return _finding(item, case, slice_axis, enlarged, measured, [axis.block.drop_db for axis in axes])
        raise InputError(self._refusal(item))

    def _axes(self, item: Item, slice_axis: int) -> list[InPlaneAxis]:
        blocks = occupied_block(np.moveaxis(item[IMAGE][0].numpy(force=True), slice_axis, -1))
        zooms = [zoom if zoom > COARSER else 1.0 for zoom in _in_plane(_zooms(item), slice_axis)]
        return [InPlaneAxis(*known) for known in zip(blocks, zooms, self.factors, strict=True)]

    def _refusal(self, item: Item) -> str:
        target = item[IMAGE]
        axes = self._axes(item, _slice_axes(target)[0])
        factors = _times(self.factors)
        name = file_name(target) or item[CASE]
        if all(axis.total == 1 for axis in axes):
            return (
                f"{name}: this image is at full resolution already, as far as its k-space tells (no edge found); "
                f"give a low-res image, try the weights on this one with --degrade true, or have it taken as "
                f"zero-filled by {factors} with --low_res zero_filled, or as a small matrix with --low_res small."
            )
        found = []
        if any(axis.block.found for axis in axes):
            found.append(f"{' x '.join(f'{axis.block.kept} of {axis.block.size}' for axis in axes)} samples of k-space")
        if any(axis.zoom > 1 for axis in axes):
            found.append(f"voxels {_times([axis.zoom for axis in axes])} times those of the reference")
        return (
            f"{name}: this image is low-res by a factor of {_times([axis.total for axis in axes])} "
            f"({', '.join(found)}) and the weights are for {factors}; {self._other_weights(axes)}, or have it taken as "
            f"zero-filled by {factors} with --low_res zero_filled, or enlarged by {factors} with --low_res small."
        )

    def _other_weights(self, axes: Sequence[InPlaneAxis]) -> str:
        """Name weights that would fit, or else those that there are."""
        known = {name: in_plane_factors(record.model.factor) for name, record in self.weights.items()}
        pairs = {name: zip(axes, factors, strict=True) for name, factors in known.items()}
        fitting = [name for name in known if all(abs(a.total / f - 1) <= BLOCK_TOLERANCE for a, f in pairs[name])]
        if fitting:
            return f"give {' or '.join(fitting)} as --ckpt_path"
        others = ", ".join(f"{name} for {_times(factors)}" for name, factors in known.items())
        return f"give weights for that factor (at hand: {others or 'no others'})"


def _finding(
    item: Item, case: str, slice_axis: int, after: Shape, measured: Shape, drop_db: list[float] | None = None
) -> LowResFinding:
    """Return what was found, and say it once; the matrix ``after`` enlarging and the samples along native axes."""
    before, affine = tuple(item[IMAGE].shape[1:]), item[IMAGE].affine.numpy()
    (rows, columns), sizes, samples = (_in_plane(numbers, slice_axis) for numbers in (before, after, measured))
    factor = [size / n for size, n in zip(sizes, samples, strict=True)]
    enlarged = "" if before == after else f" of {rows} x {columns}, enlarged"
    level = logging.DEBUG if item[CASE].low_res else logging.INFO
    message = "%s: low-res image, %s%s; %d x %d samples of k-space on a matrix of %d x %d, factor %s."
    logger.log(level, message, item[CASE], case, enlarged, *samples, *sizes, _times(factor))
    matrices, grids = (list(before), list(after)), (affine, regrid_affine(affine, before, after))
    coarse, fine = (voxel_sizes(grid).tolist() for grid in grids)
    return LowResFinding(case, slice_axis, *matrices, coarse, fine, list(measured), factor, drop_db)


def _slice_axes(volume: MetaTensor) -> list[int]:
    """Return the native axes in the order in which they may be that of the slices."""
    likely = through_plane_axis(volume.pixdim.tolist(), volume.shape[1:])
    return [likely, *(axis for axis in (2, 1, 0) if axis != likely)]


def _zooms(item: Item) -> list[float]:
    """Return the target's voxel sizes relative to the reference's, along the target's axes; 1 without a reference."""
    if REFERENCE not in item:
        return [1.0, 1.0, 1.0]
    target, reference = (item[key].affine.numpy() for key in (IMAGE, REFERENCE))
    # which of the target's axes each of the reference's is
    matched = io_orientation(np.linalg.inv(target) @ reference)[:, 0].tolist()
    sizes, others = voxel_sizes(target).tolist(), voxel_sizes(reference).tolist()
    return [sizes[axis] / others[matched.index(axis)] for axis in range(3)]


def _in_plane(values: Sequence[Any], slice_axis: int) -> list[Any]:
    """Return the values of rows and columns, given those of the native axes."""
    return [value for axis, value in enumerate(values) if axis != slice_axis]


def _replaced(shape: Sequence[int], slice_axis: int, in_plane: Sequence[int]) -> Shape:
    """Return a shape with other numbers of rows and columns."""
    return (*in_plane[:slice_axis], shape[slice_axis], *in_plane[slice_axis:])


def _times(numbers: Sequence[float]) -> str:
    """Write factors as ``4``, or as ``4 x 2`` where they differ."""
    texts = [f"{number:.3g}" for number in numbers]
    return texts[0] if len(set(texts)) == 1 else " x ".join(texts)
