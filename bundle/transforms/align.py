# SPDX-License-Identifier: Apache-2.0
"""The reference on the target's grid, wherever it was scanned."""

from collections.abc import Hashable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from monai.data import MetaTensor
from monai.transforms import Transform

from bundle.case import Case, RegistrationFinding
from bundle.doubts import Doubt, Verdict
from bundle.errors import InputError
from bundle.keys import CASE, IMAGE, REFERENCE
from bundle.registration import PlacedVolume, Registration, StoredVolume, agreement, register, resample
from bundle.registration.agreement import ENOUGH
from bundle.registration.plausibility import (
    Told,
    agreement_doubts,
    displacement_doubts,
    is_displaced,
    overlap_doubts,
    overlap_failure,
    registration_doubts,
    registration_failure,
)
from bundle.registration.volumes import NoRoomError, head, head_places, is_sheared, overlap_fraction
from bundle.transforms.io import Item, as_meta_tensor, file_name
from bundle.volumes.geometry import same_grid

# where a point of the target lies in the reference, (4, 4), RAS mm, ``None`` for one that stays as it is; and doubts
_Placement = tuple[np.ndarray | None, list[Told]]


@dataclass(eq=False)
class AlignReferenced(Transform):
    """Bring the reference onto the target's grid, by rigid registration where it was scanned on another.

    It follows whatever loads the pair and changes the target's grid. The reference is interpolated at most once. An
    item without a reference is left alone.

    Args:
        register: ``"grid"`` registers a reference that is on another grid than the target, and keeps one that is on
            its grid as it is. ``"auto"`` registers the latter too where it lies off nevertheless. True registers
            always; false never: another grid is resampled to where the headers put it.
        on_failure: what happens to a reference that cannot be used: ``"skip"`` the case, by an ``InputError``, or
            ``"single_contrast"``: the reference becomes zeros, and the case says that it is not usable.
        needed: whether the network makes no sense without, so that ``single_contrast`` is refused.
        refuse_doubted: whether a reference that seems to be of another patient, or to lie off by more than
            registration leaves, counts as one that cannot be used, or is used with a warning.
    """

    register: Literal["auto", "grid"] | bool = "auto"
    on_failure: Literal["skip", "single_contrast"] = "skip"
    needed: bool = False
    refuse_doubted: bool = False

    def __post_init__(self) -> None:
        if self.register not in ("auto", "grid", True, False):
            raise InputError(f"register is {self.register!r}; choose auto, grid, true or false.")
        if self.on_failure not in ("skip", "single_contrast"):
            raise InputError(f"on_bad_reference is {self.on_failure!r}; choose one of skip, single_contrast.")
        if self.needed and self.on_failure == "single_contrast":
            raise InputError(
                "on_bad_reference is single_contrast, and these weights need a reference; set it to skip, or take "
                "weights that were trained without one at times."
            )

    def __call__(self, data: Mapping[Hashable, Any]) -> Item:
        """Return the item with ``reference`` (1, X, Y, Z) on the target's grid, or skip it by an ``InputError``."""
        item = dict(data)
        if REFERENCE not in item:
            return item
        item[CASE] = case = Case.of(item)
        case.registration = finding = RegistrationFinding()
        meta = item[REFERENCE].meta
        target, reference = _placed(item[IMAGE], "the image"), _placed(item[REFERENCE], "the reference")
        try:
            matrix, doubts = self._placement(target, reference, finding.details)
            if matrix is not None:
                with StoredVolume(reference) as stored:
                    del reference, item[REFERENCE]
                    voxels = resample(stored, target.shape, target.affine, matrix)
                reference = PlacedVolume(voxels, target.affine, stored.name)
                item[REFERENCE] = as_meta_tensor(voxels, target.affine, meta)
            finding.resampled = matrix is not None
            doubts = [*doubts, *self._doubts(target, reference, finding)]
        except NoRoomError:  # no fault of the reference
            raise
        except InputError as error:
            return self._failed(item, meta, error)
        for doubt, sentence in doubts:
            case.warn(doubt, f"{reference.name}: {sentence}.")
        return item

    def _doubts(self, target: PlacedVolume, reference: PlacedVolume, finding: RegistrationFinding) -> list[Told]:
        """Return what to say of how a reference on the target's grid agrees with it, or raise why it cannot be used."""
        found = agreement(target, reference)
        if found is None:
            return []
        finding.details["apparent_shift_mm"] = found.shift_mm
        finding.details |= {"information": found.information, "sharpness": found.sharpness}
        seen = agreement_doubts(found, registered=finding.resampled and self.register is not False)
        finding.doubted = bool(seen)
        for doubt, sentence in seen:
            if self.refuse_doubted and doubt.verdict is Verdict.DO_NOT_USE:
                raise InputError(f"{reference.name}: this reference cannot be used, as {sentence}.")
        return seen

    def _placement(self, target: PlacedVolume, reference: PlacedVolume, details: dict[str, Any]) -> _Placement:
        """Return from where the reference is to be resampled, or raise why it cannot be used."""
        if same_grid(target, reference) and self.register is not True:
            return _find_displaced(target, reference, details) if self.register == "auto" else (None, [])
        if self.register is False:
            return _by_headers(target, reference, details)
        found = register(target, reference)
        details |= _facts("rigid registration", found)
        if reason := registration_failure(found):
            raise InputError(f"{reference.name}: this reference cannot be used, as {reason}.")
        return found.matrix, registration_doubts(found)

    def _failed(self, item: Item, meta: Mapping[str, Any], error: InputError) -> Item:
        """Raise, or return the item with an empty reference, as asked for."""
        finding = item[CASE].registration
        finding.usable, finding.reason = False, str(error)
        sentence = str(error).removesuffix(".")
        sheared = is_sheared(item[IMAGE].affine.numpy(force=True))  # then no other reference would do
        if self.on_failure == "skip":
            remedy = "; give another reference" if not sheared else ""
            go_on = "go without by --on_bad_reference single_contrast, where weights can"
            raise InputError(f"{sentence}{remedy}, or {go_on}.") from error
        doubt = Doubt.REFERENCE_DOUBTED if finding.doubted else Doubt.REFERENCE_REFUSED
        doubt = Doubt.SHEARED if sheared else doubt
        item[CASE].warn(doubt, f"{sentence}; the output is made without this reference.")
        nothing = np.zeros(item[IMAGE].shape[1:], dtype=np.float32)
        item[REFERENCE] = as_meta_tensor(nothing, item[IMAGE].affine.numpy(force=True), meta)
        return item


def _find_displaced(target: PlacedVolume, reference: PlacedVolume, details: dict[str, Any]) -> _Placement:
    """Return where registration puts a reference that lies off on the target's own grid.

    It stays as it is where it hardly lies off or nobody can tell, as with a small head or another patient's.
    """
    if head(target.coarse).sum() < ENOUGH:
        return None, []
    try:
        found = register(target, reference)
    except InputError as error:
        said = f"nobody could look whether it lies off ({str(error).removesuffix('.')})"
        return None, [(Doubt.NOT_REGISTERED, said)]
    details |= _facts("rigid registration, as a check", found)
    if not is_displaced(found):
        return None, []
    return found.matrix, displacement_doubts(found)


def _facts(method: str, found: Registration) -> dict[str, Any]:
    return {"method": method, **asdict(found), "matrix": found.matrix.round(6).tolist()}


def _by_headers(target: PlacedVolume, reference: PlacedVolume, details: dict[str, Any]) -> _Placement:
    """Return what to say of a reference that stays where its header puts it."""
    overlap = overlap_fraction(head_places(target.coarse), reference, np.eye(4))
    details |= {"method": "headers", "overlap": overlap}
    if reason := overlap_failure(overlap):
        raise InputError(f"{reference.name}: this reference cannot be used, as {reason}.")
    said = "it is on another grid and was laid on the image by the headers alone, as register is false"
    return np.eye(4), [(Doubt.NOT_REGISTERED, said), *overlap_doubts(overlap)]


def _placed(tensor: MetaTensor, otherwise: str) -> PlacedVolume:
    """Return a tensor (1, X, Y, Z) as a volume in its place."""
    voxels = tensor.as_tensor()[0].float().numpy(force=True)
    return PlacedVolume(voxels, tensor.affine.numpy(force=True), file_name(tensor) or otherwise)
