# SPDX-License-Identifier: Apache-2.0
"""Dictionary transforms that read a pair of volumes and write a result, for configs.

MONAI's own pair, LoadImaged and SaveImaged, accepts what cannot be super-resolved, and loses units,
description and form codes; these stand in their place and leave the same metadata.
"""

import logging
import os
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, SaveImaged
from monai.utils import ImageMetaKey, MetaKeys, SpaceKeys, ensure_tuple_rep

from bundle.data.geometry import check_same_grid, reorient_like
from bundle.data.nifti import Volume, read_volume, write_volume
from bundle.errors import InputError
from bundle.keys import CASE, IMAGE, PRED, REFERENCE

logger = logging.getLogger(__name__)

SPACING = "spacing"
"""Entry of the metadata that ``LoadPaird`` adds to MONAI's: voxel size in mm, float64 (3,)."""


class LoadPaird(MapTransform):
    """Replace the paths of a pair by its volumes, on one grid.

    Each becomes a float32 ``MetaTensor`` (1, X, Y, Z) of native intensities, with the metadata that
    LoadImaged and EnsureChannelFirstd leave and later steps use: affine, original_affine,
    spatial_shape, space, original_channel_dim, filename_or_obj; and ``spacing``. A reference whose
    axes are flipped or permuted is reordered to the target's, without interpolation.
    """

    def __init__(self, keys: KeysCollection = (IMAGE, REFERENCE), allow_missing_keys: bool = False) -> None:
        """Name the keys to read.

        Args:
            keys: the key of the target, then those of the references.
            allow_missing_keys: leave out references that the item does not name, for a network that
                takes none.
        """
        super().__init__(keys, allow_missing_keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Read the volumes of one item.

        Args:
            data: paths under the keys.

        Returns:
            A copy of the item with volumes for paths.

        Raises:
            InputError: if a path is not given, a file is refused by ``read_volume``, or the grids differ.
        """
        item = dict(data)
        target_key, *reference_keys = self.keys
        if not item.get(target_key):
            raise InputError(f'an item of the datalist names no image; give its path under "{target_key}".')
        target = read_volume(item[target_key])
        item[target_key] = as_meta_tensor(target)
        for key in reference_keys:
            if item.get(key):
                reference = reorient_like(read_volume(item[key]), target)
                check_same_grid(target, reference)
                item[key] = as_meta_tensor(reference)
            elif self.allow_missing_keys:
                item.pop(key, None)
            else:
                raise InputError(
                    f"{target.path}: no reference is given for this image; "
                    f'give the path of the volume of the other contrast under "{key}".'
                )
        return item


class SaveVolumed(SaveImaged):
    """Write results as ``<output_dir>/<case>_<postfix>.nii.gz`` under the header of the image they came from.

    The header is read again from the image's file: what passes through a data loader's collation
    loses its types. A SaveImaged by name only, so that programs which leave out saving by that class
    (MONAI Label) leave this out too.
    """

    def __init__(
        self,
        keys: KeysCollection = PRED,
        output_dir: str | os.PathLike[str] = "./",
        output_dtype: Literal["float32", "input"] = "float32",
        output_postfix: str | Sequence[str] = "sr",
        output_ext: Literal[".nii.gz", ".nii"] = ".nii.gz",
        image_key: str = IMAGE,
    ) -> None:
        """Say what to write and where.

        Args:
            keys: keys of the results, (1, X, Y, Z) on the grid and intensity scale of the image.
            output_dir: folder of the results, made where missing.
            output_dtype: ``"float32"``, or ``"input"`` for the image file's own type.
            output_postfix: end of the file name, one for each key.
            output_ext: ``".nii.gz"`` or ``".nii"``.
            image_key: key of the image whose metadata name its file; where the item no longer has it,
                the result's own metadata do.
        """
        if output_dtype not in ("float32", "input"):
            raise InputError(f'output_dtype is {output_dtype!r}: choose "float32" or "input".')
        if output_ext not in (".nii.gz", ".nii"):
            raise InputError(f'output_ext is {output_ext!r}: choose ".nii.gz" or ".nii".')
        super().__init__(keys, output_dir=Path(output_dir), output_ext=output_ext, print_log=False)
        self.output_dir = Path(output_dir)
        self.output_dtype: Literal["float32", "input"] = output_dtype
        self.output_postfixes = ensure_tuple_rep(output_postfix, len(self.keys))
        if len(set(self.output_postfixes)) < len(self.keys):
            raise ValueError(f"output_postfix is {output_postfix!r}: give each of {self.keys} one of its own.")
        self.output_ext = output_ext
        self.image_key = image_key
        self._written: dict[Path, tuple[str, ...]] = {}

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Write the results of one item.

        Args:
            data: one item, not a batch.

        Returns:
            The item, unchanged.

        Raises:
            InputError: if the folder cannot be written, or another case had this file name.
            ValueError: if a result is not (1, X, Y, Z) on the image's grid.
        """
        item = dict(data)
        for key, postfix in self.key_iterator(item, self.output_postfixes):
            result = torch.as_tensor(item[key])
            source = _file_name(item.get(self.image_key)) or _file_name(item[key])
            if source is None:
                raise ValueError(f'neither "{self.image_key}" nor "{key}" knows its file: load the image by LoadPaird.')
            if result.ndim != 4 or result.shape[0] != 1:
                raise ValueError(f'"{key}" is {tuple(result.shape)}: one volume (1, X, Y, Z) can be saved.')
            case = str(item.get(CASE) or _stem(source))
            path = self.output_dir / f"{case}_{postfix}{self.output_ext}"
            self._claim(path, (source, _file_name(item.get(REFERENCE)) or ""))
            voxels = result[0].float().numpy(force=True)
            write_volume(path, np.asarray(voxels), read_volume(source), self.output_dtype)
            logger.info("Wrote %s", path)
        return item

    def _claim(self, path: Path, sources: tuple[str, ...]) -> None:
        """Keep a file name for one pair; writing the same pair again is no conflict."""
        if path.parent != self.output_dir:
            raise InputError(f"{path}: a case may hold no folder; rename the case in the datalist.")
        first = self._written.setdefault(path, sources)
        if first != sources:
            raise InputError(
                f"{path}: results of {' and '.join(filter(None, first))} are here already and those of "
                f"{' and '.join(filter(None, sources))} would replace them; give each its own case in the datalist."
            )


def as_meta_tensor(volume: Volume) -> MetaTensor:
    """Return a volume as MONAI's loader would: float32 (1, X, Y, Z) with its metadata."""
    meta = {
        MetaKeys.ORIGINAL_AFFINE: volume.affine.copy(),
        MetaKeys.SPATIAL_SHAPE: np.array(volume.voxels.shape),
        MetaKeys.SPACE: SpaceKeys.RAS,
        MetaKeys.ORIGINAL_CHANNEL_DIM: float("nan"),
        ImageMetaKey.FILENAME_OR_OBJ: str(volume.path),
        SPACING: np.array(volume.spacing),
    }
    return MetaTensor(torch.from_numpy(volume.voxels)[None], affine=torch.from_numpy(volume.affine.copy()), meta=meta)


def _file_name(value: object) -> str | None:
    """Return the file a tensor was read from, where its metadata say."""
    return value.meta.get(ImageMetaKey.FILENAME_OR_OBJ) if isinstance(value, MetaTensor) else None


def _stem(path: str) -> str:
    """Return a file's name without the ending of its format."""
    return Path(path).name.removesuffix(".gz").removesuffix(".nii")
