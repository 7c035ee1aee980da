# SPDX-License-Identifier: Apache-2.0
"""What is known of a low-res image's resolution in plane, and the grid on which it is to be sharpened."""

import logging
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, get_args

import numpy as np
from monai.data import MetaTensor
from monai.transforms import Transform
from monai.utils import MetaKeys
from nibabel.affines import voxel_sizes
from nibabel.orientations import io_orientation

from bundle.acquisition import AxisEstimate
from bundle.case import Case, LowResFinding
from bundle.doubts import Doubt
from bundle.errors import InputError
from bundle.keys import CASE, IMAGE, REFERENCE
from bundle.kspace import in_plane_factors, kept_block
from bundle.settings import Factor
from bundle.transforms.io import Item, as_meta_tensor, file_name
from bundle.volumes.acquired_axes import FADING, estimate_axes
from bundle.volumes.enlarge import enlarge_voxels, regrid_affine
from bundle.volumes.geometry import through_plane_axis

logger = logging.getLogger(__name__)

Mode = Literal["auto", "zero_filled", "small"]
Shape = tuple[int, ...]
THICK_FROM: Final = 1.5  # distance of slices to the size of pixels from which finer slices can be made
ENLARGED_FROM: Final = 1.2  # ratio to the reference's voxels from which a target is put on a finer grid
LARGEST_FACTOR: Final = 4.6  # of the images that networks are trained on
TRAINED_TOLERANCE: Final = 0.05  # of an image's factor to the one that weights are trained for, relative
GRID_TOLERANCE: Final = 0.15  # of the ratio of voxel sizes to that factor: scans are not planned together
_SOURCES: Final = {
    "given": "as stated",
    "header": "by its header",
    "image": "by its own k-space",
}


@dataclass(eq=False)
class MeasuredBlockd(Transform):
    """Find out how the target was acquired in plane, and put it on the grid on which it is to be sharpened.

    It follows :class:`bundle.transforms.LoadPaird` and precedes all that looks at the grid. Where the reference's
    voxels are clearly smaller in plane, the matrix is enlarged to about theirs. The case gets the finding; what it
    knows of its file is not looked for again.

    Args:
        factor: of the images, where it is stated; a number, or a pair [rows, columns].
        trained: what the weights are trained for, likewise; ``None`` for all factors.
        mode: ``auto`` looks at k-space, header and the reference's voxels; ``zero_filled`` takes the target as
            zero-filled by ``factor`` or ``trained``, unseen; ``small`` enlarges it by that, unseen.
        required: refuse an image in which nothing can be gained in plane.
    """

    factor: Factor | None = None
    trained: Factor | None = None
    mode: Mode = "auto"
    required: bool = True

    def __post_init__(self) -> None:
        if self.mode not in get_args(Mode):
            raise InputError(f"low_res is {self.mode!r}; choose one of {', '.join(get_args(Mode))}.")
        stated = self.factor if self.factor is not None else self.trained
        if stated is None and self.mode != "auto":
            raise InputError(f"low_res is {self.mode}, and nobody says by how much: add --factor F, such as 4 or 4,2.")
        self.stated = None if stated is None else in_plane_factors(stated)

    def __call__(self, data: Mapping[Hashable, Any]) -> Item:
        """Return the item with the target on the grid of its output.

        ``InputError`` if nothing can be gained in plane though it is required: no coarser than its grid, as far as is
        known, and that no coarser than the reference's.
        """
        item = dict(data)
        item[CASE] = case = Case.of(item)
        shape, found = list(item[IMAGE].shape[1:]), case.low_res
        if found is None or shape not in (found.matrix_before, found.matrix_after):
            look = {"auto": self._found, "zero_filled": self._zero_filled, "small": self._small}[self.mode]
            found = case.low_res = look(item)
            logger.info("%s: %s", case, found.said)
            self._compare(case)
        after = [*found.matrix_after]
        after[found.slice_axis] = shape[found.slice_axis]
        if after != shape:
            affine = regrid_affine(item[IMAGE].affine.numpy(), shape, after)
            voxels = enlarge_voxels(item[IMAGE][0].numpy(force=True), after)
            meta = {**item[IMAGE].meta, MetaKeys.ORIGINAL_AFFINE: affine.copy()}
            item[IMAGE] = as_meta_tensor(voxels, affine, meta)
        return item

    def _zero_filled(self, item: Item) -> LowResFinding:
        shape = tuple(item[IMAGE].shape[1:])
        slice_axis = _slice_axes(item[IMAGE])[0]
        return _finding(item, slice_axis, shape, self._given(_in_plane(shape, slice_axis)))

    def _small(self, item: Item) -> LowResFinding:
        shape, zooms, axes = tuple(item[IMAGE].shape[1:]), relative_spacing(item), _slice_axes(item[IMAGE])
        # small voxels between thin slices: the reference tells which axes are too coarse
        slice_axis = next((axis for axis in axes if min(_in_plane(zooms, axis)) > ENLARGED_FROM), axes[0])
        before = _in_plane(shape, slice_axis)
        after = [round(n * f) for n, f in zip(before, self.stated or (), strict=True)]
        estimates = [AxisEstimate(n, n / old, source="given") for n, old in zip(after, before, strict=True)]
        return _finding(item, slice_axis, _replaced(shape, slice_axis, after), estimates)

    def _found(self, item: Item) -> LowResFinding:
        slice_axis, blocks, sizes = self._grid(item)
        shape = tuple(item[IMAGE].shape[1:])
        after = _replaced(shape, slice_axis, sizes)
        if self.factor is not None:
            estimates = self._given(sizes)
        else:
            known = zip(sizes, blocks, in_plane_factors(self.trained) if self.trained else (None, None), strict=True)
            estimates = [_on_grid(n, block, factor) for n, block, factor in known]
        if self.required and all(estimate.factor == 1 and estimate.is_sure for estimate in estimates):
            raise InputError(_nothing_to_do(item))
        return _finding(item, slice_axis, after, estimates)

    def _given(self, sizes: Sequence[int]) -> list[AxisEstimate]:
        """Return axes of some sizes as zero-filled by the factors that were stated."""
        blocks = [kept_block(n, f) for n, f in zip(sizes, self.stated or (), strict=True)]
        return [
            AxisEstimate(n, n / (stop - start), source="given") for n, (start, stop) in zip(sizes, blocks, strict=True)
        ]

    def _grid(self, item: Item) -> tuple[int, list[AxisEstimate], list[int]]:
        """Return the axis of the slices, what is known of the others, and the sizes that they get."""
        target, zooms = item[IMAGE], relative_spacing(item)
        shape = tuple(target.shape[1:])
        likely, *others = _slice_axes(target)
        # small voxels between thin slices: the reference tells which axes are too coarse
        coarse = [axis for axis in others if min(_in_plane(zooms, axis)) > ENLARGED_FROM]
        for slice_axis in (*coarse, likely):
            blocks = _estimates(item, slice_axis)
            sizes = [
                self._size(*known)
                for known in zip(blocks, _in_plane(zooms, slice_axis), self.stated or (None, None), strict=True)
            ]
            after = _replaced(shape, slice_axis, sizes)
            spacing = voxel_sizes(regrid_affine(target.affine.numpy(), shape, after))
            if through_plane_axis(spacing, after) == slice_axis:
                return slice_axis, blocks, sizes
        return likely, _estimates(item, likely), _in_plane(shape, likely)

    def _size(self, block: AxisEstimate, zoom: float, stated: float | None) -> int:
        """Return how many voxels an axis gets that has ``zoom`` times the reference's voxel size."""
        zoom = min(zoom, LARGEST_FACTOR / block.factor)
        if zoom <= ENLARGED_FROM:
            return block.size
        if stated and abs(block.measured * stated / (block.size * zoom) - 1) <= GRID_TOLERANCE:
            return max(round(block.measured * stated), block.size)  # just what the weights know
        return round(block.size * zoom)

    def _compare(self, case: Case) -> None:
        """Warn where weights for one factor get an image of another."""
        if self.trained is None or case.low_res is None:
            return
        pairs = zip(case.low_res.axes, in_plane_factors(self.trained), strict=True)
        if any(abs(axis.factor / f - 1) > max(TRAINED_TOLERANCE, 1.5 / axis.measured) for axis, f in pairs):
            found, known = _times([axis.factor for axis in case.low_res.axes]), _times(in_plane_factors(self.trained))
            case.warn(
                Doubt.OTHER_FACTOR,
                f"This image is coarser than its grid by {found} and the weights were trained for {known} alone: they "
                "may do harm; take weights for any factor, or compare the output with the input by eye.",
            )


def _estimates(item: Item, slice_axis: int) -> list[AxisEstimate]:
    """Return what is known of rows and columns of the target as it came.

    Where a block fades out, its window is a guess among several, and a wrong one does harm in data consistency: it
    counts as unknown.
    """
    rows, columns = _in_plane(item[IMAGE].pixdim.tolist(), slice_axis)
    header = Case.of(item).header
    slices = np.moveaxis(item[IMAGE][0].numpy(force=True), slice_axis, -1)
    found = estimate_axes(slices, (rows, columns), header.fields if header else None)
    return [replace(axis, window=None) if axis.window != "box" and axis.deviation >= FADING else axis for axis in found]


def _on_grid(size: int, block: AxisEstimate, trained: float | None) -> AxisEstimate:
    """Return what is known of an axis on the grid of its output, with the factor of the weights where it fits."""
    estimate = replace(block, size=size, factor=size / block.size * block.factor)
    expected = estimate if trained is None else replace(estimate, factor=size / round(size / trained), deviation=0.0)
    # of few slices a block is not seen better than to a sample
    return expected if abs(expected.measured - estimate.measured) <= 1 else estimate


def _finding(item: Item, slice_axis: int, after: Shape, estimates: Sequence[AxisEstimate]) -> LowResFinding:
    before, affine = tuple(item[IMAGE].shape[1:]), item[IMAGE].affine.numpy()
    coarse, fine = (voxel_sizes(grid).tolist() for grid in (affine, regrid_affine(affine, before, after)))
    rows, columns = estimates
    said = _said(_in_plane(before, slice_axis), estimates)
    return LowResFinding(said, slice_axis, list(before), list(after), coarse, fine, (rows, columns))


def _said(before: Sequence[int], axes: Sequence[AxisEstimate]) -> str:
    """Return in one sentence what an image is and what is done."""
    sizes = [axis.size for axis in axes]
    grid = f"of {' x '.join(map(str, sizes))} pixels"
    if sizes != list(before):
        grid += f" (enlarged from {' x '.join(map(str, before))})"
    if all(axis.factor == 1 and axis.is_sure for axis in axes):
        return f"in plane as fine as its grid {grid}"
    sources = list(dict.fromkeys(_SOURCES[axis.source] for axis in axes))
    spread = max(axis.deviation for axis in axes)
    spread_text = f", +-{max(spread, 0.01):.0%}" if spread else ""
    resolution = f"in plane {_times([axis.factor for axis in axes], always=True)} times coarser than its grid {grid}"
    known = f"{resolution}, {' and '.join(sources)}{spread_text}"
    if all(axis.is_sure and axis.window for axis in axes):
        return f"{known}: what was measured is put back"
    return f"{known}, unsure: what was measured is put back as far as it is known"


def _nothing_to_do(item: Item) -> str:
    name = file_name(item[IMAGE]) or item[CASE]
    finer = " and its voxels are no larger than the reference's" if REFERENCE in item else ""
    return (
        f"{name}: there is nothing to sharpen in plane, as far as is known: all of its k-space was measured{finer}; "
        f"{_thick_slices(item)}where you know better, say how much too coarse it is by --factor F, such as 1.5, or try "
        "the weights on a degraded copy by --degrade true."
    )


def _thick_slices(item: Item) -> str:
    spacing = sorted(voxel_sizes(item[IMAGE].affine.numpy()))
    is_thick = spacing[2] >= THICK_FROM * spacing[1]
    return (
        f"finer slices can be made of these, {spacing[2]:.3g} mm apart, by --through-plane true; " if is_thick else ""
    )


def _slice_axes(volume: MetaTensor) -> list[int]:
    """Return the native axes in the order in which they may be that of the slices."""
    likely = through_plane_axis(volume.pixdim.tolist(), volume.shape[1:])
    return [likely, *(axis for axis in (2, 1, 0) if axis != likely)]


def relative_spacing(item: Item) -> list[float]:
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


def _times(numbers: Sequence[float], always: bool = False) -> str:
    """Write factors as ``4``, or as ``4 x 2``, where they differ or always."""
    texts = [f"{number:.3g}" for number in numbers]
    return texts[0] if len(set(texts)) == 1 and not always else " x ".join(texts)
