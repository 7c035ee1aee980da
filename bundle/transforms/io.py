# SPDX-License-Identifier: Apache-2.0
"""Read a pair of volumes and write a result, in place of MONAI's LoadImaged and SaveImaged.

Those accept what cannot be super-resolved, and lose units, description and form codes.
"""

import dataclasses
import logging
import os
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, SaveImaged
from monai.utils import ImageMetaKey, MetaKeys, SpaceKeys, ensure_tuple_rep
from nibabel.affines import voxel_sizes

from bundle.case import Case
from bundle.data.reading import read_volume
from bundle.doubts import Doubt
from bundle.errors import InputError
from bundle.found import refuse_fault
from bundle.keys import CASE, IMAGE, OUTPUT, PRED, REFERENCE
from bundle.volumes.enlarge import regrid
from bundle.volumes.geometry import Volume, check_same_grid, no_voxels, reorient_like
from bundle.volumes.nifti import write_volume
from bundle.volumes.volume_checks import two_places

logger = logging.getLogger(__name__)

Item = dict[Hashable, Any]
_OTHER_PATIENT: Final = (
    "{path}: by its header (PatientID) this reference is of another patient than the image; do not use the result "
    "unless you know that both are of one person."
)
RESULT_POSTFIX: Final = "sr"
SPACING: Final = "spacing"  # beside MONAI's metadata: voxel size in mm, float64 (3,)


class LoadPaird(MapTransform):
    """Replace the paths of a pair by its volumes, the axes of both running the same way.

    Each becomes a float32 ``MetaTensor`` (1, X, Y, Z) of native intensities, with the metadata that LoadImaged and
    EnsureChannelFirstd leave and later steps use, and ``spacing``. A reference whose axes are flipped or permuted is
    reordered to the target's, without interpolation. The item's case gets the target's header. An item that holds
    volumes already passes.

    Args:
        keys: the key of the target, then those of the references.
        allow_missing_keys: leave out references that the item does not name, for a network that takes none.
        check_grid: refuse references that are not on the target's grid; false where
            :class:`bundle.transforms.AlignReferenced` follows and brings them there.
    """

    def __init__(
        self, keys: KeysCollection = (IMAGE, REFERENCE), allow_missing_keys: bool = False, check_grid: bool = True
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.check_grid = check_grid

    def __call__(self, data: Mapping[Hashable, Any]) -> Item:
        """Return an item with volumes; ``InputError`` if a path is missing, a file is refused, or the grids differ."""
        item = dict(data)
        refuse_fault(item)
        target_key, *reference_keys = self.keys
        if isinstance(item.get(target_key), MetaTensor):
            return item
        if not item.get(target_key):
            raise InputError(f'an item of the datalist names no image; give its path under "{target_key}".')
        target = read_volume(item[target_key])
        item[CASE] = Case.of(item if item.get(CASE) else {CASE: _stem(str(target.path))})
        item[CASE].header = dataclasses.replace(target, voxels=no_voxels(target.voxels.shape))
        item[CASE].read_from(target_key, target.source)
        _tell_of_places(item[CASE], target)
        item[target_key] = _loaded(target)
        for key in reference_keys:
            if item.get(key):
                reference = read_volume(item[key])
                _tell_of_places(item[CASE], reference)
                reference = reorient_like(reference, target)
                if self.check_grid:
                    check_same_grid(target, reference)
                if target.patient and reference.patient not in ("", target.patient):
                    item[CASE].warn(Doubt.OTHER_PATIENT, _OTHER_PATIENT.format(path=reference.path))
                item[CASE].read_from(key, reference.source)
                item[key] = _loaded(reference)
            elif self.allow_missing_keys:
                item.pop(key, None)
            else:
                raise InputError(
                    f"{target.path}: no reference is given for this image, and these weights need one; "
                    f'give the path of the volume of the other contrast under "{key}".'
                )
        return item


class SaveVolumed(SaveImaged):
    """Write results as ``<output_dir>/<case>_<postfix>.nii.gz`` under the header of the image they came from.

    A pair that has ``output`` names its result itself, see :func:`result_path`. The header is the one that the case
    carries, or else is read from the image's file; where the output's grid is finer, it becomes that of this grid.
    A SaveImaged by name only, so that programs which leave out saving by that class (MONAI Label) leave this out too.

    Args:
        keys: results, (1, X, Y, Z) on the image's grid and scale; absent ones are passed over, but for the first.
        output_dtype: ``"float32"``, or ``"input"`` for the image file's own type.
        output_postfix: end of the file name, one for each key.
    """

    def __init__(
        self,
        keys: KeysCollection = PRED,
        output_dir: str | os.PathLike[str] = "./",
        output_dtype: Literal["float32", "input"] = "float32",
        output_postfix: str | Sequence[str] = RESULT_POSTFIX,
        output_ext: Literal[".nii.gz", ".nii"] = ".nii.gz",
    ) -> None:
        if output_dtype not in ("float32", "input"):
            raise InputError(f'output_dtype is {output_dtype!r}: choose "float32" or "input".')
        if output_ext not in (".nii.gz", ".nii"):
            raise InputError(f'output_ext is {output_ext!r}: choose ".nii.gz" or ".nii".')
        super().__init__(keys, output_dir=output_dir, output_ext=output_ext, print_log=False, allow_missing_keys=True)
        self.output_dir, self.output_ext = Path(output_dir), output_ext
        self.output_dtype: Literal["float32", "input"] = output_dtype
        self.output_postfixes = ensure_tuple_rep(output_postfix, len(self.keys))
        if len(set(self.output_postfixes)) < len(self.keys):
            raise ValueError(f"output_postfix is {output_postfix!r}: give each of {self.keys} one of its own.")

    def __call__(self, data: Mapping[Hashable, Any]) -> Item:
        """Write the results of one item, not a batch, and return it; ``InputError`` if the folder cannot be written.

        ``KeyError`` if the first result is not there, ``ValueError`` if one is not (1, X, Y, Z) on the image's grid.
        """
        item = dict(data)
        if self.keys[0] not in item:
            raise KeyError(f'the item holds no "{self.keys[0]}" to write.')
        for key, postfix in self.key_iterator(item, self.output_postfixes):
            source, result = native_result(item, key)
            named = {**item, CASE: str(item.get(CASE) or _stem(source))}
            path = result_path(self.output_dir, named, postfix, self.output_ext)
            write_volume(path, result.voxels, result, self.output_dtype, Case.of(item).require_unchanged)
            logger.info("Wrote %s", path)
        return item


def native_result(item: Mapping[Hashable, Any], key: str) -> tuple[str, Volume]:
    """Return the file that a result came from, and the result on the grid and under the header of its image.

    ``ValueError`` if it is not (1, X, Y, Z) on the image's grid, or nothing tells its file.
    """
    result = torch.as_tensor(item[key])
    source = file_name(item.get(IMAGE)) or file_name(item[key])
    if source is None:
        raise ValueError(f'neither "{IMAGE}" nor "{key}" knows its file: load the image by LoadPaird.')
    if result.ndim != 4 or result.shape[0] != 1:
        raise ValueError(f'"{key}" is {tuple(result.shape)}: one volume (1, X, Y, Z) can be saved.')
    voxels = result[0].float().numpy(force=True)
    case = Case.of(item)
    like = case.header or read_volume(source, with_voxels=False)
    if any(new > old for new, old in zip(voxels.shape, like.voxels.shape, strict=True)):
        like = regrid(like, voxels.shape, case.low_res.slice_axis if case.low_res and case.low_res.slices else None)
    if like.voxels.shape != voxels.shape:
        raise ValueError(f'"{key}" is {voxels.shape}, its image {like.voxels.shape}: reshape.')
    return source, dataclasses.replace(like, voxels=voxels)


def result_path(
    output_dir: str | os.PathLike[str], item: Mapping[Any, Any], postfix: str = RESULT_POSTFIX, ext: str = ".nii.gz"
) -> Path:
    """Return where a result of an item is written: its ``output`` below the folder, or its ``case`` and ``postfix``.

    Behind an ``output`` the postfix stands where it is not that of the super-res. ``InputError`` if the file would lie
    outside the folder.
    """
    if output := item.get(OUTPUT):
        below = Path(f"{output}{'' if postfix == RESULT_POSTFIX else f'_{postfix}'}{ext}")
        if below.is_absolute() or ".." in below.parts:
            raise InputError(f"{below}: an output must lie below the output folder; rename it in the datalist.")
        return Path(output_dir) / below
    name = f"{item[CASE]}_{postfix}{ext}"
    if Path(name).name != name:
        raise InputError(f"{Path(output_dir) / name}: a case may hold no folder; rename the case in the datalist.")
    return Path(output_dir) / name


def as_meta_tensor(voxels: np.ndarray, affine: np.ndarray, meta: Mapping[str, Any]) -> MetaTensor:
    """Return voxels (X, Y, Z) as a tensor (1, X, Y, Z) on the grid of an affine; all else in its metadata stays."""
    grid = {
        MetaKeys.AFFINE: torch.from_numpy(affine.copy()),
        MetaKeys.SPATIAL_SHAPE: np.array(voxels.shape),  # MONAI Label resizes its result to this
        SPACING: voxel_sizes(affine),
    }
    return MetaTensor(torch.from_numpy(voxels)[None], meta={**meta, **grid})


def _tell_of_places(case: Case, volume: Volume) -> None:
    if said := two_places(volume):
        case.warn(Doubt.TWO_PLACES, said)


def _loaded(volume: Volume) -> MetaTensor:
    """Return a volume as MONAI's loader would."""
    meta = {
        MetaKeys.ORIGINAL_AFFINE: volume.affine.copy(),
        MetaKeys.SPACE: SpaceKeys.RAS,
        MetaKeys.ORIGINAL_CHANNEL_DIM: float("nan"),
        ImageMetaKey.FILENAME_OR_OBJ: str(volume.path),
    }
    return as_meta_tensor(volume.voxels, volume.affine, meta)


def file_name(value: object) -> str | None:
    """Return the file a tensor was read from, where its metadata say."""
    return value.meta.get(ImageMetaKey.FILENAME_OR_OBJ) if isinstance(value, MetaTensor) else None


def _stem(path: str) -> str:
    return Path(path).name.removesuffix(".gz").removesuffix(".nii")
