# SPDX-License-Identifier: Apache-2.0
"""The dictionary transform that writes a case's quality page behind the network."""

import logging
import os
from collections.abc import Hashable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from monai.data import MetaTensor
from monai.transforms import SaveImaged
from monai.utils import ImageMetaKey

from bundle.case import Case
from bundle.drawing.case_slices import CaseSlices
from bundle.drawing.slice_choice import Image, quartile_slices
from bundle.keys import (
    CASE,
    HIGH_RES,
    IMAGE,
    LOW_RES,
    PRED,
    REFERENCE,
    SHOWN_UNCERTAINTY,
    SLICES,
    UNCERTAINTY,
)
from bundle.pages.case_page import Origin, save_case_page
from bundle.transforms.data_consistency import measured_factors
from bundle.transforms.io import result_path
from bundle.version import package_version
from bundle.volumes.intensity import tissue_slices

logger = logging.getLogger(__name__)

N_SLICES: Final = 3
_ENOUGH: Final = 256  # pixels a side are enough to find the slices that hold tissue


class QualityPaged(SaveImaged):
    """Write ``<output_dir>/<output>.html``, the quality page of a case, beside its output.

    Place it between data consistency and :class:`bundle.transforms.RestoreNatived`: volumes (1, H, W, D) on the
    normalised scale. It shows the slices whose uncertainty is known, and fills up with those at the quartiles of
    the tissue. A page that cannot be drawn or written becomes a warning of the case: it never costs an
    output. A SaveImaged by name only, so that programs which leave out saving by that class (MONAI Label) leave
    this out too.

    Args:
        output_dir: folder of the outputs.
        weights: path of the network's weights; the page names the file.
    """

    def __init__(
        self,
        output_dir: str | os.PathLike[str],
        weights: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__(PRED, output_dir=Path(output_dir), print_log=False)
        self.output_dir = Path(output_dir).expanduser()
        self.weights = weights

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Write the page of one item, not a batch.

        Args:
            data: ``low_res``, ``pred`` and, where there are any, ``reference``, ``high_res``, ``uncertainty`` and
                ``shown_uncertainty``.

        Returns:
            A copy of the item, unchanged.
        """
        item = dict(data)
        item[CASE] = case = Case.of(item)
        try:
            path = result_path(self.output_dir, item, ext=".html")
            path.unlink(missing_ok=True)  # that of an earlier run would tell of another output
            logger.info("Wrote %s", save_case_page(path, case, self._images(item), self._origin(item)))
        except Exception as error:  # whatever it is, the output itself is sound
            logger.debug("no quality page", exc_info=True)
            case.warn(f"The quality page could not be made ({error}): look at the output in a viewer instead.")
        return item

    def _images(self, item: dict[Hashable, Any]) -> CaseSlices:
        positions = _positions(item)
        volumes = {
            key: _slices(item[key], positions)
            for key in (LOW_RES, PRED, REFERENCE, HIGH_RES, UNCERTAINTY)
            if item.get(key) is not None
        }
        if SHOWN_UNCERTAINTY in item:
            volumes[UNCERTAINTY] = _known_slices(item[SHOWN_UNCERTAINTY], positions, volumes[PRED].shape[:2])
        if REFERENCE in volumes and not volumes[REFERENCE].any():  # a run without one
            del volumes[REFERENCE]
        in_file = np.asarray(item.get(SLICES, np.arange(item[PRED].shape[-1])))
        rows, columns = measured_factors(item)
        height, width = item[PRED].shape[1:3]
        return CaseSlices.of(
            volumes=volumes,
            affine=np.asarray(item[LOW_RES].affine, dtype=np.float64),
            slices=in_file[positions].tolist(),
            n_measured=(round(height / rows), round(width / columns)),
        )

    def _origin(self, item: Mapping[Hashable, Any]) -> Origin:
        files = {"Input": _file_name(item.get(IMAGE)), "Reference": _file_name(item.get(REFERENCE))}
        files["Weights"] = Path(self.weights).name if self.weights else ""
        named = {what: name for what, name in files.items() if name}
        return Origin(named, package_version(), datetime.now().astimezone())


def _positions(item: Mapping[Hashable, Any]) -> list[int]:
    """Return which slices of an item to show."""
    known = set(item.get(SHOWN_UNCERTAINTY, ()))
    if len(known) >= N_SLICES:
        return sorted(known)
    volume = item[LOW_RES][0]
    step = max(max(volume.shape[:2]) // _ENOUGH, 1)
    tissue = np.flatnonzero(tissue_slices(_array(volume[::step, ::step])))
    candidates = tissue.tolist() or list(range(volume.shape[-1]))
    return sorted(known.union(quartile_slices(candidates, N_SLICES)))


def _slices(volume: Any, positions: Sequence[int]) -> Image:
    """Return slices (H, W, n) of a volume (1, H, W, D)."""
    return np.stack([_array(volume[0, ..., position]) for position in positions], axis=-1)


def _known_slices(known: Mapping[int, Any], positions: Sequence[int], shape: tuple[int, ...]) -> Image:
    """Return slices (H, W, n), NaN where they are not known."""
    unknown = np.full(shape, np.nan, dtype=np.float32)
    slices = [_array(known[position]) if position in known else unknown for position in positions]
    return np.stack(slices, axis=-1)


def _array(tensor: Any) -> npt.NDArray[np.float32]:
    """Return a tensor, wherever it is, as an array."""
    plain = tensor.as_tensor() if isinstance(tensor, MetaTensor) else tensor
    return np.asarray(plain.float().numpy(force=True))


def _file_name(volume: object) -> str:
    """Return the name of the file that a volume was read from, without its folder, where that is known."""
    path = volume.meta.get(ImageMetaKey.FILENAME_OR_OBJ) if isinstance(volume, MetaTensor) else None
    return Path(str(path)).name if path else ""
