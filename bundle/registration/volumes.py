# SPDX-License-Identifier: Apache-2.0
"""What registration looks at: a volume in its place, a coarse copy of it, and where the head is."""

import contextlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal, Self

import numpy as np
from nibabel.affines import apply_affine, from_matvec, voxel_sizes
from scipy import ndimage

from bundle.errors import InputError
from bundle.volumes.intensity import IntensityScale, tissue_threshold

# Voxel size in mm that coarse copies come close to, from below. Finer ones moved the result on real pairs by less
# than 0.1 mm and took four times as long (docs/registration.md).
COARSE: Final = 2.0
# Largest cosine between two voxel axes that counts as a right angle: 0.06 degrees, 0.2 mm over a head.
SHEAR: Final = 1e-3


@dataclass(frozen=True, eq=False)
class PlacedVolume:
    """Hold voxels and where they lie."""

    voxels: np.ndarray  # float32 (X, Y, Z)
    affine: np.ndarray  # (4, 4), voxel index to RAS mm
    name: str  # in messages: its file

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of voxels along each axis."""
        return self.voxels.shape

    @property
    def spacing(self) -> np.ndarray:
        """Voxel size in mm along each axis, (3,)."""
        return np.asarray(voxel_sizes(self.affine))

    @cached_property
    def coarse(self) -> "PlacedVolume":
        """A small copy, so that registration takes as long for a matrix of 1024 as for one of 256; made once.

        Intensities run from 0 to 1, the 99.9th percentile of what is not air: a few bright voxels would otherwise
        leave the histogram of the mutual information empty.
        """
        wanted = np.maximum(1, (COARSE / self.spacing + 1e-6).astype(int))
        blocks = np.minimum(wanted, self.shape)
        voxels = block_mean(self.voxels, blocks)
        voxels = IntensityScale.from_array(voxels).normalise(voxels)
        voxels = (voxels / np.percentile(voxels[voxels > 0], 99.9)).clip(max=1)
        to_fine = from_matvec(np.diag(1.0 * blocks), (blocks - 1) / 2)  # a block's centre, in fine voxels
        return PlacedVolume(voxels.astype(np.float32), self.affine @ to_fine, self.name)

    def box(self, slices: tuple[slice, ...]) -> np.ndarray:
        """Return the voxels of a range of indices along each axis."""
        return self.voxels[slices]


class NoRoomError(InputError):
    """Report that the temporary folder cannot hold a volume."""


class StoredVolume:
    """Keep the voxels of a volume in a file without a name, and none in memory, as long as a ``with`` block lasts."""

    def __init__(self, volume: PlacedVolume) -> None:
        self.shape, self.affine, self.name = volume.shape, volume.affine, volume.name
        self._reversed = volume.voxels.flags.f_contiguous  # of the file, whose axes run as those in memory do
        voxels = volume.voxels.T if self._reversed else volume.voxels
        failed = None
        try:
            with contextlib.ExitStack() as stack:
                self._file = stack.enter_context(tempfile.TemporaryFile(prefix="mcsr-"))
                np.ascontiguousarray(voxels, dtype=np.float32).tofile(self._file)
                self._file.flush()
                stack.pop_all()  # stays open, where all has been written
        except OSError as error:
            failed = error.strerror or str(error)
        if failed:  # with no cause, which would be taken for a full disk of the outputs
            remedy = "free some space there, or name another folder by TMPDIR"
            raise NoRoomError(f"{volume.name}: the temporary folder cannot hold this reference ({failed}); {remedy}.")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def box(self, slices: tuple[slice, ...]) -> np.ndarray:
        """Return the voxels of a range of indices along each axis."""
        order: Literal["F", "C"] = "F" if self._reversed else "C"
        # mapped for the time of a copy, since pages that were read stay in memory
        return np.array(np.memmap(self._file, np.float32, "r", shape=self.shape, order=order)[slices])


def is_sheared(affine: np.ndarray) -> bool:
    """Tell whether voxel axes are not at right angles."""
    return _largest_cosine(affine) > SHEAR


def _largest_cosine(affine: np.ndarray) -> float:
    axes = affine[:3, :3] / voxel_sizes(affine)
    return float(np.abs(axes.T @ axes - np.eye(3)).max())


def refuse_shear(affine: np.ndarray, name: str) -> None:
    """Raise an ``InputError`` if a volume's voxel axes are not at right angles, as ITK's gradients take them to be."""
    if is_sheared(affine):
        cosine = _largest_cosine(affine)
        raise InputError(
            f"{name}: the voxel axes are {np.degrees(np.arcsin(min(cosine, 1))):.1f} degrees off a right angle, which "
            "registration cannot use; resample this image to a grid with right angles first."
        )


def block_mean(voxels: np.ndarray, blocks: Sequence[int] | np.ndarray) -> np.ndarray:
    """Return the means of blocks of voxels; an incomplete block at the end of an axis is left out."""
    shape = np.array(voxels.shape) // blocks
    whole = voxels[tuple(map(slice, shape * blocks))]
    split = whole.reshape(np.stack([shape, blocks], axis=1).ravel().tolist())
    return np.asarray(split.mean(axis=(1, 3, 5)))


def head(coarse: PlacedVolume) -> np.ndarray:
    """Return where the head is in a coarse volume, bool (X, Y, Z): the largest piece of tissue."""
    pieces, n_pieces = ndimage.label(coarse.voxels > tissue_threshold(coarse.voxels))
    if n_pieces == 0:
        return np.ones(coarse.voxels.shape, dtype=bool)
    return np.asarray(pieces == np.bincount(pieces.ravel())[1:].argmax() + 1)


def head_places(coarse: PlacedVolume) -> np.ndarray:
    """Return where the voxels of the head in a coarse volume lie, (n, 3) in RAS mm."""
    return np.asarray(apply_affine(coarse.affine, np.argwhere(head(coarse))))


def overlap_fraction(places: np.ndarray, reference: PlacedVolume, matrix: np.ndarray) -> float:
    """Return the part of places (n, 3) that a matrix, as of a registration, puts into the reference's field of view."""
    index = apply_affine(np.linalg.inv(reference.affine) @ matrix, places)
    inside = (index >= -0.5) & (index <= np.array(reference.shape) - 0.5)
    return float(inside.all(axis=1).mean())
