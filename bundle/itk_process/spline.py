# SPDX-License-Identifier: Apache-2.0
"""The part of resampling that ITK does: one volume on another grid by cubic B-splines."""

from collections.abc import Sequence

import numpy as np

from bundle.itk_process.itk_images import Image, load_itk, to_itk, to_transform


def interpolate(
    image: Image, shape: Sequence[int], affine: np.ndarray, matrix: np.ndarray, n_threads: int = 1
) -> np.ndarray:
    """Return a volume on another grid, float32; 0 outside its field of view.

    Args:
        image: the volume, float32.
        shape: (X, Y, Z) of the grid.
        affine: (4, 4) of the grid, voxel index to RAS mm.
        matrix: (4, 4), rigid, RAS mm, point of the grid to point of the volume.
        n_threads: how many processor cores to use.

    Raises:
        InputError: if the voxel axes of either are not at right angles.
    """
    itk = load_itk()
    scanned = to_itk(*image)
    kind = type(scanned)
    resampler = itk.ResampleImageFilter[kind, kind].New(scanned)
    resampler.SetTransform(to_transform(matrix, np.zeros(3)))
    interpolator = itk.BSplineInterpolateImageFunction[kind, itk.D, itk.F].New()
    interpolator.SetSplineOrder(3)
    resampler.SetInterpolator(interpolator)
    resampler.SetDefaultPixelValue(0)
    resampler.SetNumberOfWorkUnits(n_threads)
    corner = to_itk(np.zeros((1, 1, 1), dtype=np.float32), affine, image.name)
    resampler.SetSize([int(size) for size in shape])
    resampler.SetOutputSpacing(corner.GetSpacing())
    resampler.SetOutputOrigin(corner.GetOrigin())
    resampler.SetOutputDirection(corner.GetDirection())
    resampler.Update()
    return np.asarray(itk.array_from_image(resampler.GetOutput()).T)
