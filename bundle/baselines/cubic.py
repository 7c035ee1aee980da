# SPDX-License-Identifier: Apache-2.0
"""Cubic interpolation of the small image that a scanner without zero-filling would store."""

import numpy as np
import torch
from scipy.ndimage import map_coordinates
from torch import Tensor

from bundle.baselines.baseline import Baseline
from bundle.kspace import kept_block


class Cubic(Baseline):
    """Interpolate between the samples that were measured, by a cubic spline.

    The grid is the aligned one: sample k of ``kept`` lies at the high-res position k * n / kept, voxel 0 on voxel 0.
    Resizing with half-pixel centres, the default elsewhere, would shift the image by (n / kept - 1) / 2 voxels.
    Edges wrap, as in k-space.
    """

    def estimate(self, low_res: Tensor, reference: Tensor) -> Tensor:
        """Return the interpolated slices; the reference has no say."""
        small = measured_samples(low_res, self.factor).flatten(0, 1).numpy(force=True)
        positions = np.meshgrid(
            *(np.arange(n) * m / n for n, m in zip(low_res.shape[-2:], small.shape[-2:], strict=True)), indexing="ij"
        )
        slices = [map_coordinates(image, positions, order=3, mode="grid-wrap") for image in small]
        return torch.from_numpy(np.stack(slices)[:, None]).to(low_res)


def measured_samples(low_res: Tensor, factor: float) -> Tensor:
    """Return the small image that was measured, from its zero-filled one: every ``factor``-th sample.

    Tensor (N, 1, H, W) to (N, 1, kept rows, kept columns), on the same intensity scale. Where ``factor`` does not
    divide the size, the samples lie between voxels and their frequencies fold onto ``kept`` ones. Of a magnitude
    low-res this gives the magnitude of the small image; cropping k-space would not, for the magnitude has frequencies
    outside the block.
    """
    for axis in (-2, -1):
        size = low_res.shape[axis]
        start, stop = kept_block(size, factor)
        n_kept = stop - start
        spectrum = torch.fft.fftshift(torch.fft.fft(low_res, dim=axis, norm="forward"), axis)
        frequency = torch.arange(size, device=low_res.device) - size // 2
        folded = torch.zeros_like(spectrum.narrow(axis, 0, n_kept)).index_add(axis, frequency % n_kept, spectrum)
        low_res = torch.fft.ifft(folded, dim=axis, norm="forward").real
    return low_res
