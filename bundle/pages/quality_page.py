# SPDX-License-Identifier: Apache-2.0
"""The dictionary transform that writes a case's quality page behind the network."""

import logging
import os
from collections.abc import Hashable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import numpy as np
import torch
from monai.transforms import SaveImaged
from monai.utils import ImageMetaKey

from bundle.case import Case
from bundle.doubts import Doubt
from bundle.drawing.case_slices import CaseSlices
from bundle.drawing.slice_choice import Image, quartile_slices
from bundle.keys import CASE, HIGH_RES, IMAGE, INTERVAL, LOW_RES, PRED, REFERENCE, SLICES
from bundle.pages.batch_page import PAGE_OF_ALL
from bundle.pages.case_page import Origin, case_page
from bundle.pages.template import save_page
from bundle.transforms.io import result_path
from bundle.trust.profile import slices_with_tissue
from bundle.version import package_version

logger = logging.getLogger(__name__)

_N_SLICES: Final = 3


class QualityPaged(SaveImaged):
    """Write ``<output_dir>/<output>.html``, the quality page of a case, beside its output.

    Place it between data consistency and :class:`bundle.transforms.RestoreNatived`: volumes (1, H, W, D) on the
    normalised scale, ``low_res``, ``pred``, and any of ``reference``, ``high_res`` and ``interval``. A page that
    cannot be made becomes a warning. MONAI Label leaves it out, as all that derives from SaveImaged.
    """

    def __init__(self, output_dir: str | os.PathLike[str], weights: str | os.PathLike[str] | None = None) -> None:
        super().__init__(PRED, output_dir=Path(output_dir), print_log=False)
        self.output_dir = Path(output_dir).expanduser()
        self.weights = weights

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Write the page of one item, not a batch, and return a copy of it, unchanged."""
        item = dict(data)
        item[CASE] = case = Case.of(item)
        try:
            path = result_path(self.output_dir, item, ext=".html")
            path.unlink(missing_ok=True)  # that of an earlier run would tell of another output
            logger.info("Wrote %s", save_page(path, case_page(case, _images(item), self._origin(item, path))))
        except Exception as error:  # whatever it is, the output itself is sound
            logger.debug("no quality page", exc_info=True)
            case.warn(
                Doubt.NO_PAGE, f"The quality page could not be made ({error}): look at the output in a viewer instead."
            )
        return item

    def _origin(self, item: Mapping[Hashable, Any], path: Path) -> Origin:
        volumes = {"Input": item.get(IMAGE), "Reference": item.get(REFERENCE)}
        paths = {what: getattr(read, "meta", {}).get(ImageMetaKey.FILENAME_OR_OBJ) for what, read in volumes.items()}
        named = {what: Path(path).name for what, path in (*paths.items(), ("Weights", self.weights)) if path}
        batch = Path(os.path.relpath(self.output_dir / PAGE_OF_ALL, path.parent)).as_posix()
        return Origin(named, package_version(), datetime.now().astimezone(), quote(batch))


def _images(item: Mapping[Hashable, Any]) -> CaseSlices:
    """Return the slices of an item to show."""
    positions = _positions(item)
    volumes = {
        key: _stacked(item[key][0, ..., position] for position in positions)
        for key in (LOW_RES, PRED, REFERENCE, HIGH_RES, INTERVAL)
        if item.get(key) is not None
    }
    if REFERENCE in volumes and not volumes[REFERENCE].any():  # a run without one
        del volumes[REFERENCE]
    in_file = np.asarray(item.get(SLICES, np.arange(item[PRED].shape[-1])))
    low_res = Case.of(item).low_res
    n_measured = (low_res.axes[0].measured, low_res.axes[1].measured) if low_res else None
    affine = np.asarray(item[LOW_RES].affine, dtype=np.float64)
    return CaseSlices.of(volumes, affine, in_file[positions].tolist(), n_measured=n_measured)


def _positions(item: Mapping[Hashable, Any]) -> list[int]:
    tissue = slices_with_tissue(item[LOW_RES][0].float().numpy(force=True))
    return sorted(quartile_slices(tissue.tolist() or range(item[LOW_RES].shape[-1]), _N_SLICES))


def _stacked(slices: Iterable[torch.Tensor]) -> Image:
    """Return slices (H, W), wherever they are, as an array (H, W, n)."""
    return np.stack([image.float().numpy(force=True) for image in slices], axis=-1)
