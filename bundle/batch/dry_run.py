# SPDX-License-Identifier: Apache-2.0
"""What a batch would do, as a table: nothing is computed but the time that the network takes on a small piece."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bundle.case import Case
from bundle.keys import CASE, IMAGE, REFERENCE
from bundle.registration import PlacedVolume
from bundle.reports.duration import duration
from bundle.reports.text_table import markdown_table
from bundle.volumes.geometry import same_grid

HEADER = ("case", "target", "reference", "what is done", "matrix", "reference's grid", "time", "output")


class Plan:
    """Collect one row a case; ``register`` is the setting of that name: ``False`` takes references by their headers."""

    def __init__(self, seconds_per_pixel: float, register: object = None) -> None:
        self.seconds_per_pixel = seconds_per_pixel
        self.register = register
        self.rows: list[tuple[str, ...]] = []
        self.seconds = 0.0
        self.n_bytes = 0  # of the results, if they could not be compressed

    def add(self, pair: Mapping[str, str], output: str, item: Mapping[Any, Any] | None = None) -> None:
        """Add a case with the name of its output: as loaded, on the matrix of the network; without, it is done."""
        reference = Path(pair[REFERENCE]).name if pair.get(REFERENCE) else "none"
        told = self._told(item) if item is not None else (*"---", "done")
        self.rows.append((pair[CASE], Path(pair[IMAGE]).name, reference, *told, output))

    def text(self) -> str:
        """Return the table, with the sum of the times below."""
        table = markdown_table(HEADER, self.rows)
        return f"{table}\n\nThe network takes about {duration(self.seconds)} in all, reading and writing not counted."

    def _told(self, item: Mapping[Any, Any]) -> tuple[str, ...]:
        low_res = Case.of(item).low_res
        shape = item[IMAGE].shape[1:]
        seconds = float(np.prod(shape)) * self.seconds_per_pixel
        self.seconds += seconds
        self.n_bytes += 4 * int(np.prod(shape))
        return (
            (low_res.said if low_res else "made coarse first") + ("" if REFERENCE in item else ", without a reference"),
            " x ".join(map(str, shape)),
            self._grid(item),
            duration(seconds),
        )

    def _grid(self, item: Mapping[Any, Any]) -> str:
        if item.get(REFERENCE) is None:
            return "-"
        volumes = (item[IMAGE], item[REFERENCE])
        target, reference = (PlacedVolume(v.as_tensor()[0].numpy(), v.affine.numpy(), "") for v in volumes)
        same = same_grid(target, reference)
        if self.register is True or (self.register is not False and not same):
            return "registered"
        return "same grid" if same else "by header"
