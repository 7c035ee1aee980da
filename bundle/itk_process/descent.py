# SPDX-License-Identifier: Apache-2.0
"""The part of rigid registration that ITK does: descents of the mutual information from given starts."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from bundle.itk_process.itk_images import Image, from_transform, load_itk, to_itk, to_transform

N_BINS: Final = 32
SEED: Final = 20200228
"""Samples are taken at random places about a regular grid: the same ones in every run."""
LAST_STEP, RELAXATION, MAX_STEPS = 1e-3, 0.8, 200
"""Steps are in mm of the voxel that moves most; one shrinks by the relaxation where the direction turns. With ITK's
default of 0.5 the descent stops short, by up to 0.3 mm on real pairs."""


class Level(NamedTuple):
    """Hold one resolution.

    Attributes:
        shrink: target's voxels that become one, along each axis.
        smoothing: in mm.
        step: the first one, in mm.
        sampled: part of the voxels that is looked at.
    """

    shrink: Sequence[int]
    smoothing: float
    step: float
    sampled: float


class Motion(NamedTuple):
    """Hold what was found.

    Attributes:
        matrix: (4, 4), rigid, RAS mm, target point to reference point.
        metric_start: mutual information in nats without any motion.
        metric_end: that of the matrix.
        start: name of the start that won.
    """

    matrix: np.ndarray
    metric_start: float
    metric_end: float
    start: str


class _Pair(NamedTuple):
    """Hold both volumes as ITK images, where to sample, and the point that angles turn about."""

    target: Any
    reference: Any
    mask: Any
    centre: np.ndarray


def find_motion(
    target: Image,
    reference: Image,
    sampled: Image,
    centre: np.ndarray,
    starts: Mapping[str, tuple[np.ndarray, float]],
    levels: Sequence[Level],
) -> Motion | None:
    """Descend from every start at the first level, and go on from the best through the others.

    Args:
        target: coarse volume, float32.
        reference: coarse volume, float32.
        sampled: where on the target's grid to look, uint8.
        centre: (3,), RAS mm, about which a turn counts.
        starts: by name a matrix (4, 4) and a weight of the mutual information it leads to.
        levels: from coarse to fine.

    Returns:
        Where it ends; ``None`` if no start overlaps with the reference.

    Raises:
        InputError: if the voxel axes of a volume are not at right angles.
    """
    pair = _as_pair(target, reference, sampled, centre)
    reached = {}
    for name, (matrix, weight) in starts.items():
        try:
            there = _descend(pair, matrix, levels[0])
        except RuntimeError:  # ITK's, where no sample falls into the reference
            continue
        reached[name] = (weight * _information(pair, there), there)
    if not any(score for score, _ in reached.values()):
        return None
    start = max(reached, key=lambda name: reached[name][0])  # the first of equals
    matrix = reached[start][1]
    for level in levels[1:]:
        matrix = _descend(pair, matrix, level)
    return Motion(matrix, _information(pair, np.eye(4)), _information(pair, matrix), start)


def _as_pair(target: Image, reference: Image, sampled: Image, centre: np.ndarray) -> _Pair:
    """Return what ITK needs."""
    mask = load_itk().ImageMaskSpatialObject[3].New()
    mask.SetImage(to_itk(*sampled))
    mask.Update()
    return _Pair(to_itk(*target), to_itk(*reference), mask, centre)


def _descend(pair: _Pair, matrix: np.ndarray, level: Level) -> np.ndarray:
    """Return where the descent at one level leads from a matrix."""
    itk = load_itk()
    kind = type(pair.target)
    metric = _metric(pair)
    transform = to_transform(matrix, pair.centre)
    method = itk.ImageRegistrationMethodv4[kind, kind].New()
    method.SetFixedImage(pair.target)
    method.SetMovingImage(pair.reference)
    method.SetMetric(metric)
    method.SetOptimizer(_optimizer(metric, level.step))
    method.SetInitialTransform(transform)
    method.InPlaceOn()
    method.SetNumberOfLevels(1)
    method.SetShrinkFactorsPerDimension(0, list(level.shrink))
    method.SetSmoothingSigmasPerLevel([level.smoothing])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    method.SetMetricSamplingStrategy(itk.ImageRegistrationMethodv4Enums.MetricSamplingStrategy_REGULAR)
    method.SetMetricSamplingPercentage(level.sampled)
    method.MetricSamplingReinitializeSeed(SEED)
    method.Update()
    return from_transform(transform)


def _metric(pair: _Pair) -> Any:
    """Return the metric over the target's head."""
    itk = load_itk()
    kind = type(pair.target)
    metric = itk.MattesMutualInformationImageToImageMetricv4[kind, kind].New()
    metric.SetNumberOfHistogramBins(N_BINS)
    metric.SetFixedImageMask(pair.mask)
    metric.SetUseFixedImageGradientFilter(False)
    metric.SetUseMovingImageGradientFilter(False)
    metric.SetMaximumNumberOfWorkUnits(1)  # threads would add up in any order and change the last bits
    return metric


def _optimizer(metric: Any, step: float) -> Any:
    """Return the descent, its parameters scaled by how far they move the image."""
    itk = load_itk()
    scales = itk.RegistrationParameterScalesFromPhysicalShift[type(metric)].New()
    scales.SetMetric(metric)
    optimizer = itk.RegularStepGradientDescentOptimizerv4.D.New()
    optimizer.SetScalesEstimator(scales)
    optimizer.SetDoEstimateLearningRateOnce(False)
    optimizer.SetLearningRate(step)
    optimizer.SetMinimumStepLength(LAST_STEP)
    optimizer.SetRelaxationFactor(RELAXATION)
    optimizer.SetNumberOfIterations(MAX_STEPS)
    optimizer.SetGradientMagnitudeTolerance(1e-8)
    optimizer.SetReturnBestParametersAndValue(True)
    return optimizer


def _information(pair: _Pair, matrix: np.ndarray) -> float:
    """Return the mutual information in nats over all voxels of the finest level; 0 where nothing overlaps."""
    metric = _metric(pair)
    metric.SetFixedImage(pair.target)
    metric.SetMovingImage(pair.reference)
    metric.SetMovingTransform(to_transform(matrix, pair.centre))
    metric.SetVirtualDomainFromImage(pair.target)
    try:
        metric.Initialize()
        value = -float(metric.GetValue())
    except RuntimeError:  # ITK's, where no voxel falls into the reference
        return 0.0
    return value if 0 < value < 100 else 0.0  # ITK's largest number where too few voxels do
