# SPDX-License-Identifier: Apache-2.0
"""The montage of one evaluated case: three of its slices, hung as a radiologist would."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy.typing as npt
from torch import Tensor

from bundle.reports.montage import MontageOptions, save_montage
from bundle.reports.orientation import display_orientation
from bundle.reports.selection import quartile_slices


def save_case_montage(
    path: str | os.PathLike[str],
    volumes: Mapping[str, Tensor],
    affine: npt.ArrayLike,
    scores: Mapping[str, Mapping[str, Tensor]],
    slices: Sequence[int],
) -> Path:
    """Draw the slices at the quartiles of a case, with their own scores.

    Args:
        path: the ``.png`` to write; its stem is the title.
        volumes: Tensors (1, H, W, D) in [0, 1] by image name, with ``high_res`` and at least one other.
        affine: 4x4 of the volumes, voxel index to mm, for the orientation on the page.
        scores: by image and metric one value a slice, Tensors (D,).
        slices: the D slices' indices in the file.

    Returns:
        The path of the file.

    Raises:
        InputError: if the file cannot be written.
    """
    shown = {name: display_orientation(volume[0].numpy(), affine) for name, volume in volumes.items()}
    display = next(iter(shown.values()))
    positions = quartile_slices(range(len(slices)))
    options = MontageOptions(
        title=Path(path).stem,
        row_labels=[f"slice {slices[position]}" for position in positions],
        aspect=display.aspect,
        edges=(display.left, display.top),
    )
    rows = [{name: turned.volume[..., position] for name, turned in shown.items()} for position in positions]
    numbers = [
        {image: {m: float(v[position]) for m, v in metrics.items()} for image, metrics in scores.items()}
        for position in positions
    ]
    return save_montage(path, rows, numbers, options)
