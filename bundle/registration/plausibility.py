# SPDX-License-Identifier: Apache-2.0
"""Whether a registration can be believed, and what to say where it cannot: sentences without their first words."""

from typing import Final

from bundle.doubts import Doubt
from bundle.registration.agreement import Agreement
from bundle.registration.rigid import Registration

# Parts of the target's head: below the first, a reference is of no use; from the second on, nobody needs to be told.
MINIMUM_OVERLAP, FULL_OVERLAP = 0.5, 0.95
# Degrees and millimetres that a patient moves between two scans of one session, in a head coil.
MAXIMUM_ROTATION, MAXIMUM_SHIFT = 20.0, 50.0
# Part of the headers' mutual information that the registration's must reach: it is found on samples.
WORSE: Final = 0.98
# Displacement in mm that is worth a warning, and a registration where it is the mean over the head; from about 1 mm
# on the output is no better than without reference (docs/registration.md has what pairs in place and moved ones show).
SHIFTED: Final = 0.7
# From here on the registration of a reference on the target's own grid is told: between pairs in place (to 0.94 mm) and
# references moved by 2 mm (from 1.8 mm).
TOLD_FROM: Final = 1.2
# From here on the output is worse than without reference (docs/registration.md has what displacements cost).
MISPLACED: Final = 2.0
# Sharpness below which the reference may show another head (docs/registration.md has the measured ranges).
SAME_HEAD: Final = 0.31
# Mutual information in nats below which its highest place means nothing.
INFORMATIVE: Final = 0.1
Told = tuple[Doubt, str]


def overlap_failure(overlap: float) -> str | None:
    """Return why a reference with this overlap cannot be used, or ``None``."""
    return f"only {overlap:.0%} of the head lies in its field of view" if overlap < MINIMUM_OVERLAP else None


def overlap_doubts(overlap: float) -> list[Told]:
    """Return what to say of a reference that leaves out a part of the head."""
    outside = f"{1 - overlap:.0%} of the head lies outside its field of view, where it cannot help"
    return [(Doubt.OUTSIDE, outside)] if overlap < FULL_OVERLAP else []


def registration_failure(found: Registration) -> str | None:
    """Return why a registration cannot be believed, or ``None`` where it can."""
    if reason := overlap_failure(found.overlap):
        return reason
    if found.metric_end < WORSE * found.metric_start:
        information = f"mutual information {found.metric_end:.3f} against {found.metric_start:.3f}"
        return f"registration ended worse than it began ({information})"
    # Where the headers share no space, how far they are apart says nothing of the patient.
    in_one_space = found.overlap_start >= MINIMUM_OVERLAP
    if found.rotation_degrees > MAXIMUM_ROTATION or (in_one_space and found.shift_mm > MAXIMUM_SHIFT):
        return (
            f"registration would turn it by {found.rotation_degrees:.0f} degrees and move it by "
            f"{found.shift_mm:.0f} mm, further than a patient moves between two scans"
        )
    return None


def is_displaced(found: Registration) -> bool:
    """Tell whether a registration is to be believed that moves a reference on the target's own grid."""
    believed = registration_failure(found) is None and found.metric_end >= INFORMATIVE
    return believed and found.displacement_mm > SHIFTED


def displacement_doubts(found: Registration) -> list[Told]:
    """Return what to say of a registration that moved a reference on the target's own grid."""
    said = f"it lies {found.displacement_mm:.1f} mm off, although on the image's grid, and was registered; "
    moved = [(Doubt.REGISTERED, f"{said}look at the overlay")] if found.displacement_mm > TOLD_FROM else []
    return moved + registration_doubts(found)


def registration_doubts(found: Registration) -> list[Told]:
    """Return what to say of a registration that is believed."""
    apart = (
        f"the headers put it {found.shift_mm:.0f} mm away from the image, so the heads' centres were laid "
        "on each other and registered from there; look at the overlay"
    )
    return overlap_doubts(found.overlap) + ([(Doubt.FAR_APART, apart)] if found.overlap_start < MINIMUM_OVERLAP else [])


def agreement_doubts(found: Agreement, registered: bool) -> list[Told]:
    """Return what to say of the agreement of a target with the reference on its grid."""
    if found.sharpness < SAME_HEAD or found.information < INFORMATIVE:
        said = (
            "it may be of another patient or misplaced: what it shares with the image hardly depends on where it lies "
            f"(sharpness {found.sharpness:.2f}, at least {SAME_HEAD} where both show one head)"
        )
        return [(Doubt.OTHER_PATIENT, said)]
    if found.shift_mm > SHIFTED:
        remedy = "look at the overlay" if registered else "register it (--register true)"
        doubt = Doubt.MISPLACED if found.shift_mm > MISPLACED else Doubt.DISPLACED
        return [(doubt, f"it looks shifted by about {found.shift_mm:.1f} mm against the image; {remedy}")]
    return []
