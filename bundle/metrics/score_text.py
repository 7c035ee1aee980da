# SPDX-License-Identifier: Apache-2.0
"""How scores are named and printed, in tables, pictures and plots alike."""

import math
import statistics
from collections.abc import Iterable
from typing import NamedTuple

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


class Spread(NamedTuple):
    """Mean and sample standard deviation (n - 1) of ``n`` values; NaN where ``n`` is too small to have one."""

    mean: float
    sd: float
    n: int

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread":
        """Summarise finite values, NaN left out."""
        kept = [value for value in values if not math.isnan(value)]
        mean = statistics.fmean(kept) if kept else math.nan
        return cls(mean, statistics.stdev(kept) if len(kept) > 1 else math.nan, len(kept))

    def text(self, metric: str, sign: str = "") -> str:
        """Return ``mean ± SD`` of a metric, without SD for a single value; ``sign="+"`` for a gain."""
        if self.n == 0:
            return "n/a"
        mean = format_score(metric, self.mean, sign)
        return mean if self.n == 1 else f"{mean} ± {format_score(metric, self.sd)}"
