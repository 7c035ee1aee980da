# SPDX-License-Identifier: Apache-2.0
"""Whether a registration can be believed, and what to say where it cannot."""

from typing import Final

from bundle.registration.agreement import Agreement
from bundle.registration.rigid import Registration

MINIMUM_OVERLAP: Final = 0.5
"""Part of the target's head below which a reference is of no use."""
FULL_OVERLAP: Final = 0.95
"""Part of the target's head from which on nobody needs to be told."""
MAXIMUM_ROTATION: Final = 20.0
"""Degrees that a patient turns between two scans of one session, in a head coil."""
MAXIMUM_SHIFT: Final = 50.0
"""Millimetres that a patient moves between two scans of one session."""
WORSE: Final = 0.98
"""Part of the headers' mutual information that the registration's must reach: it is found on samples."""
SHIFTED: Final = 0.7
"""Displacement in mm that is worth a warning, and a registration where it is the mean over the head; from about 1 mm
on the output is no better than without reference (docs/registration.md has what pairs in place and moved ones show)."""
SAME_HEAD: Final = 0.33
"""Sharpness below which the reference may show another head (docs/registration.md has the measured ranges)."""
INFORMATIVE: Final = 0.1
"""Mutual information in nats below which its highest place means nothing."""


def overlap_failure(overlap: float) -> str | None:
    """Return why a reference with this overlap cannot be used, or ``None``."""
    if overlap < MINIMUM_OVERLAP:
        return f"only {overlap:.0%} of the head lies in its field of view"
    return None


def overlap_doubt(overlap: float) -> str | None:
    """Return what to say of a reference that leaves out a part of the head, or ``None``."""
    if overlap < FULL_OVERLAP:
        return f"{1 - overlap:.0%} of the head lies outside its field of view, where it cannot help"
    return None


def registration_failure(registration: Registration) -> str | None:
    """Return why a registration cannot be believed, or ``None`` where it can."""
    if reason := overlap_failure(registration.overlap):
        return reason
    if registration.metric_end < WORSE * registration.metric_start:
        return (
            f"registration ended worse than it began (mutual information {registration.metric_end:.3f} against "
            f"{registration.metric_start:.3f})"
        )
    # Where the headers share no space, how far they are apart says nothing of the patient.
    in_one_space = registration.overlap_start >= MINIMUM_OVERLAP
    if registration.rotation_degrees > MAXIMUM_ROTATION or (in_one_space and registration.shift_mm > MAXIMUM_SHIFT):
        return (
            f"registration would turn it by {registration.rotation_degrees:.0f} degrees and move it by "
            f"{registration.shift_mm:.0f} mm, further than a patient moves between two scans"
        )
    return None


def is_displaced(registration: Registration) -> bool:
    """Tell whether a registration is to be believed that moves a reference on the target's own grid."""
    believed = registration_failure(registration) is None and registration.metric_end >= INFORMATIVE
    return believed and registration.displacement_mm > SHIFTED


def registration_doubts(registration: Registration) -> list[str]:
    """Return what to say of a registration that is believed."""
    doubts = [overlap_doubt(registration.overlap)]
    if registration.overlap_start < MINIMUM_OVERLAP:
        doubts.append(
            f"the headers put it {registration.shift_mm:.0f} mm away from the image, so the heads' centres were laid "
            "on each other and registered from there; look at the overlay"
        )
    return [doubt for doubt in doubts if doubt]


def agreement_doubts(agreement: Agreement, registered: bool) -> list[str]:
    """Return what to say of the agreement of a target with the reference on its grid."""
    if agreement.sharpness < SAME_HEAD or agreement.information < INFORMATIVE:
        return [
            "it may be of another patient or misplaced: what it shares with the image hardly depends on where it lies "
            f"(sharpness {agreement.sharpness:.2f}, at least {SAME_HEAD} where both show one head)"
        ]
    if agreement.shift_mm > SHIFTED:
        remedy = "look at the overlay" if registered else "register it (--register true)"
        return [f"it looks shifted by about {agreement.shift_mm:.1f} mm against the image; {remedy}"]
    return []
