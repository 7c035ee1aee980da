# SPDX-License-Identifier: Apache-2.0
"""A tile: one picture of a slice with its colours and its words, for a page of paper and for one of HTML alike."""

from dataclasses import dataclass

import matplotlib
from matplotlib.colors import Colormap, LinearSegmentedColormap

from bundle.drawing.slice_choice import Box, Image

GREY = matplotlib.colormaps["gray"]
ERRORS = matplotlib.colormaps["inferno"]
_LEVELS = 1025  # with one for each of five colours: equal steps of 256 between them
# For differences: blue below zero, black at zero like the air around a head, orange above.
SIGNED = LinearSegmentedColormap.from_list("signed", ["#a8dcff", "#2f86cf", "#000000", "#d9701a", "#ffdca8"], _LEVELS)
# For shares and spreads: dark to bright, in colours that all kinds of colour vision tell apart.
_BRIGHTENING = ["#000000", "#51127c", "#b73779", "#fc8961", "#fcfdbf"]
UNSIGNED = LinearSegmentedColormap.from_list("unsigned", _BRIGHTENING, _LEVELS)
MARK = "#ffd23f"
MISSING = "#1f6feb"  # for NaN in a montage: neither a grey nor an error colour


@dataclass(frozen=True)
class Scale:
    """What the colours of a tile stand for: values from ``low`` to ``high``, what lies beyond as at that end."""

    colours: Colormap
    low: float
    high: float
    ends: tuple[str, str] | None = None  # both in words, for a legend; grey windows need none


@dataclass(frozen=True)
class Tile:
    """One picture of a slice, in display orientation."""

    image: Image  # (rows, columns)
    scale: Scale
    heading: str
    description: str = ""  # for those who cannot see it
    caption: str = ""
    aspect: float = 1.0
    sides: tuple[str, str] | None = None
    mark: Box | None = None

    @property
    def ratio(self) -> float:
        """Width of the picture divided by its height."""
        rows, columns = self.image.shape
        return columns / (rows * self.aspect)
