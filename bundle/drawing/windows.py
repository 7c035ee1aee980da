# SPDX-License-Identifier: Apache-2.0
"""Where the grey window of images and the scale of their errors end: by fixed rules, the same for all compared."""

import math
from collections.abc import Sequence

import numpy as np

from bundle.drawing.slice_choice import Box, Image, tissue_box

_BACKGROUND = 0.05  # of the grey window: darker pixels do not keep a tile from being cropped
_ROUND_STEPS = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 20.0)  # 20 where 10 is missed by rounding

# Images (rows, columns): a list of them, or an array (n, rows, columns).
Stack = Image | Sequence[Image]


def grey_limit(images: Stack) -> float:
    """Return the upper end of the grey window, which 0.2 % of the pixels exceed; 1 where all are dark."""
    return _percentile(images, 99.8) or 1.0


def grey_window(images: Stack) -> tuple[float, Box]:
    """Return the upper end of the grey window of images, and the box that holds what is not background in it."""
    limit = grey_limit(images)
    return limit, tissue_box(images, _BACKGROUND * limit)


def error_limit(errors: Stack) -> float:
    """Return a round number that 99 % of all errors stay below."""
    high = max(_percentile(errors, 99), 1e-6)
    power = 10.0 ** math.floor(math.log10(high))
    return power * next(step for step in _ROUND_STEPS if step * power >= high)


def _percentile(images: Stack, percent: float) -> float:
    """Return a percentile of all finite pixels, 0 if there are none above 0."""
    pixels = np.concatenate([image[np.isfinite(image)] for image in images])
    return max(float(np.percentile(pixels, percent)), 0.0) if pixels.size else 0.0
