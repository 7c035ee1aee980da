# SPDX-License-Identifier: Apache-2.0
"""The methods of Table IV that need no training, and what users would use instead, in the generator's place."""

from bundle.baselines.guided import SRGR, SSIP
from bundle.baselines.unguided import Cubic, ZeroFilling

__all__ = ["SRGR", "SSIP", "Cubic", "ZeroFilling"]
