# SPDX-License-Identifier: Apache-2.0
"""The methods of Table IV that need no training, and what users would use instead, in the generator's place."""

from bundle.baselines.cubic import Cubic
from bundle.baselines.srgr import SRGR
from bundle.baselines.ssip import SSIP
from bundle.baselines.zero_filling import ZeroFilling

__all__ = ["SRGR", "SSIP", "Cubic", "ZeroFilling"]
