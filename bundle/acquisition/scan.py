# SPDX-License-Identifier: Apache-2.0
"""One slice as a scanner would show it: y = |A_rows (x exp(i phase) + noise) A_columns^T|."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from bundle.acquisition.axis import Axis, KSpaceAxis, SliceAxis
from bundle.acquisition.estimate import AxisEstimate, zero_filled_by

Region = tuple[int, int, int, int]  # of a slice: first row, first column, rows and columns


@dataclass(frozen=True)
class Scan:
    """How a slice (H, W) is acquired.

    Args:
        rows: what happens along the first axis.
        columns: along the second; at most one of both is a :class:`SliceAxis`.
        noise: Tensor (2, H, W), white, of the real and of the imaginary channel, before all filtering.
        phase: Tensor (H, W), rad, of the object.
    """

    rows: Axis
    columns: Axis
    noise: Tensor | None = None
    phase: Tensor | None = None

    @property
    def zero_filled_by(self) -> float:
        """The factor by which both axes are zero-filled without a window, as of what is known of them; else 0."""
        if isinstance(self.rows, SliceAxis) or isinstance(self.columns, SliceAxis):
            return 0.0
        return zero_filled_by(AxisEstimate.of(self.rows), AxisEstimate.of(self.columns))


def white_deviation(deviation: float, *axes: Axis) -> float:
    """Return the standard deviation of white noise that has ``deviation`` once a block of each axis is left of it.

    A block alone, as a scanner measures it: a window then lowers it further. Thick slices have noise of their own.
    """
    return deviation * math.prod(axis.factor for axis in axes if isinstance(axis, KSpaceAxis)) ** 0.5


def scan(image: Tensor, settings: Scan, region: Region | None = None) -> Tensor:
    """Acquire a slice and return its magnitude.

    Noise is that of the acquired samples: the window and the zero-filling act on it too. Of thick slices each has
    noise of its own, and the interpolation between them acts on their magnitudes, as a viewer's does.

    Args:
        image: Tensor (H, W), real, float32 or float64.
        settings: how.
        region: what to return; ``None`` for all.

    Returns:
        Tensor (rows, columns), real, not negative but for overshoots of the interpolation.
    """
    top, left, n_rows, n_columns = region or (0, 0, *image.shape)
    if isinstance(settings.columns, SliceAxis):
        turned = Scan(settings.columns, settings.rows, _turned(settings.noise), _turned(settings.phase))
        return scan(image.mT, turned, (left, top, n_columns, n_rows)).mT
    object_ = image if settings.phase is None else torch.polar(image, settings.phase.to(image))
    columns = settings.columns.matrix(left, n_columns, image.dtype).mT
    if isinstance(settings.rows, SliceAxis):
        slices = _with_noise(_product(settings.rows.sampling().to(image), object_), settings.noise)
        return settings.rows.interpolation()[top : top + n_rows].to(image) @ _product(slices, columns).abs()
    half = _product(_with_noise(object_, settings.noise), columns)
    return _product(settings.rows.matrix(top, n_rows, image.dtype), half).abs()


def _with_noise(image: Tensor, noise: Tensor | None) -> Tensor:
    """Add noise (2, >= H, W) to an image (H, W)."""
    if noise is None:
        return image
    real, imaginary = noise[:, : len(image)].to(image.real)
    return (
        torch.complex(image.real + real, image.imag + imaginary)
        if image.is_complex()
        else torch.complex(image + real, imaginary.contiguous())
    )


def _product(a: Tensor, b: Tensor) -> Tensor:
    """Multiply matrices of one precision, without complex numbers where there are none."""
    if a.is_complex() and not b.is_complex():
        return torch.complex(a.real @ b, a.imag @ b)
    if b.is_complex() and not a.is_complex():
        return torch.complex(a @ b.real, a @ b.imag)
    return a @ b


def _turned(image: Tensor | None) -> Tensor | None:
    return None if image is None else image.mT
