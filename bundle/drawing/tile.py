# SPDX-License-Identifier: Apache-2.0
"""A tile: one picture of a slice with its colours and its words, for a page of paper and for one of HTML alike."""

from dataclasses import dataclass

import matplotlib
from matplotlib.colors import Colormap, LinearSegmentedColormap

from bundle.drawing.slice_choice import Box, Image

GREY = matplotlib.colormaps["gray"]
ERRORS = matplotlib.colormaps["inferno"]
_LEVELS = 1025  # with one for each of five colours: equal steps of 256 between them
SIGNED = LinearSegmentedColormap.from_list("signed", ["#a8dcff", "#2f86cf", "#000000", "#d9701a", "#ffdca8"], _LEVELS)
"""For differences: blue below zero, black at zero like the air around a head, orange above."""
UNSIGNED = LinearSegmentedColormap.from_list(
    "unsigned", ["#000000", "#51127c", "#b73779", "#fc8961", "#fcfdbf"], _LEVELS
)
"""For shares and spreads: dark to bright, in colours that all kinds of colour vision tell apart."""
MARK = "#ffd23f"
MISSING = "#1f6feb"  # for NaN in a montage: neither a grey nor an error colour


@dataclass(frozen=True)
class Scale:
    """What the colours of a tile stand for.

    Attributes:
        colours: from the lower to the upper end; what lies beyond an end has the colour of that end.
        low: the value at the lower end.
        high: the value at the upper end.
        ends: both in words, for a legend; grey windows need none.
    """

    colours: Colormap
    low: float
    high: float
    ends: tuple[str, str] | None = None


@dataclass(frozen=True)
class Tile:
    """One picture of a slice.

    Attributes:
        image: array (rows, columns) in display orientation.
        scale: its colours.
        heading: its title.
        description: what it shows, for those who cannot see it.
        caption: text below it.
        aspect: height of a pixel divided by its width.
        sides: the patient's sides at the left and the top edge, where they are to be written.
        mark: a box to mark.
        outlined: an image whose outlines are drawn over it.
    """

    image: Image
    scale: Scale
    heading: str
    description: str = ""
    caption: str = ""
    aspect: float = 1.0
    sides: tuple[str, str] | None = None
    mark: Box | None = None
    outlined: Image | None = None

    @property
    def ratio(self) -> float:
        """Width of the picture divided by its height."""
        rows, columns = self.image.shape
        return columns / (rows * self.aspect)
