# SPDX-License-Identifier: Apache-2.0
"""What is kept to be looked at of an evaluated case: three of its slices, hung as a radiologist would."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from bundle.drawing.montage import MontageOptions, save_montage
from bundle.drawing.orientation import DisplayVolume, display_orientation
from bundle.drawing.slice_choice import quartile_slices
from bundle.files import atomic_path


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
    shown = _displayed(volumes, affine)
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


def save_case_panels(
    path: str | os.PathLike[str], volumes: Mapping[str, Tensor], affine: npt.ArrayLike, slices: Sequence[int]
) -> Path:
    """Keep a few slices of a case as arrays, for figures that compare several evaluations.

    Args:
        path: the ``.npz`` to write. It holds every image as float32 (n, rows, columns) in display orientation,
            ``slices`` (n,), ``aspect`` (height of a pixel over its width) and ``edges`` (the patient's sides at the
            left and at the top).
        volumes: Tensors (1, H, W, n) in [0, 1] by image name.
        affine: 4x4 of the volumes, voxel index to mm.
        slices: the n slices' indices in the file.

    Returns:
        The path of the file.

    Raises:
        InputError: if the file cannot be written.
    """
    shown = _displayed(volumes, affine)
    display = next(iter(shown.values()))
    images = {name: np.moveaxis(turned.volume, -1, 0).astype(np.float32) for name, turned in shown.items()}
    target = Path(path)
    with atomic_path(target) as temporary, temporary.open("wb") as stream:
        about = {"slices": np.array(slices), "aspect": np.array(display.aspect)}
        arrays: dict[str, Any] = {**images, **about, "edges": np.array([display.left, display.top])}
        np.savez_compressed(stream, **arrays)
    return target


def _displayed(volumes: Mapping[str, Tensor], affine: npt.ArrayLike) -> dict[str, DisplayVolume]:
    """Return every image of a case (1, H, W, D) as it is hung."""
    return {name: display_orientation(volume[0].numpy(), affine) for name, volume in volumes.items()}
