# SPDX-License-Identifier: Apache-2.0
"""What a batch would do, as a table: nothing is computed but the time that the network takes on a small piece."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.data import MetaTensor

from bundle.case import Case
from bundle.keys import CASE, IMAGE, REFERENCE
from bundle.reports.text_table import markdown_table
from bundle.volumes.geometry import GRID_TOLERANCE, corner_distance

HEADER = ("case", "target", "reference", "low-res image", "factor", "matrix", "reference's grid", "time", "output")


class Plan:
    """Collect one row a case.

    Args:
        seconds_per_pixel: what the network takes.
        register: the setting of that name: ``False`` takes the reference by its header.
    """

    def __init__(self, seconds_per_pixel: float, register: object = None) -> None:
        self.seconds_per_pixel = seconds_per_pixel
        self.register = register
        self.rows: list[tuple[str, ...]] = []
        self.seconds = 0.0

    def add(self, item: Mapping[Any, Any], pair: Mapping[str, str], output: str) -> None:
        """Add a case.

        Args:
            item: the pair as loaded, the low-res image on the matrix of the network.
            pair: of paths.
            output: name of the output.
        """
        low_res = Case.of(item).low_res
        shape = item[IMAGE].shape[1:]
        seconds = float(np.prod(shape)) * self.seconds_per_pixel
        self.seconds += seconds
        self.rows.append(
            (
                pair[CASE],
                Path(pair[IMAGE]).name,
                Path(pair[REFERENCE]).name if pair.get(REFERENCE) else "none",
                low_res.case if low_res else "as it comes",
                " x ".join(f"{factor:.3g}" for factor in low_res.factor) if low_res else "-",
                " x ".join(map(str, shape)),
                self._grid(item),
                duration(seconds),
                output,
            )
        )

    def add_done(self, pair: Mapping[str, str], output: str) -> None:
        """Add a case that is done."""
        reference = Path(pair[REFERENCE]).name if pair.get(REFERENCE) else "none"
        self.rows.append((pair[CASE], Path(pair[IMAGE]).name, reference, "-", "-", "-", "-", "done", output))

    def text(self) -> str:
        """Return the table, with the sum of the times below."""
        table = markdown_table(HEADER, self.rows)
        return f"{table}\n\nThe network takes about {duration(self.seconds)} in all, reading and writing not counted."

    def _grid(self, item: Mapping[Any, Any]) -> str:
        """Say how the reference gets onto the target's grid."""
        if item.get(REFERENCE) is None:
            return "-"
        same = _on_one_grid(item[IMAGE], item[REFERENCE])
        if self.register is True or (self.register is not False and not same):
            return "registered"
        return "same grid" if same else "by header"


def duration(seconds: float) -> str:
    """Write a time as people say it: ``35 s``, ``12 min``, ``3 h 20 min``."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def _on_one_grid(target: MetaTensor, reference: MetaTensor) -> bool:
    """Tell whether two volumes (1, X, Y, Z) share their voxels' places."""
    shape: Sequence[int] = target.shape[1:]
    if reference.shape != target.shape:
        return False
    distance = corner_distance(target.affine.numpy(), reference.affine.numpy(), shape)
    return distance <= GRID_TOLERANCE * float(target.pixdim.min())
