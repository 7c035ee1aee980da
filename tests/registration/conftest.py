# SPDX-License-Identifier: Apache-2.0
"""A head given by a formula, so that it can be scanned on any grid, moved by any motion, without interpolation."""

from collections.abc import Callable

import nibabel as nib
import numpy as np
import pytest
from nibabel.affines import apply_affine
from scipy.spatial.transform import Rotation

from bundle.registration import PlacedVolume

Scan = Callable[..., PlacedVolume]


def rigid(degrees: tuple[float, float, float], shift: tuple[float, float, float]) -> np.ndarray:
    """Return a motion about the origin, (4, 4)."""
    return nib.affines.from_matvec(Rotation.from_euler("xyz", degrees, degrees=True).as_matrix(), shift)


def grid(
    spacing: tuple[float, float, float], shape: tuple[int, int, int], degrees: tuple[float, float, float] = (0, 0, 0)
) -> np.ndarray:
    """Return the affine of an oblique grid centred on the origin."""
    matrix = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix() @ np.diag(spacing)
    return nib.affines.from_matvec(matrix, -matrix @ ((np.array(shape) - 1) / 2))


def signal(points: np.ndarray, contrast: str, person: int) -> np.ndarray:
    """Return what a contrast shows at points (..., 3) in mm: an ellipsoid with folds, air outside."""
    random = np.random.default_rng(person)
    waves = random.normal(size=(14, 3))
    waves *= (2 * np.pi / random.uniform(14, 40, 14) / np.linalg.norm(waves, axis=1))[:, None]
    phases = random.uniform(0, 2 * np.pi, 14)
    folds = 0.5 + 0.5 * np.tanh(np.cos(points @ waves.T + phases).sum(axis=-1))
    outline = random.uniform([60, 75, 55], [75, 95, 70])
    inside = 1 / (1 + np.exp(20 * (np.linalg.norm(points / outline, axis=-1) - 1)))
    return inside * (0.25 + 0.75 * folds**2 if contrast == "T2w" else 0.9 - 0.6 * folds)


@pytest.fixture(scope="session")
def scan() -> Scan:
    """Return a function that scans the head."""

    def scanned(
        contrast: str,
        shape: tuple[int, int, int],
        affine: np.ndarray,
        motion: np.ndarray | None = None,
        person: int = 0,
    ) -> PlacedVolume:
        points = apply_affine(affine, np.moveaxis(np.indices(shape), 0, -1))
        points = points if motion is None else apply_affine(np.linalg.inv(motion), points)
        return PlacedVolume(1000 * signal(points, contrast, person).astype(np.float32), affine, f"{contrast}.nii.gz")

    return scanned
