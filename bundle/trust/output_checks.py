# SPDX-License-Identifier: Apache-2.0
"""What can be said of an output: how far it departs from what was measured, and how large its errors are."""

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from monai.data import MetaTensor
from monai.transforms import Transform
from torch import Tensor

from bundle.case import Case
from bundle.errors import InputError
from bundle.keys import CASE, ERROR_SCALE, IMAGE, INTERVAL, PRED
from bundle.settings import TrainingRecord
from bundle.transforms.data_consistency import consistency_of, through_plane_of
from bundle.volumes.intensity import tissue_threshold

Item = dict[Hashable, Any]

CHUNK_PIXELS: Final = 2**19  # of slices that are looked at together; projections take about 50 bytes for each


@dataclass(eq=False)
class OutputChecksd(Transform):
    """Measure an output, and turn the predicted scale of its errors into intervals.

    Place it between the network and data consistency. The case gets the findings ``data_consistency``, how far the
    network's own output disagrees with what was measured, of which nobody is warned as it tells no right reference from
    a wrong one (docs/trust.md), and ``interval``, where its errors were predicted.
    """

    magnitude: bool = True  # whether the low-res image is one
    consistent: bool = True  # whether data consistency follows
    interval_factor: float | None = None  # from the scale of errors to half the interval; None: nobody calibrated it

    def __call__(self, data: Mapping[Hashable, Any]) -> Item:
        """Return the item, with ``interval`` (1, H, W, D) in place of ``error_scale``.

        It holds ``image`` (2, H, W, D), the network's input, and ``pred`` (1, H, W, D), its output.
        """
        item = dict(data)
        item[CASE] = Case.of(item)
        self._disagree(item)
        scale = item.pop(ERROR_SCALE, None)
        if scale is not None and self.interval_factor is not None:
            item[INTERVAL] = scale * self.interval_factor
            item[CASE].measured["interval"] = _summary(item[INTERVAL], item[PRED])
        return item

    def _disagree(self, item: Item) -> None:
        norms, consistency = np.zeros(2), consistency_of(item, self.magnitude)
        if thick := through_plane_of(item):
            volumes = (item[PRED].as_tensor().float(), item[IMAGE].as_tensor()[:1].float())
            norms += np.square(thick.disagreement(*volumes, consistency))
        else:
            for part in _chunks(item[PRED]):
                output, image = _slices(item[PRED], part).float(), _slices(item[IMAGE], part).to(item[PRED].device)
                norms += np.square(consistency.disagreement(output, image[:, :1].float()))
        share = float(np.sqrt(norms[0] / norms[1])) if norms[1] else 0.0
        item[CASE].measured["data_consistency"] = {"disagreement": share, "restored": self.consistent}


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


def _slices(volume: MetaTensor, part: slice) -> Tensor:
    """Return slices (N, C, H, W) of a volume (C, H, W, D)."""
    return volume.as_tensor()[..., part].movedim(-1, 0)


def _chunks(volume: Tensor) -> Iterator[slice]:
    """Yield ranges of slices that cover a volume (C, H, W, D)."""
    _, height, width, n_slices = volume.shape
    count = max(1, CHUNK_PIXELS // (height * width))
    return (slice(start, start + count) for start in range(0, n_slices, count))
