# SPDX-License-Identifier: Apache-2.0
"""The columns of a score sheet: what stands in them and how it is printed."""

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass

_IMAGE_TITLES = {"low_res": "LR", "super_res": "SR", "super_res_dc": "SR + DC", "high_res": "HR"}
_METRIC_DIGITS = {"psnr": 2}  # in dB; three digits tell SSIM, on a scale of 1, and IFC, in bits a pixel, apart
_IN_HEAD = "_head"  # the end of the names of scores inside the head, such as psnr_head


def image_title(image: str) -> str:
    """Return the short title of an image: ``LR`` for ``low_res``; a name without one is its own title."""
    return _IMAGE_TITLES.get(image, image)


def metric_title(metric: str) -> str:
    """Return the title of a metric: ``PSNR``, or ``PSNR in the head`` for ``psnr_head``."""
    return metric.removesuffix(_IN_HEAD).upper() + (" in the head" if metric.endswith(_IN_HEAD) else "")


def whole_and_head(metrics: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return the metrics of whole slices, and those inside the head, which stand in a table of their own."""
    names = list(metrics)
    inside = [name for name in names if name.endswith(_IN_HEAD)]
    return [name for name in names if name not in inside], inside


def format_score(metric: str, value: float, sign: str = "", more_digits: int = 0) -> str:
    """Return a score with the digits that its metric deserves, or more; ``sign="+"`` for a gain."""
    return f"{value:{sign}.{_METRIC_DIGITS.get(metric.removesuffix(_IN_HEAD), 3) + more_digits}f}"


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation of ``n`` values; NaN where ``n`` is too small to have one."""

    mean: float
    sd: float
    n: int

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread":
        """Summarise finite values; the standard deviation divides by n - 1."""
        kept = list(values)
        mean = statistics.fmean(kept) if kept else math.nan
        sd = statistics.stdev(kept) if len(kept) > 1 else math.nan
        return cls(mean, sd, len(kept))


@dataclass(frozen=True)
class Column:
    """One figure of the report: a metric of an image, or its gain in it over the baseline image."""

    metric: str
    image: str
    baseline: str | None = None

    @property
    def name(self) -> str:
        """Name in CSV files, such as ``super_res_psnr`` or ``super_res_psnr_gain``."""
        return f"{self.image}_{self.metric}" + ("_gain" if self.baseline else "")

    @property
    def title(self) -> str:
        """Title in the printed table, such as ``SR PSNR``."""
        return f"{image_title(self.image)} {metric_title(self.metric)}" + (" gain" if self.baseline else "")

    def cell(self, spread: Spread) -> str:
        """Return ``mean ± SD``, without SD for a single value; a gain carries its sign."""
        if spread.n == 0:
            return "n/a"
        mean = format_score(self.metric, spread.mean, "+" if self.baseline else "")
        return mean if spread.n == 1 else f"{mean} ± {format_score(self.metric, spread.sd)}"
