# SPDX-License-Identifier: Apache-2.0
"""What scanners do to an image: windows over k-space, partial Fourier, thick slices, noise; and data consistency."""

from bundle.acquisition.axis import Axis, KSpaceAxis, Profile, SliceAxis, Window
from bundle.acquisition.consistency import Consistency
from bundle.acquisition.estimate import AxisEstimate, Source, zero_filled_by
from bundle.acquisition.family import ScannerFamily
from bundle.acquisition.scan import Scan, scan
from bundle.acquisition.through_plane import ThroughPlane

__all__ = [
    "Axis",
    "AxisEstimate",
    "Consistency",
    "KSpaceAxis",
    "Profile",
    "Scan",
    "ScannerFamily",
    "SliceAxis",
    "Source",
    "ThroughPlane",
    "Window",
    "scan",
    "zero_filled_by",
]
