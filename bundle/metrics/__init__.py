# SPDX-License-Identifier: Apache-2.0
"""Image quality on whole slices: pure functions of (reference, distorted) first, the MONAI metric over them last."""

from bundle.metrics.ifc import ifc
from bundle.metrics.psnr import psnr
from bundle.metrics.slices import METRICS, SliceMetric
from bundle.metrics.ssim import ssim

__all__ = ["METRICS", "SliceMetric", "ifc", "psnr", "ssim"]
