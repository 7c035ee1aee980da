# SPDX-License-Identifier: Apache-2.0
"""The methods of Table IV that need no training, and what users would use instead, in the generator's place.

Each is a module without weights: ``method(image)`` takes (N, 2, H, W), the low-res target and the high-res
reference, and returns (N, 1, H, W). The trainable baselines are among the networks.
"""

from bundle.baselines.cubic import Cubic
from bundle.baselines.srgr import SRGR
from bundle.baselines.ssip import SSIP
from bundle.baselines.zero_filling import ZeroFilling

__all__ = ["SRGR", "SSIP", "Cubic", "ZeroFilling"]
