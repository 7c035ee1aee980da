# SPDX-License-Identifier: Apache-2.0
"""What is known of how one in-plane axis was acquired, and how surely."""

from dataclasses import dataclass
from typing import Final, Literal, Self

from bundle.acquisition.axis import KSpaceAxis, Window

Source = Literal["given", "header", "image"]  # by an option, by DICOM or a side-car, by its own spectrum

UNSURE: Final = 0.1  # relative deviation from which an estimate is told as such
EXACT: Final = 0.03  # relative deviation up to which a factor counts as known
ALIKE: Final = 1.25  # ratio of the factors of two axes up to which the larger stands for both


@dataclass(frozen=True)
class AxisEstimate:
    """How much of the k-space of an axis was measured.

    Args:
        size: samples of the axis.
        factor: ratio of all samples to the measured ones, at least 1.
        deviation: standard deviation of ``factor``, relative to it; 0 where it is exact.
        window: over the measured block, with its ``taper``; ``None`` where it fades in a way that is not known.
        taper: as :class:`KSpaceAxis` has it.
        partial: share of the block that was measured, as :class:`KSpaceAxis` has it.
        source: where this is from.
    """

    size: int
    factor: float = 1.0
    deviation: float = 0.0
    window: Window | None = "box"
    taper: float = 1.0
    partial: float = 1.0
    source: Source = "image"

    @classmethod
    def of(cls, axis: KSpaceAxis) -> Self:
        """Return what is known of an axis of which everything is."""
        return cls(axis.size, axis.factor, 0.0, axis.window, axis.taper, axis.partial, "given")

    @property
    def measured(self) -> int:
        """Samples of k-space that were measured."""
        return round(self.size / self.factor)

    @property
    def is_sure(self) -> bool:
        """Whether the factor is known well enough to be relied on."""
        return self.deviation < UNSURE

    def axis(self) -> KSpaceAxis:
        """Return the axis as an operator, with a box in place of a window that is not known."""
        return KSpaceAxis(self.size, self.factor, self.window or "box", self.taper, self.partial)


def zero_filled_by(rows: AxisEstimate, columns: AxisEstimate) -> float:
    """Return the factor by which both axes are known to be zero-filled, without a window; 0 where they are not.

    It is the larger of two that are alike: weights for a factor somewhat too large serve better than blind ones.
    """
    for axis in (rows, columns):
        if axis.window != "box" or axis.partial != 1 or axis.deviation > EXACT or axis.factor == 1:
            return 0.0
    smaller, larger = sorted((rows.factor, columns.factor))
    return larger if larger <= ALIKE * smaller else 0.0
