# SPDX-License-Identifier: Apache-2.0
"""The information fidelity criterion of one slice on pyrtools: slow, plain, and what `ifc` is tested against."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from pyrtools.pyramids import SteerablePyramidSpace
from pyrtools.pyramids.c.wrapper import corrDn
from pyrtools.pyramids.pyr_utils import max_pyr_height

_EDGES = "reflect1"
_LOW_PASS_SIZE = (9, 9)
_BLOCK = 3
_WINDOWS = (17, 9, 5, 3)  # from the finest level to the coarsest
_ORIENTATIONS = (0, 3)
_TINY = 1e-15
_NOISE_FLOOR = 1e-10


def ifc_reference(reference: np.ndarray, distorted: np.ndarray) -> float:
    """Return the information fidelity criterion of one slice.

    Definition, argument order and special cases are those of :func:`bundle.metrics.ifc`, which is many times
    faster; this one follows the steps of the authors' program one by one.

    Args:
        reference: the ground truth, array (H, W) in [0, 1].
        distorted: the image to judge, array (H, W) on the same scale.

    Returns:
        Bits per pixel; NaN where an input is not finite or the slice too small for a single block.

    Raises:
        ValueError: if the shapes differ or are not (H, W).
    """
    if reference.ndim != 2 or reference.shape != distorted.shape:
        raise ValueError(f"reference {reference.shape} and distorted {distorted.shape} are not two slices (H, W).")
    if not (np.isfinite(reference).all() and np.isfinite(distorted).all()):
        return float("nan")  # corrDn would spread the NaN over its neighbourhood only
    bits, n_blocks = 0.0, 0
    pyramids = [_bands(255.0 * np.asarray(image, dtype=np.float64)) for image in (reference, distorted)]
    for (level, band), (_, distorted_band) in zip(*pyramids, strict=True):
        information = _information(band, distorted_band, _WINDOWS[level])
        bits += information.sum()
        n_blocks += information.size
    return bits / reference.size if n_blocks else float("nan")


def _bands(image: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """Return the bands that count, each with its level, cropped to whole blocks."""
    height = min(len(_WINDOWS), max_pyr_height(image.shape, _LOW_PASS_SIZE))
    if height == 0:
        return []
    pyramid = SteerablePyramidSpace(image, height=height, order=5, edge_type=_EDGES).pyr_coeffs
    bands = [(level, pyramid[level, orientation]) for level in range(height) for orientation in _ORIENTATIONS]
    return [(level, band[: band.shape[0] // 3 * 3, : band.shape[1] // 3 * 3]) for level, band in bands]


def _information(band: np.ndarray, distorted: np.ndarray, window: int) -> np.ndarray:
    """Return the bits that each block away from the border of the distorted band tells about the reference's."""
    margin = -(-(window // 2) // _BLOCK)
    inside = (slice(margin, band.shape[0] // _BLOCK - margin), slice(margin, band.shape[1] // _BLOCK - margin))
    if min(band.shape) // _BLOCK <= 2 * margin:
        return np.empty(0)
    gain, noise = (field[inside] for field in _channel(band, distorted, window))
    variances, multiplier = _mixture(band)
    ratio = gain**2 * multiplier[inside] / (noise + _NOISE_FLOOR)
    return np.log2(1 + ratio[..., None] * variances).sum(axis=-1)


def _channel(band: np.ndarray, distorted: np.ndarray, window: int) -> tuple[np.ndarray, np.ndarray]:
    """Return gain and noise variance of the distortion, distorted = gain * band + noise, around each block."""
    n_pixels = window**2

    def window_sum(image: np.ndarray) -> np.ndarray:
        box = np.ones((window, window))
        return corrDn(image, box, _EDGES, step=(_BLOCK, _BLOCK), start=(_BLOCK // 2, _BLOCK // 2))

    mean_x, mean_y = window_sum(band) / n_pixels, window_sum(distorted) / n_pixels
    cov_xy = window_sum(band * distorted) - n_pixels * mean_x * mean_y
    ss_x = np.maximum(window_sum(band**2) - n_pixels * mean_x**2, 0)
    ss_y = np.maximum(window_sum(distorted**2) - n_pixels * mean_y**2, 0)
    gain = cov_xy / (ss_x + _TINY)
    noise = (ss_y - gain * cov_xy) / n_pixels
    # The rest is the authors' order of exceptions; where the gain is set to zero the noise no longer matters.
    gain[ss_x < _TINY] = 0
    noise[ss_x < _TINY] = ss_y[ss_x < _TINY]
    gain[ss_y < _TINY] = 0
    noise[ss_y < _TINY] = 0
    noise[gain < 0] = ss_y[gain < 0]
    gain[gain < 0] = 0
    return gain, np.maximum(noise, _TINY)


def _mixture(band: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the reference's Gaussian scale mixture: the 9 variances, and the multiplier S of each block."""
    blocks = sliding_window_view(band, (_BLOCK, _BLOCK))
    covariance = np.cov(blocks.reshape(-1, _BLOCK**2).T, bias=True)
    inverse = np.linalg.pinv(covariance, hermitian=True)  # stripes and the like have no other inverse
    blocks = blocks[::_BLOCK, ::_BLOCK].reshape(*(n // _BLOCK for n in band.shape), _BLOCK**2)
    multiplier = (blocks @ inverse * blocks).sum(axis=-1) / _BLOCK**2
    return np.maximum(np.linalg.eigvalsh(covariance), 0), multiplier
