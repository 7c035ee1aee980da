# SPDX-License-Identifier: Apache-2.0
"""Some slices of a case, hung as a radiologist would: what montages, study panels and quality pages show."""

import os
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from bundle.drawing.orientation import DisplayOrientation
from bundle.drawing.slice_choice import Image
from bundle.errors import InputError
from bundle.files import atomic_path

# Scores of one slice by image, then by metric.
Scores = Mapping[str, Mapping[str, float]]
_ABOUT = ("slices", "aspect", "edges")


@dataclass(frozen=True)
class CaseSlices:
    """Slices of the images of a case, in display orientation."""

    images: Mapping[str, Image]  # float32 (n, rows, columns)
    slices: Sequence[int]  # indices in the file, counted from 0
    aspect: float  # height of a pixel divided by its width
    sides: tuple[str, str]  # of the patient, at the left and the top edge
    scores: Sequence[Scores] = ()
    n_measured: tuple[int, int] | None = None  # samples of k-space along rows and columns, where that is known

    def __post_init__(self) -> None:
        shape = (len(self.slices), *next(iter(self.images.values())).shape[1:])
        for name, image in self.images.items():
            if image.shape != shape or not image.size:
                raise ValueError(f"{name} has shape {image.shape}, not {shape}; pass the same slices of every image.")

    @classmethod
    def of(
        cls,
        volumes: Mapping[str, npt.ArrayLike],
        affine: npt.ArrayLike,
        slices: Sequence[int],
        scores: Sequence[Scores] = (),
        n_measured: tuple[int, int] | None = None,
    ) -> "CaseSlices":
        """Turn slices, arrays (H, W, n) by name on one grid, from the order of the file.

        The affine is 4 x 4, voxel index to mm, RAS+; ``n_measured`` runs along H and W. ``ValueError`` if shapes differ
        or the affine cannot be inverted.
        """
        orientation = DisplayOrientation.of(affine)
        row, column = orientation.axes
        images = {name: orientation.turn(volume).astype(np.float32) for name, volume in volumes.items()}
        measured = n_measured and (n_measured[row], n_measured[column])
        return cls(images, list(slices), orientation.aspect, orientation.sides, scores, measured)

    def middle(self) -> "CaseSlices":
        """Return the middle slice alone."""
        position = slice(len(self.slices) // 2, len(self.slices) // 2 + 1)
        images = {name: image[position] for name, image in self.images.items()}
        return replace(self, images=images, slices=self.slices[position], scores=self.scores[position])

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the images, ``slices``, ``aspect`` and ``edges`` (the sides) as one ``.npz``; else ``InputError``."""
        arrays: dict[str, Any] = {**self.images, "slices": self.slices, "aspect": self.aspect, "edges": self.sides}
        with atomic_path(path) as temporary, temporary.open("wb") as stream:
            np.savez_compressed(stream, **arrays)
        return Path(path)

    @classmethod
    def load(cls, path: Path, needed: Sequence[str]) -> "CaseSlices":
        """Read what :meth:`save` has written; ``InputError`` if that fails, or an image that is needed is not there."""
        try:
            with np.load(path) as stored:
                arrays = dict(stored)
        except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
            raise InputError(f"{path}: cannot read the slices of this case ({error}); evaluate it again.") from error
        if missing := [name for name in (*needed, *_ABOUT) if name not in arrays]:
            raise InputError(f"{path}: there is no {' and no '.join(missing)} in this file; evaluate it again.")
        slices, aspect, (left, top) = (arrays.pop(name).tolist() for name in _ABOUT)
        return cls(arrays, slices, aspect, (left, top))


def scores_by_slice(
    scores: Mapping[str, Mapping[str, Sequence[float] | Tensor]], positions: Iterable[int]
) -> list[Scores]:
    """Return the scores of some slices, from one value a slice by image and metric."""
    return [
        {image: {metric: float(values[k]) for metric, values in found.items()} for image, found in scores.items()}
        for k in positions
    ]
