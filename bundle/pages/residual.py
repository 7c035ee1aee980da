# SPDX-License-Identifier: Apache-2.0
"""Where in k-space an output departs from the input that was measured."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft
from scipy.ndimage import uniform_filter

from bundle.drawing.slice_choice import Box, Image
from bundle.kspace import kept_block

_WINDOW = 5  # samples a side: single samples scatter too much to be read


@dataclass(frozen=True)
class KspaceResidual:
    """Compare the k-space of two stacks of slices.

    Attributes:
        share: array (rows, columns, n) in [0, 1], zero frequency at index ``size // 2``: amplitude of the
            difference over that of the output, each the root mean square of a 5 x 5 neighbourhood. 0 where the
            output is what was measured, 1 where all of it was added.
        inside: for each slice, amplitude of the difference within the measured block over that of the input
            there; empty where the block is not known.
        added: for each slice, amplitude of the output outside the block over that of all of it; likewise.
    """

    share: Image
    inside: tuple[float, ...] = ()
    added: tuple[float, ...] = ()

    @classmethod
    def of(cls, low_res: Image, super_res: Image, block: Box | None) -> "KspaceResidual":
        """Transform and compare.

        Args:
            low_res: array (rows, columns, n), whole slices of the input.
            super_res: the output, of the same shape and on the same scale.
            block: what was measured, in samples of centred k-space; ``None`` where that is not known.
        """
        measured, output = (_spectrum(stack) for stack in (low_res, super_res))
        difference = output - measured
        share = np.sqrt(_ratio(_local_power(difference), _local_power(output))).clip(0, 1)
        if block is None:
            return cls(share)
        inside = np.zeros(share.shape[:2], dtype=bool)
        inside[block.top : block.top + block.height, block.left : block.left + block.width] = True
        return cls(
            share,
            inside=_amplitudes(difference[inside], measured[inside]),
            added=_amplitudes(output[~inside], output.reshape(-1, output.shape[-1])),
        )


def measured_block(shape: tuple[int, int], n_measured: tuple[int, int]) -> Box:
    """Return the block of centred k-space that holds a number of samples along each axis of a slice."""
    starts = [kept_block(size, size / kept)[0] for size, kept in zip(shape, n_measured, strict=True)]
    return Box(starts[0], starts[1], n_measured[0], n_measured[1])


def _spectrum(stack: Image) -> npt.NDArray[np.complexfloating]:
    """Return the centred k-space of each slice; NaN counts as 0."""
    finite = np.nan_to_num(np.asarray(stack, dtype=np.float32), posinf=0.0, neginf=0.0)
    return np.asarray(fft.fftshift(fft.fft2(finite, axes=(0, 1)), axes=(0, 1)))


def _local_power(spectrum: npt.NDArray[np.complexfloating]) -> npt.NDArray[np.float64]:
    # k-space is periodic: its last row neighbours its first
    power = np.abs(spectrum).astype(np.float64) ** 2
    return np.asarray(uniform_filter(power, (_WINDOW, _WINDOW, 0), mode="wrap")).clip(min=0)


def _amplitudes(part: npt.NDArray[np.complexfloating], whole: npt.NDArray[np.complexfloating]) -> tuple[float, ...]:
    """Return the ratio of two amplitudes for each slice, from arrays (samples, n)."""
    squares = [np.sum(np.abs(samples).astype(np.float64) ** 2, axis=0) for samples in (part, whole)]
    return tuple(float(value) for value in np.sqrt(_ratio(*squares)))


def _ratio(part: npt.NDArray[np.float64], whole: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Divide, with 0 where the whole is 0."""
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
