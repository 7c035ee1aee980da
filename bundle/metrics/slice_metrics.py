# SPDX-License-Identifier: Apache-2.0
"""Slice metrics as MONAI metrics, for validation and evaluation during an engine's run."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from monai.metrics import CumulativeIterationMetric

from bundle.metrics.head_scores import psnr_head, ssim_head
from bundle.metrics.ifc import ifc
from bundle.metrics.psnr import psnr
from bundle.metrics.ssim import ssim

METRICS: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {"psnr": psnr, "ssim": ssim, "ifc": ifc}
"""The scores of whole slices by the names that configs and reports use."""
HEAD_METRICS = {"psnr_head": psnr_head, "ssim_head": ssim_head}
"""Those inside the head, which take :func:`bundle.metrics.head_mask` of the ground truth as a third argument."""


class SliceMetric(CumulativeIterationMetric):
    """Score every slice of a volume by itself and average over all slices seen.

    Called as every MONAI metric, ``metric(y_pred, y)``: the output first, the ground truth second. Both are
    Tensors (B, 1, H, W, D) with the slices along the last axis, Tensors (B, 1, H, W), or lists of such
    tensors without B (as after ``decollate_batch``). For a config::

        PSNR:
          _target_: IgniteMetricHandler
          metric_fn: {_target_: bundle.metrics.SliceMetric, metric: psnr}
          output_transform: "$monai.handlers.from_engine(['pred', 'high_res'])"

    All slices given are scored: leave out those without tissue before the call, since they say nothing about
    an image and their PSNR is arbitrarily high.

    Args:
        metric: name of the score: ``"psnr"`` in dB, ``"ssim"``, ``"ifc"`` in bits per pixel, and inside the head
            ``"psnr_head"`` and ``"ssim_head"``.

    Raises:
        ValueError: if there is no metric of that name.
    """

    def __init__(self, metric: Literal["psnr", "ssim", "ifc", "psnr_head", "ssim_head"]) -> None:
        """Look the metric up."""
        super().__init__()
        known = METRICS | HEAD_METRICS
        if metric not in known:
            raise ValueError(f"metric {metric!r} is unknown; choose one of {', '.join(known)}.")
        self.metric = metric
        self._score = known[metric]

    def _compute_tensor(self, y_pred: torch.Tensor, y: torch.Tensor | None = None, **_: Any) -> torch.Tensor:
        """Return the score of each slice, Tensor (B * D, 1), one volume after the other."""
        if y is None:
            raise ValueError(f"{self.metric} compares with the ground truth; pass it as y.")
        return self._score(_as_slices(y), _as_slices(y_pred))[:, None]

    def aggregate(self) -> torch.Tensor:
        """Return the mean over all slices since the last reset, a scalar Tensor.

        A slice that equals its ground truth has infinite PSNR; one such slice (an empty one, as a rule) would
        hide all others, so infinite values are left out of the mean unless there are no others. NaN is
        kept: a network that returns NaN must not look like a good one.

        Raises:
            ValueError: if nothing has been scored since the last reset.
        """
        scores = self.get_buffer()
        if scores is None:
            raise ValueError(f"no slice has been scored; call the {self.metric} metric before aggregate().")
        bounded = scores[~torch.isposinf(scores)]
        return (bounded if bounded.numel() else scores).mean()


def _as_slices(image: torch.Tensor) -> torch.Tensor:
    """Return (B, 1, H, W, D) as (B * D, 1, H, W); every other shape as it stands."""
    if image.ndim != 5:
        return image
    return image.movedim(-1, 1).flatten(0, 1)
