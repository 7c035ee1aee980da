# SPDX-License-Identifier: Apache-2.0
"""Where in k-space an output departs from the input that was measured."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import fft
from scipy.ndimage import uniform_filter

from bundle.drawing.slice_choice import Box, Image
from bundle.kspace import kept_block

_WINDOW = 5  # samples a side: single samples scatter too much to be read


class KspaceResidual(NamedTuple):
    """What an output adds to its input, in k-space, as shares of amplitudes.

    In ``share`` (rows, columns), zero frequency at index ``size // 2``, it is the difference over the output, each the
    root mean square of 5 x 5 neighbours. ``inside`` is the difference within the measured block over the input there,
    ``added`` the output outside the block over all of it; both are 0 without a block.
    """

    share: Image
    inside: float = 0.0
    added: float = 0.0


def kspace_residual(low_res: Image, super_res: Image, block: Box | None) -> KspaceResidual:
    """Compare the k-space of two whole slices, arrays (rows, columns) of one scale; NaN counts as 0.

    The block is what was measured, in samples of centred k-space; ``None`` where that is not known.
    """
    measured, output = (
        fft.fftshift(fft.fft2(np.nan_to_num(image.astype(np.float64), posinf=0.0, neginf=0.0)))
        for image in (low_res, super_res)
    )
    difference = output - measured
    # k-space is periodic: its last row neighbours its first
    powers = [uniform_filter(np.abs(part) ** 2, _WINDOW, mode="wrap").clip(min=0) for part in (difference, output)]
    share = np.sqrt(_ratio(*powers)).clip(0, 1).astype(np.float32)
    if block is None:
        return KspaceResidual(share)
    inside = np.zeros(share.shape, dtype=bool)
    block.crop(inside)[:] = True
    amplitudes = [difference[inside], measured[inside], output[~inside], output]
    parts, wholes = np.array([np.linalg.norm(samples) for samples in amplitudes]).reshape(2, 2).T
    return KspaceResidual(share, *_ratio(parts, wholes).tolist())


def measured_block(shape: tuple[int, int], n_measured: tuple[int, int]) -> Box:
    """Return the block of centred k-space that holds a number of samples along each axis of a slice."""
    top, left = (kept_block(size, size / kept)[0] for size, kept in zip(shape, n_measured, strict=True))
    return Box(top, left, *n_measured)


def _ratio(part: npt.NDArray[np.floating], whole: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
