# SPDX-License-Identifier: Apache-2.0
"""Image quality of slices, whole and inside the head: functions of (reference, distorted), a MONAI metric over them."""

from bundle.metrics.head_scores import head_mask, psnr_head, ssim_head
from bundle.metrics.ifc import ifc
from bundle.metrics.psnr import psnr
from bundle.metrics.slice_metrics import HEAD_METRICS, METRICS, SliceMetric
from bundle.metrics.ssim import ssim

__all__ = [
    "HEAD_METRICS",
    "METRICS",
    "SliceMetric",
    "head_mask",
    "ifc",
    "psnr",
    "psnr_head",
    "ssim",
    "ssim_head",
]
