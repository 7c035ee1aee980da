# SPDX-License-Identifier: Apache-2.0
"""The reference onto the target: rigid registration with SimpleITK, one resampling, and checks of both."""

from bundle.registration.agreement import Agreement, agreement
from bundle.registration.resample import resample
from bundle.registration.rigid import Registration, register
from bundle.registration.volumes import PlacedVolume, StoredVolume

__all__ = ["Agreement", "PlacedVolume", "Registration", "StoredVolume", "agreement", "register", "resample"]
