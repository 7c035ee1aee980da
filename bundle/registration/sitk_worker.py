# SPDX-License-Identifier: Apache-2.0
"""What :func:`bundle.registration.isolation.isolated` runs: SimpleITK's part, in LPS, without slow imports."""

import os
import pickle
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
import SimpleITK as sitk  # noqa: N813

# Voxels (X, Y, Z), float32 or uint8, and affine (4, 4), voxel index to RAS mm.
Image = tuple[np.ndarray, np.ndarray]
# Voxels of the target that become one along each axis, smoothing and first step in mm, part of voxels sampled.
Level = tuple[Sequence[int], float, float, float]

LPS: Final = np.diag([-1.0, -1.0, 1.0, 1.0])  # RAS to LPS, and its own inverse
N_BINS: Final = 32
SEED: Final = 20200228  # of random places about a regular grid, where samples are taken
# Steps are in mm of the voxel that moves most; one shrinks by the relaxation where the direction turns. With ITK's
# default of 0.5 the descent stops short, by up to 0.3 mm on real pairs. It ends where the gradient is flat, too.
LAST_STEP, RELAXATION, MAX_STEPS, FLAT = 1e-3, 0.8, 200, 1e-8


class _Pair(NamedTuple):
    """Hold both volumes, where on the target to sample, and the point that angles turn about."""

    target: sitk.Image
    reference: sitk.Image
    mask: sitk.Image
    centre: np.ndarray


def find_motion(
    target: Image,
    reference: Image,
    mask: np.ndarray,
    centre: np.ndarray,
    starts: Mapping[str, tuple[np.ndarray, float]],
    levels: Sequence[Level],
) -> tuple[str, np.ndarray, float, float] | None:
    """Descend from every start at the first level, and go on from the best through the others, from coarse to fine.

    The mask, uint8 (X, Y, Z), says where on the target's grid to sample; a turn counts about the centre (3,), RAS mm;
    a start has a matrix (4, 4) and a weight of the mutual information that it leads to. Returned are the name of the
    start that won, its matrix, target point to reference point, and the mutual information in nats without any motion
    and with the matrix; ``None`` if no start overlaps with the reference.
    """
    pair = _Pair(to_image(*target), to_image(*reference), to_image(mask, target[1]), centre)
    reached = {}
    for name, (matrix, weight) in starts.items():
        try:
            there = _descend(pair, matrix, levels[0])
        except RuntimeError:  # where no sample falls into the reference
            continue
        reached[name] = (weight * _information(pair, there), there)
    if not any(score for score, _ in reached.values()):
        return None
    start = max(reached, key=lambda name: reached[name][0])  # the first of equals
    matrix = reached[start][1]
    for level in levels[1:]:
        matrix = _descend(pair, matrix, level)
    return start, matrix, _information(pair, np.eye(4)), _information(pair, matrix)


def _descend(pair: _Pair, matrix: np.ndarray, level: Level) -> np.ndarray:
    shrink, smoothing, step, sampled = level
    transform = to_transform(matrix, pair.centre)
    method = _method(pair, transform)
    method.SetVirtualDomainFromImage(sitk.Shrink(pair.target, list(shrink)))
    method.SetShrinkFactorsPerLevel([1])
    method.SetSmoothingSigmasPerLevel([smoothing])
    method.SetMetricSamplingStrategy(method.REGULAR)
    method.SetMetricSamplingPercentage(sampled, SEED)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetOptimizerAsRegularStepGradientDescent(step, LAST_STEP, MAX_STEPS, RELAXATION, FLAT)
    method.Execute(pair.target, pair.reference)
    return from_transform(transform)


def _information(pair: _Pair, matrix: np.ndarray) -> float:
    """Return the mutual information in nats over all voxels of the finest level; 0 where nothing overlaps."""
    try:
        value = -_method(pair, to_transform(matrix, pair.centre)).MetricEvaluate(pair.target, pair.reference)
    except RuntimeError:  # where no voxel falls into the reference
        return 0.0
    return value if 0 < value < 100 else 0.0  # ITK's largest number where too few voxels do


def _method(pair: _Pair, transform: sitk.Transform) -> sitk.ImageRegistrationMethod:
    """Return the metric over the target's head, at or from a transform, which a descent changes in place."""
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(N_BINS)
    method.SetMetricFixedMask(pair.mask)
    method.MetricUseFixedImageGradientFilterOff()
    method.MetricUseMovingImageGradientFilterOff()
    method.SetInterpolator(sitk.sitkLinear)
    method.SetInitialTransform(transform, inPlace=True)
    method.SetNumberOfWorkUnits(1)  # threads would add up in any order and change the last bits
    return method


def interpolate(image: Image, shape: list[int], affine: np.ndarray, matrix: np.ndarray, n_threads: int) -> np.ndarray:
    """Return a volume on another grid by cubic B-splines, float32; 0 outside its field of view."""
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(n_threads)
    grid = to_image(np.zeros((1, 1, 1), np.float32), affine)
    axes = grid.GetOrigin(), grid.GetSpacing(), grid.GetDirection()
    found = sitk.Resample(to_image(*image), shape, to_transform(matrix, np.zeros(3)), sitk.sitkBSpline3, *axes)
    return np.asarray(sitk.GetArrayFromImage(found).T)


def to_image(voxels: np.ndarray, affine: np.ndarray) -> sitk.Image:
    """Return a volume with spacing, origin and direction; left-handed affines are as good, sheared ones are not."""
    axes = (LPS @ affine)[:3]
    spacing = np.linalg.norm(axes[:, :3], axis=0)
    image = sitk.GetImageFromArray(voxels.T)  # its arrays run (Z, Y, X)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(axes[:, 3].tolist())
    image.SetDirection((axes[:, :3] / spacing).ravel().tolist())
    return image


def to_transform(matrix: np.ndarray, centre: np.ndarray) -> sitk.Euler3DTransform:
    """Return a rigid matrix (4, 4), RAS mm, as angles about a centre (3,), RAS mm, and a translation."""
    in_lps = LPS @ matrix @ LPS
    fixed = LPS[:3, :3] @ centre
    transform = sitk.Euler3DTransform()
    transform.SetCenter(fixed.tolist())
    transform.SetMatrix(in_lps[:3, :3].ravel().tolist())
    transform.SetTranslation((in_lps[:3, :3] @ fixed + in_lps[:3, 3] - fixed).tolist())
    return transform


def from_transform(transform: sitk.Euler3DTransform) -> np.ndarray:
    """Return a rigid transform as a matrix (4, 4), RAS mm."""
    in_lps = np.eye(4)
    in_lps[:3, :3] = np.reshape(transform.GetMatrix(), (3, 3))
    in_lps[:3, 3] = transform.TransformPoint((0.0, 0.0, 0.0))
    return LPS @ in_lps @ LPS


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    name, arguments = pickle.load(sys.stdin.buffer)
    pickle.dump(globals()[name](*arguments), sys.stdout.buffer, protocol=pickle.HIGHEST_PROTOCOL)
