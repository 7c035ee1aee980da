# SPDX-License-Identifier: Apache-2.0
"""Warnings of a case that is unlike what the weights were trained on, or that was put together wrongly.

How often each rule was right and wrong on real volumes: docs/trust.md.
"""

from collections.abc import Callable, Collection, Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from monai.transforms import Transform

from bundle.case import Case
from bundle.doubts import Doubt
from bundle.keys import CASE, IMAGE, LOW_RES, REFERENCE
from bundle.trust.profile import Profile, profile
from bundle.trust.training_profile import distance_from_training

MARGIN: Final = 1.2  # how far outside the range of training, as a factor, distances of voxels may lie
FLUID_OF_T2W: Final = 1.55  # between the relative brightness of fluid in T2w images (from 1.64) and others (to 1.45)
SHARED_EDGES: Final = 0.72  # between the agreement of pairs that fit (from 0.74) and of two persons (to 0.67) ...
EDGE_MARGIN: Final = 0.1  # ... and how far below the least of training it may be: images of little noise agree better
# How far beyond the training volumes' own distances a histogram may lie, as a factor; and how far at most, since one
# odd volume of training makes those large: heads lie closer (to 0.096), a spine and changed brightness do not.
HISTOGRAM_MARGIN: Final = 1.25
LARGEST_DISTANCE: Final = 0.105
NOISE_MARGIN: Final = 1.5  # how much noisier than the noisiest training volume an image may be, as a factor
NOISE_FLOOR: Final = 0.03  # noise, relative to tissue, below which no one is warned
Seen = Mapping[str, Any]
Told = tuple[Doubt, str]


@dataclass(eq=False)
class InputChecksd(Transform):
    """Warn of a case unlike those that the weights' training saw.

    Place it where target and reference are normalised volumes of one grid with the slices last, before they are
    stacked. It changes nothing in the item. Where :class:`bundle.transforms.AlignReferenced` has doubted that the
    reference shows the target's head in its place, its edges are not doubted again.

    ``seen`` is the entry of that name of the training record, see :func:`bundle.trust.seen_in_training`; ``None`` or
    empty where the weights have none: what cannot be compared is said once.
    """

    seen: Seen | None = None

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Measure and warn; return the item, its case with what was found."""
        item = dict(data)
        target = item[LOW_RES] if LOW_RES in item else item[IMAGE]
        reference = None if REFERENCE not in item else item[REFERENCE][0].numpy(force=True)
        item[CASE] = case = Case.of(item)
        found = profile(target[0].numpy(force=True), reference, target.pixdim.tolist())
        if found is None:
            case.warn(Doubt.NO_TISSUE, "The target holds no tissue: check that this is the right file.")
            return item
        case.measured["input"] = dict(vars(found))
        if reference is None:
            case.warn(Doubt.NO_REFERENCE, "There is no reference: the image is sharpened by itself, which gains less.")
        if not self.seen:
            case.measured["input"]["not_compared"] = "the training record of these weights does not say what they saw"
        is_doubted = case.registration is not None and case.registration.doubted  # and that is said
        for doubt, sentence in warnings_of(found, self.seen or {}, ("edges",) if is_doubted else ()):
            case.warn(doubt, sentence)
        return item


def warnings_of(found: Profile, seen: Seen, left_out: Collection[str] = ()) -> Iterator[Told]:
    """Yield a doubt and a sentence, with a remedy, for each way in which a case departs from what training saw.

    Where that is empty only what needs no statistics is checked; ``left_out`` names rules whose matter is said already.
    """
    for name, rule in RULES.items():
        if name not in left_out:
            yield from rule(found, seen)


def _contrasts(found: Profile, seen: Seen) -> Iterator[Told]:
    target_is_t2w = found.target_fluid > FLUID_OF_T2W
    reference_is_t2w = found.reference_fluid is not None and found.reference_fluid > FLUID_OF_T2W
    trained_target, trained_reference = (seen.get(key) or [] for key in ("target_fluid", "reference_fluid"))
    # trainings with a few targets of other contrasts among those of T2w are for T2w all the same
    target_is_wrong = not target_is_t2w and (not trained_target or max(trained_target) > FLUID_OF_T2W)
    reference_is_wrong = reference_is_t2w and all(fluid <= FLUID_OF_T2W for fluid in trained_reference)
    if target_is_wrong and reference_is_wrong:
        yield (
            Doubt.SWAPPED,
            "Target and reference seem to be swapped: fluid is bright in the reference and not in the target; "
            "give the T2-weighted image as the target.",
        )
    elif target_is_wrong:
        yield (
            Doubt.NOT_T2W,
            "The target does not look T2-weighted: fluid in the middle of the head is not bright; check that this "
            "is the right series, since these weights are for T2-weighted targets.",
        )
    elif reference_is_wrong:
        yield (
            Doubt.REFERENCE_T2W,
            "The reference looks T2-weighted, like the target: check that it is the right series, of the contrast "
            "that the weights were trained with.",
        )


def _edges(found: Profile, seen: Seen) -> Iterator[Told]:
    least, _ = seen.get("edge_agreement") or (0.0, 1.0)
    if found.edge_agreement is not None and found.edge_agreement < max(SHARED_EDGES, least - EDGE_MARGIN):
        yield (
            Doubt.EDGES,
            "The edges of the reference do not run along those of the target: it may be of another patient or lie "
            "some millimetres aside; compare the two by eye and register the reference again.",
        )


def _grid(found: Profile, seen: Seen) -> Iterator[Told]:
    for what, values, key in (
        ("In-plane voxels are", found.spacing, "spacing"),
        ("Slices are", (found.slice_distance,), "slice_distance"),
    ):
        low, high = seen.get(key) or (0, np.inf)
        outside = [value for value in values if not low / MARGIN <= value <= high * MARGIN]
        if outside:
            span = f"{low:.2f}" if round(low, 2) == round(high, 2) else f"{low:.2f} to {high:.2f}"
            yield (
                Doubt.GRID,
                f"{what} {outside[0]:.2f} mm apart, in training {span} mm: check the header, and treat "
                "fine detail in the output with caution, or train with such images.",
            )


def _histograms(found: Profile, seen: Seen) -> Iterator[Told]:
    for who in ("target", "reference"):
        quantiles, known = getattr(found, f"{who}_histogram"), seen.get(f"{who}_histogram")
        if quantiles is None or not known or known["limit"] is None:
            continue
        if distance_from_training(quantiles, known) > min(HISTOGRAM_MARGIN * known["limit"], LARGEST_DISTANCE):
            yield (
                Doubt.HISTOGRAM,
                f"The brightness of tissues in the {who} is distributed unlike in the training images: another "
                "sequence, scanner or region, or the skull removed; compare a few slices of the output with the "
                "input by eye before you rely on it.",
            )


def _noise(found: Profile, seen: Seen) -> Iterator[Told]:
    for who in ("target", "reference"):
        level, known = getattr(found, f"{who}_noise"), seen.get(f"{who}_noise")
        if level is not None and known and level > max(NOISE_MARGIN * known[1], NOISE_FLOOR):
            yield (
                Doubt.NOISE,
                f"The {who} is noisier ({level:.0%} of tissue) than any training image (to {known[1]:.1%}): noise may "
                "come out as structure; denoise it first, or compare the output with the input by eye.",
            )


# What a rule compares with training it passes over where that is not known.
RULES: Final[Mapping[str, Callable[[Profile, Seen], Iterator[Told]]]] = {
    "contrast": _contrasts,
    "edges": _edges,
    "grid": _grid,
    "histogram": _histograms,
    "noise": _noise,
}
