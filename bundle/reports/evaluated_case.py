# SPDX-License-Identifier: Apache-2.0
"""What is kept to be looked at of an evaluated case: a montage of three of its slices, and slices as arrays."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy.typing as npt
from torch import Tensor

from bundle.drawing.case_slices import CaseSlices, scores_by_slice
from bundle.drawing.montage import MontageColumn, save_montage
from bundle.drawing.slice_choice import quartile_slices
from bundle.keys import HIGH_RES, REFERENCE


def save_case_montage(
    path: str | os.PathLike[str],
    volumes: Mapping[str, Tensor],
    affine: npt.ArrayLike,
    scores: Mapping[str, Mapping[str, Tensor]],
    slices: Sequence[int],
) -> Path:
    """Draw the slices at the quartiles of a case as a PNG, with their own scores; its stem is the title.

    Columns: the images that are compared with the ground truth in the order given (low-res, then outputs),
    the ground truth, the reference contrast if there is one, then the absolute error of each compared image.

    Volumes are Tensors (1, H, W, D) in [0, 1] by image name, with ``high_res`` and at least one other; scores by image
    and metric Tensors (D,); ``slices`` the D indices in the file. Raises ``InputError`` if it cannot be written.
    """
    shown = quartile_slices(range(len(slices)))
    images = {name: volume[0, ..., shown].numpy() for name, volume in volumes.items()}
    case = CaseSlices.of(images, affine, [slices[position] for position in shown], scores_by_slice(scores, shown))
    columns = [MontageColumn(case, name, HIGH_RES) for name in volumes if name not in (HIGH_RES, REFERENCE)]
    columns += [MontageColumn(case, name) for name in (HIGH_RES, REFERENCE) if name in volumes]
    return save_montage(path, columns, Path(path).stem)


def save_case_panels(
    path: str | os.PathLike[str], volumes: Mapping[str, Tensor], affine: npt.ArrayLike, slices: Sequence[int]
) -> Path:
    """Keep n slices of a case, Tensors (1, H, W, n), in an ``.npz`` for figures that compare several evaluations."""
    return CaseSlices.of({name: volume[0].numpy() for name, volume in volumes.items()}, affine, slices).save(path)
