# SPDX-License-Identifier: Apache-2.0
"""Native intensities to [0, 1] and back, and which slices hold tissue."""

from dataclasses import dataclass
from typing import Final, Literal, Self, TypeVar, cast

import numpy as np
import torch

Array = TypeVar("Array", np.ndarray, torch.Tensor)

RINGING: Final = 0.25  # down to minus this part of the maximum, values are taken for interpolation's ringing about air


PEAK: Final = 2.0  # of the brightest tissue, beyond which there are extremes; 1.1 to 2.3 in T2w volumes, 3.2 in others


@dataclass(frozen=True, eq=False)
class IntensityScale:
    """Map intensities x to (x - offset) / scale, and back; both are arrays where each slice has its own.

    A magnitude image has its air at 0, and the networks are positively homogeneous only about 0: so the offset is 0,
    values below it are clipped, and the scale is the maximum, which holds the range [0, 1]. Only an image that goes
    further below 0 than ringing does (shifted or standardised) has its minimum as the offset.
    """

    offset: float | np.ndarray
    scale: float | np.ndarray

    @classmethod
    def from_array(
        cls, array: np.ndarray | torch.Tensor, per: Literal["volume", "slice"] = "volume", robust: bool = False
    ) -> Self:
        """Measure the scale of finite intensities, or of each slice along the last axis; 1 without positive range.

        A ``robust`` one is at most ``PEAK`` times what 1 in 1000 voxels of tissue exceed, so that a few extremes do not
        make all else dark; few volumes reach that.
        """
        if per not in ("volume", "slice"):
            raise ValueError(f'per is {per!r}: choose "volume" or "slice".')
        values = array.numpy(force=True) if isinstance(array, torch.Tensor) else np.asarray(array)
        axes = tuple(range(values.ndim if per == "volume" else values.ndim - 1))
        lowest = values.min(axis=axes, keepdims=True).astype(np.float64)
        highest = values.max(axis=axes, keepdims=True).astype(np.float64)
        if robust:
            parts = values[None] if per == "volume" else np.moveaxis(values, -1, 0)
            tops = np.array([PEAK * _bright(part) for part in parts]).reshape(highest.shape)
            highest = np.where(tops > 0, np.minimum(highest, tops), highest)
        offset = np.where(lowest < -RINGING * np.maximum(highest, 0), lowest, 0.0)
        scale = np.where(highest > offset, highest - offset, 1.0)
        return cls(float(offset.item()), float(scale.item())) if per == "volume" else cls(offset, scale)

    def normalise(self, array: Array) -> Array:
        """Map native intensities to [0, 1], an array of the same kind; what lies below the offset becomes 0."""
        result = array - _as(self.offset, array)
        result /= _as(self.scale, array)  # in place, as volumes are large
        if isinstance(result, torch.Tensor):
            result.clamp_(min=0)
        else:
            np.maximum(result, 0, out=result)
        return result


def tissue_threshold(intensities: np.ndarray) -> float:
    """Return the intensity above which a voxel is tissue: 15 % of the 99th percentile of positive voxels, if any.

    That is above the noise of air, which must lie about 0, and below the darkest tissue of a T2w image (Otsu's
    threshold falls between fluid and white matter).
    """
    positive = intensities[intensities > 0]
    # one copy of a large volume is enough
    return 0.15 * float(np.percentile(positive, 99, overwrite_input=True)) if positive.size else 0.0


def _bright(intensities: np.ndarray) -> float:
    """Return what 1 in 1000 voxels of tissue exceed; 0 without any."""
    tissue = intensities[intensities > tissue_threshold(intensities)]
    return float(np.percentile(tissue, 99.9, method="lower", overwrite_input=True)) if tissue.size else 0.0


def tissue_slices(volume: np.ndarray, axis: int = -1) -> np.ndarray:
    """Tell which slices along an axis hold at least a tenth of the fullest one's tissue: one if a voxel is positive."""
    threshold = tissue_threshold(volume)
    n_tissue = np.array([(slice_ > threshold).sum() for slice_ in np.moveaxis(volume, axis, 0)])
    return cast(np.ndarray, n_tissue >= max(0.1 * n_tissue.max(), 1))


def _as(value: float | np.ndarray, array: Array) -> float | Array:
    """Return a number as it is, and an array as the kind, type and device of another."""
    if not isinstance(value, np.ndarray):
        return value
    if isinstance(array, torch.Tensor):
        dtype = array.dtype if array.is_floating_point() else torch.float32
        return torch.as_tensor(value, dtype=dtype, device=array.device)
    return value.astype(np.result_type(array.dtype, np.float32))
