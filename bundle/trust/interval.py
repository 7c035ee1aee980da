# SPDX-License-Identifier: Apache-2.0
"""How large the errors of an output are."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from monai.transforms import Transform
from torch import Tensor

from bundle.case import Case
from bundle.errors import InputError
from bundle.keys import CASE, ERROR_SCALE, INTERVAL, PRED
from bundle.settings import TrainingRecord
from bundle.volumes.intensity import tissue_threshold

Item = dict[Hashable, Any]


@dataclass(eq=False)
class Intervald(Transform):
    """Turn the predicted scale of an output's errors into intervals, and sum them up in the case's findings."""

    interval_factor: float | None = None  # from the scale of errors to half the interval; None: nobody calibrated it

    def __call__(self, data: Mapping[Hashable, Any]) -> Item:
        """Return the item, with ``interval`` (1, H, W, D) in place of ``error_scale``.

        It holds ``pred`` (1, H, W, D), the network's output.
        """
        item = dict(data)
        item[CASE] = Case.of(item)
        scale = item.pop(ERROR_SCALE, None)
        if scale is not None and self.interval_factor is not None:
            item[INTERVAL] = scale * self.interval_factor
            item[CASE].measured["interval"] = _summary(item[INTERVAL], item[PRED])
        return item


def interval_factor(record: TrainingRecord, needed: bool = False) -> float | None:
    """Return what turns the scale of errors into half the interval, by the calibration of weights.

    ``None`` where nobody has calibrated them; an ``InputError`` if intervals are ``needed`` then.
    """
    factor = record.interval.get("factor")
    if factor is None and needed:
        raise InputError("these weights predict no interval; leave --interval false, or take the bundle's own.")
    return factor


def _summary(interval: Tensor, output: Tensor) -> dict[str, float]:
    """Return half-widths in tissue relative to its mean: in the middle of all voxels, and of the widest twentieth."""
    voxels, widths = (image.float().numpy(force=True) for image in (output, interval))
    tissue = voxels > tissue_threshold(voxels)
    if not tissue.any():
        return {}
    typical, widest = np.percentile(widths[tissue], (50, 95)) / voxels[tissue].mean()
    return {"typical": float(typical), "widest": float(widest)}
