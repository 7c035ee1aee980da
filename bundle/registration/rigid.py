# SPDX-License-Identifier: Apache-2.0
"""Rigid registration of a reference to a target by mutual information, with SimpleITK.

Mattes' mutual information (Mattes et al., IEEE TMI 22 (2003) 120-128, doi 10.1109/TMI.2003.809072) over the target's
head, from coarse to fine, by gradient descent with regular steps. Two starts are taken through the coarsest level,
the scanner's coordinates and the heads' centres on each other; the better goes on.
"""

import time
from dataclasses import dataclass
from typing import Final

import numpy as np
from nibabel.affines import apply_affine, from_matvec
from scipy.ndimage import distance_transform_edt
from scipy.spatial.transform import Rotation

from bundle.errors import InputError
from bundle.registration.isolation import isolated
from bundle.registration.volumes import COARSE, PlacedVolume, head, head_places, overlap_fraction, refuse_shear

# Voxel size, smoothing and first step in mm; part of the voxels that is sampled. Small first steps keep a finer level
# where the coarser one led: steps of 1 mm left it for another peak, 1 mm off, on real pairs.
LEVELS: Final = ((4 * COARSE, 4.0, 1.0, 1.0), (2 * COARSE, 2.0, 0.5, 0.5), (COARSE, 0.0, 0.25, 0.2))
MARGIN: Final = 15.0  # mm of air about the head that are sampled: without it the outline would not count
MOMENTS_GAIN: Final = 1.05  # how much better the moments start must be than the header's to be taken


@dataclass(frozen=True, eq=False)
class Registration:
    """Hold where the reference lies, and how well: where the headers (start) and where registration put it."""

    matrix: np.ndarray  # (4, 4), rigid, RAS mm: a point of the target to the same of the anatomy in the reference
    metric_start: float  # mutual information in nats, 0 outside
    metric_end: float
    overlap_start: float  # part of the target's head in the reference's field of view
    overlap: float
    rotation_degrees: float
    shift_mm: float  # of the centre of the target's head
    displacement_mm: float  # of its voxels, on average
    start: str  # the one that won: header or moments
    seconds: float


def register(target: PlacedVolume, reference: PlacedVolume) -> Registration:
    """Find the rigid motion between two scans of one head, of two contrasts on any two grids.

    The target may be blurred by zero-filling. The result depends on the two volumes alone: not on the number of
    threads, and not on earlier calls.

    Raises:
        InputError: if the voxel axes of a volume are not at right angles, or the two cannot be brought to overlap.
    """
    begin = time.perf_counter()
    for volume in (target, reference):
        refuse_shear(volume.affine, volume.name)
    fixed, moving = target.coarse, reference.coarse
    places = head_places(fixed)
    centre = places.mean(axis=0)
    moments = from_matvec(np.eye(3), head_places(moving).mean(axis=0) - centre)
    starts = {"header": (np.eye(4), MOMENTS_GAIN), "moments": (moments, 1.0)}
    sampled = (distance_transform_edt(~head(fixed), sampling=fixed.spacing) <= MARGIN).astype(np.uint8)
    levels = [(np.rint(voxel / fixed.spacing).clip(1).astype(int).tolist(), *others) for voxel, *others in LEVELS]
    images = (fixed.voxels, fixed.affine), (moving.voxels, moving.affine)
    found = isolated("find_motion", *images, sampled, centre, starts, levels)
    if found is None:
        raise InputError(f"{reference.name}: cannot be brought to overlap with {target.name}; check what it shows.")
    start, matrix, metric_start, metric_end = found
    return Registration(
        matrix=matrix,
        metric_start=metric_start,
        metric_end=metric_end,
        overlap_start=overlap_fraction(places, reference, np.eye(4)),
        overlap=overlap_fraction(places, reference, matrix),
        rotation_degrees=float(np.degrees(Rotation.from_matrix(matrix[:3, :3]).magnitude())),
        shift_mm=displacement_mm(matrix, centre[None]),
        displacement_mm=displacement_mm(matrix, places),
        start=start,
        seconds=time.perf_counter() - begin,
    )


def displacement_mm(matrix: np.ndarray, places: np.ndarray) -> float:
    """Return how far a rigid motion moves points (n, 3), on average."""
    return float(np.linalg.norm(apply_affine(matrix, places) - places, axis=1).mean())
