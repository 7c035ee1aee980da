# SPDX-License-Identifier: Apache-2.0
"""What can be wrong with a case, how grave it is, and the verdict that follows: the rules of all pages and reports."""

from collections.abc import Iterable
from enum import Enum, StrEnum


class Verdict(StrEnum):
    """What to do with a result, from the best to the gravest."""

    FINE = "fine"
    LOOK = "look"  # at the result beside its input, before it is used
    DO_NOT_USE = "do not use"


class Doubt(Enum):
    """A kind of doubt: the verdict that it leads to, and what it says in at most twelve words.

    Those of one verdict stand in the order of their gravity.
    """

    NO_TISSUE = Verdict.DO_NOT_USE, "The image shows no tissue."
    SWAPPED = Verdict.DO_NOT_USE, "Image and reference seem to be swapped."
    OTHER_PATIENT = Verdict.DO_NOT_USE, "The reference may be of another patient."
    MISPLACED = Verdict.DO_NOT_USE, "The reference does not lie on the image."

    NOT_T2W = Verdict.LOOK, "The image does not look T2-weighted."
    REFERENCE_DOUBTED = Verdict.LOOK, "The reference was left out: another patient's, or misplaced."
    REFERENCE_REFUSED = Verdict.LOOK, "Made without the reference, which does not fit."
    SHEARED = Verdict.LOOK, "Made without the reference: the image's axes are not square."
    EDGES = Verdict.LOOK, "The reference's edges do not follow the image's."
    REFERENCE_T2W = Verdict.LOOK, "The reference looks T2-weighted, like the image."
    DISPLACED = Verdict.LOOK, "The reference may lie a millimetre off."
    FAR_APART = Verdict.LOOK, "The headers put the reference far from the image."
    REGISTERED = Verdict.LOOK, "The reference lay off and was moved onto the image."
    NOT_REGISTERED = Verdict.LOOK, "Nobody checked where the reference lies."
    OUTSIDE = Verdict.LOOK, "The reference does not cover all of the head."
    OTHER_FACTOR = Verdict.LOOK, "The weights were trained for another factor."
    HISTOGRAM = Verdict.LOOK, "The brightness of tissues is unlike that in training."
    NOISE = Verdict.LOOK, "There is more noise than in training."
    GRID = Verdict.LOOK, "Voxels or slices are spaced unlike those in training."
    STRAY_VOXELS = Verdict.LOOK, "Single voxels of the image were far out of range."
    TWO_PLACES = Verdict.LOOK, "The header gives the image two places."
    NO_PAGE = Verdict.LOOK, "The quality page could not be made."

    NO_REFERENCE = Verdict.FINE, "Made without a reference, as there is none."
    BORDER = Verdict.FINE, "A constant border was left out."
    STRAY_VOXELS_OF_REFERENCE = Verdict.FINE, "Single voxels of the reference were left out."

    @property
    def verdict(self) -> Verdict:
        """What to do with a result of which this is the gravest doubt."""
        return self.value[0]

    @property
    def headline(self) -> str:
        """The doubt in at most twelve words."""
        return self.value[1]


_BY_GRAVITY = {doubt: -place for place, doubt in enumerate(Doubt)}


def by_gravity(doubts: Iterable[tuple[Doubt, str]]) -> list[tuple[Doubt, str]]:
    """Return doubts with their sentences, the gravest first, else as they came."""
    return sorted(doubts, key=lambda pair: -_BY_GRAVITY[pair[0]])
