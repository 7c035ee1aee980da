# SPDX-License-Identifier: Apache-2.0
"""Rigid registration of a reference to a target by mutual information, with ITK.

Mattes' mutual information (Mattes et al., IEEE TMI 22 (2003) 120-128, doi 10.1109/TMI.2003.809072) over the target's
head, from coarse to fine, by gradient descent with regular steps. Two starts are taken through the coarsest level,
the scanner's coordinates and the heads' centres on each other; the better goes on.
"""

import time
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from nibabel.affines import apply_affine
from scipy.spatial.transform import Rotation

from bundle.errors import InputError
from bundle.registration.itk_images import from_transform, load_itk, to_itk, to_transform
from bundle.registration.volumes import COARSE, PlacedVolume, head, overlap_fraction, positions, widened

Start = Literal["header", "moments"]


class Level(NamedTuple):
    """Hold one resolution: voxel size, smoothing and first step in mm, and the part of the voxels that is sampled."""

    voxel: float
    smoothing: float
    step: float
    sampled: float


LEVELS: Final = (
    Level(4 * COARSE, 4.0, 1.0, 1.0),
    Level(2 * COARSE, 2.0, 0.5, 0.5),
    Level(COARSE, 0.0, 0.25, 0.2),
)
"""Small first steps keep a finer level where the coarser one led: steps of 1 mm left it for another peak, 1 mm off,
on real pairs."""
N_BINS: Final = 32
SEED: Final = 20200228
"""Samples are taken at random places about a regular grid: the same ones in every run."""
MARGIN: Final = 15.0
"""Air about the head that is sampled, in mm: without it the outline would not count."""
MOMENTS_GAIN: Final = 1.05
"""How much better the moments start must be than the header's to be taken."""
LAST_STEP, RELAXATION, MAX_STEPS = 1e-3, 0.8, 200
"""Steps are in mm of the voxel that moves most; one shrinks by the relaxation where the direction turns. With ITK's
default of 0.5 the descent stops short, by up to 0.3 mm on real pairs."""


@dataclass(frozen=True, eq=False)
class Registration:
    """Hold where the reference lies, and how well.

    Attributes:
        matrix: (4, 4), rigid, RAS mm: a point of the target to the same point of the anatomy in the reference.
        metric_start: mutual information in nats where the headers put the reference, 0 where they put it outside.
        metric_end: mutual information in nats where registration put it.
        overlap_start: part of the target's head that the headers put into the reference's field of view, in [0, 1].
        overlap: the same part where registration put it.
        rotation_degrees: angle between the headers' and the registration's placement.
        shift_mm: how far registration moved the centre of the target's head.
        displacement_mm: how far it moved the voxels of the target's head, on average: turn and shift together.
        start: which start won.
        seconds: time taken.
    """

    matrix: np.ndarray
    metric_start: float
    metric_end: float
    overlap_start: float
    overlap: float
    rotation_degrees: float
    shift_mm: float
    displacement_mm: float
    start: Start
    seconds: float


class _Pair(NamedTuple):
    """Hold both volumes as ITK images, where to sample, and the centre of the target's head."""

    target: Any
    reference: Any
    mask: Any
    centre: np.ndarray
    spacing: np.ndarray


def register(target: PlacedVolume, reference: PlacedVolume) -> Registration:
    """Find the rigid motion between two scans of one head.

    The result depends on the two volumes alone: not on the number of threads, and not on earlier calls.

    Args:
        target: the volume that stays; it may be blurred by zero-filling.
        reference: the volume to place, another contrast on any grid.

    Raises:
        InputError: if the voxel axes of a volume are not at right angles, or the two cannot be brought to overlap.
    """
    begin = time.perf_counter()
    fixed, moving = target.coarse, reference.coarse
    mask = head(fixed)
    places = positions(mask, fixed.affine)
    centre = places.mean(axis=0)
    moments = np.eye(4)
    moments[:3, 3] = positions(head(moving), moving.affine).mean(axis=0) - centre
    pair = _as_pair(fixed, moving, mask, centre)
    if (found := _better_start(pair, {"header": np.eye(4), "moments": moments})) is None:
        raise InputError(f"{reference.name}: cannot be brought to overlap with {target.name}; check what it shows.")
    start, matrix = found
    for level in LEVELS[1:]:
        matrix = _descend(pair, matrix, level)
    return Registration(
        matrix=matrix,
        metric_start=_information(pair, np.eye(4)),
        metric_end=_information(pair, matrix),
        overlap_start=overlap_fraction(fixed, mask, reference, np.eye(4)),
        overlap=overlap_fraction(fixed, mask, reference, matrix),
        rotation_degrees=rotation_degrees(matrix),
        shift_mm=displacement_mm(matrix, centre[None]),
        displacement_mm=displacement_mm(matrix, places),
        start=start,
        seconds=time.perf_counter() - begin,
    )


def rotation_degrees(matrix: np.ndarray) -> float:
    """Return the angle of a rigid motion, in [0, 180]."""
    return float(np.degrees(Rotation.from_matrix(matrix[:3, :3]).magnitude()))


def displacement_mm(matrix: np.ndarray, places: np.ndarray) -> float:
    """Return how far a rigid motion moves points (n, 3), on average."""
    return float(np.linalg.norm(apply_affine(matrix, places) - places, axis=1).mean())


def _as_pair(fixed: PlacedVolume, moving: PlacedVolume, mask: np.ndarray, centre: np.ndarray) -> _Pair:
    """Return what ITK needs of two coarse volumes."""
    itk = load_itk()
    sampled = itk.ImageMaskSpatialObject[3].New()
    where = widened(mask, fixed.spacing, MARGIN).astype(np.uint8)
    sampled.SetImage(to_itk(where, fixed.affine, fixed.name))
    sampled.Update()
    images = [to_itk(volume.voxels, volume.affine, volume.name) for volume in (fixed, moving)]
    return _Pair(images[0], images[1], sampled, centre, fixed.spacing)


def _better_start(pair: _Pair, starts: dict[Start, np.ndarray]) -> tuple[Start, np.ndarray] | None:
    """Return the name of the better start, and where the coarsest level leads from it; ``None`` where nowhere."""
    reached: dict[Start, np.ndarray] = {}
    for name, matrix in starts.items():
        try:
            reached[name] = _descend(pair, matrix, LEVELS[0])
        except RuntimeError:  # ITK's, where no sample falls into the reference
            continue
    scores = {name: _information(pair, matrix) for name, matrix in reached.items()}
    if not any(scores.values()):
        return None
    header = scores.get("header", 0.0)
    best: Start = "moments" if scores.get("moments", 0.0) > MOMENTS_GAIN * header else "header"
    return best, reached[best]


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
    method.SetShrinkFactorsPerDimension(0, [max(1, round(level.voxel / size)) for size in pair.spacing])
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
