# SPDX-License-Identifier: Apache-2.0
"""What a case looks like in a few numbers, none of which depends on the intensity scale."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from bundle.volumes.intensity import tissue_slices, tissue_threshold

Image = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

N_SLICES: Final = 6  # that are looked at, at equal distances among those that hold tissue
LEVELS: Final = tuple(round(0.05 * step, 2) for step in range(1, 20))  # of the quantiles that stand for a histogram
EDGE_SCALE: Final = 2.0  # sd in pixels of the filter before edges are looked for: what a 4x low-res image still shows
ENOUGH: Final = 256  # pixels a side that suffice to tell which slices hold tissue
AIR_DISTANCE: Final = 8.0  # pixels from the head beyond which there is air, and little of the ringing about edges


@dataclass(frozen=True)
class Profile:
    """Hold the numbers of one case; those of the reference are ``None`` where there is none.

    The target is the low-res image, in training as in use, so that both are measured alike. The middle of the head,
    brain without skull and scalp, is what lies deeper under its outline than half of the deepest voxel of the slice.
    """

    spacing: tuple[float, float]  # mm between voxels in the plane
    slice_distance: float  # mm
    matrix: tuple[int, int]  # voxels in the plane
    target_histogram: list[float]  # quantiles of the tissue at LEVELS, relative to its mean
    # 95th percentile of the middle of the head over its median: fluid is several times as bright as brain in a T2w
    # image, and never much brighter in T1w, PDw and FLAIR images
    target_fluid: float
    target_noise: float | None = None  # level of the air over the median of the middle of the head; None without air
    reference_histogram: list[float] | None = None
    reference_fluid: float | None = None
    # sd by differences of diagonal neighbours in the middle of the head, likewise (in a low-res image, anatomy's)
    reference_noise: float | None = None
    edge_agreement: float | None = None  # see edge_agreement()


def profile(target: Image, reference: Image | None, spacing: Sequence[float]) -> Profile | None:
    """Measure a case; ``None`` where the target holds no tissue.

    The target, low-res, and the reference are (H, W, D) on one grid, air at or near 0; a reference may be ``None`` or
    without any signal. Spacing is mm along the three axes.
    """
    tissue = slices_with_tissue(target)
    if not len(tissue):
        return None
    chosen = np.unique(tissue[((np.arange(N_SLICES) + 0.5) * len(tissue) / N_SLICES).astype(int)])
    low_res = np.moveaxis(target[..., chosen], -1, 0)  # n, H, W
    head = _head(low_res)
    middle = _middle(head)
    found = Profile(
        spacing=(float(spacing[0]), float(spacing[1])),
        slice_distance=float(spacing[2]),
        matrix=(target.shape[0], target.shape[1]),
        target_histogram=_histogram(low_res),
        target_fluid=_fluid(low_res[middle]),
        target_noise=_air_level(low_res, head, middle),
    )
    if reference is None or not (high_res := np.moveaxis(reference[..., chosen], -1, 0))[middle].any():
        return found
    return replace(
        found,
        reference_histogram=_histogram(high_res),
        reference_fluid=_fluid(high_res[middle]),
        reference_noise=_neighbour_noise(high_res, middle),
        edge_agreement=edge_agreement(low_res, high_res, middle),
    )


def slices_with_tissue(volume: Image) -> npt.NDArray[np.int64]:
    """Return which slices of a volume (H, W, D) hold tissue, by every n-th pixel of large ones."""
    step = max(max(volume.shape[:2]) // ENOUGH, 1)
    return np.flatnonzero(tissue_slices(volume[::step, ::step]))


def edge_agreement(a: Image, b: Image, where: Mask) -> float | None:
    """Return how well the edges of two images run along each other, whatever their contrasts.

    The mean of cos^2 of the angle between gradients (normalised gradient fields, Haber and Modersitzki 2006) over
    the pixels whose gradient is above its median in both images: 1 where all edges are shared, about 0.5 for unrelated
    images, ``None`` where fewer than 100 pixels have edges in both. All arrays are (n, H, W), on one grid.
    """
    gradients = [
        np.stack([ndimage.gaussian_filter(x, (0, EDGE_SCALE, EDGE_SCALE), order=o) for o in ((0, 1, 0), (0, 0, 1))])
        for x in (a, b)
    ]
    lengths = [np.hypot(*gradient) for gradient in gradients]
    edges = where.copy()
    for length in lengths:
        edges &= length > (np.median(length[where]) if where.any() else 0)
    if edges.sum() < 100:
        return None
    products = (gradients[0] * gradients[1]).sum(axis=0)[edges]
    return float(np.mean(products**2 / (lengths[0] * lengths[1])[edges] ** 2))


def _head(slices: Image) -> Mask:
    """Return the tissue of each slice (n, H, W), holes filled; smoothed, lest noisy air pass for tissue."""
    tissue = ndimage.gaussian_filter(slices, (0, EDGE_SCALE, EDGE_SCALE)) > tissue_threshold(slices)
    return np.stack([ndimage.binary_fill_holes(slice_) for slice_ in tissue])


def _middle(head: Mask) -> Mask:
    """Return what lies deeper under the outline of each slice than half of its deepest pixel."""
    depths = np.stack([ndimage.distance_transform_edt(slice_) for slice_ in head])
    return np.asarray(depths > 0.5 * depths.max(axis=(1, 2), keepdims=True))


def _histogram(slices: Image) -> list[float]:
    tissue = slices[slices > tissue_threshold(slices)].astype(np.float64)
    return [round(float(q), 4) for q in np.quantile(tissue, LEVELS) / tissue.mean()]


def _fluid(values: Image) -> float:
    middle, bright = np.percentile(values, (50, 95))
    return float(bright / middle) if middle > 0 else 1.0


def _air_level(slices: Image, head: Mask, middle: Mask) -> float | None:
    """Return the lower quartile of the air over the median of the middle of the head."""
    air = np.stack([ndimage.distance_transform_edt(~slice_) > AIR_DISTANCE for slice_ in head])
    if air.sum() < 100:
        return None
    return float(np.quantile(slices[air], 0.25) / np.median(slices[middle]))


def _neighbour_noise(slices: Image, middle: Mask) -> float:
    """Return the noise's standard deviation over the median: Donoho's estimate, from diagonal differences."""
    differences = 0.5 * (slices[:, :-1, :-1] - slices[:, 1:, :-1] - slices[:, :-1, 1:] + slices[:, 1:, 1:])
    level = float(np.median(slices[middle]))
    return float(np.median(np.abs(differences[middle[:, :-1, :-1]])) / 0.6745 / level) if level > 0 else 0.0
