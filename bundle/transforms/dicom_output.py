# SPDX-License-Identifier: Apache-2.0
"""Write a result as DICOM too, where its image came as DICOM."""

import logging
import os
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, Final

from monai.transforms import SaveImaged, Transform

from bundle.case import Case
from bundle.dicom.series import find_stack, is_series
from bundle.dicom.writing import check_replaceable, write_derived_series
from bundle.errors import InputError
from bundle.keys import CASE, IMAGE, PRED
from bundle.transforms.io import file_name, native_result, result_path

logger = logging.getLogger(__name__)

DICOM_ENDING: Final = "_dicom"  # of the folder, behind the name of the result


class CheckDicomOutputd(Transform):
    """Refuse, before anything is computed, a pair whose result cannot become DICOM; place it behind ``LoadPaird``."""

    def __init__(self, output_dir: str | os.PathLike[str]) -> None:
        self.output_dir = output_dir

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the item; ``InputError`` if the image is no DICOM series, or a folder is in the result's place."""
        source = Path(file_name(data[IMAGE]) or "")
        if not is_series(source):
            raise InputError(f"{source}: this is no DICOM, so its result cannot become DICOM; leave out --dicom.")
        check_replaceable(_folder(self.output_dir, data))
        return dict(data)


class SaveDicomd(SaveImaged):
    """Write the result as a derived DICOM series, a folder ``<output_dir>/<case>_sr_dicom``; the item passes.

    Place it behind :class:`bundle.transforms.SaveVolumed`. MONAI Label leaves it out, as all that derives from
    SaveImaged.
    """

    def __init__(self, output_dir: str | os.PathLike[str]) -> None:
        super().__init__(PRED, output_dir=output_dir, print_log=False)
        self.output_dir = output_dir

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Write the result under ``pred``, (1, X, Y, Z) on the image's grid; ``InputError`` if it cannot be written."""
        source, result = native_result(data, PRED)
        folder = _folder(self.output_dir, data)
        write_derived_series(folder, result, find_stack(Path(source)))
        logger.info("Wrote %s", folder)
        return dict(data)


def _folder(output_dir: str | os.PathLike[str], item: Mapping[Hashable, Any]) -> Path:
    return result_path(output_dir, {**item, CASE: str(Case.of(item))}, ext=DICOM_ENDING)
