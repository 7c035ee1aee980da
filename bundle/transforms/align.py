# SPDX-License-Identifier: Apache-2.0
"""The reference on the target's grid, wherever it was scanned."""

import dataclasses
from collections.abc import Hashable, Mapping
from typing import Any, Literal, get_args

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Transform
from monai.utils import ImageMetaKey, MetaKeys
from nibabel.affines import voxel_sizes

from bundle.case import Case, RegistrationFinding
from bundle.errors import InputError
from bundle.keys import CASE, IMAGE, REFERENCE
from bundle.registration import PlacedVolume, Registration, StoredVolume, agreement, register, resample
from bundle.registration.agreement import ENOUGH
from bundle.registration.plausibility import (
    agreement_doubts,
    is_displaced,
    overlap_doubts,
    overlap_failure,
    registration_doubts,
    registration_failure,
)
from bundle.registration.volumes import head, head_places, overlap_fraction
from bundle.transforms.io import SPACING
from bundle.volumes.geometry import same_grid

Item = dict[Hashable, Any]
OnFailure = Literal["skip", "single_contrast"]
_Placement = tuple[np.ndarray | None, list[str]]
"""A point of the target to the same point of the anatomy in the reference, (4, 4), RAS mm, or ``None`` for a reference
that stays as it is; and what to warn of."""


class AlignReferenced(Transform):
    """Bring the reference onto the target's grid, by rigid registration where it was scanned on another.

    It follows :class:`bundle.transforms.LoadPaird` (without its check of the grid) and whatever changes the target's
    grid. The reference is interpolated at most once. An item without a reference is left alone.

    Args:
        register: ``"grid"`` registers a reference that is on another grid than the target, and keeps one that is on
            its grid as it is. ``"auto"`` registers the latter too where it lies off nevertheless. True registers
            always; false never: another grid is resampled to where the headers put it.
        on_failure: what happens to a reference that cannot be used: ``"skip"`` the case, by an ``InputError``, or
            ``"single_contrast"``: the reference becomes zeros, and the case says that it is not usable.

    Raises:
        InputError: if ``register`` or ``on_failure`` is none of these.
    """

    def __init__(
        self,
        register: Literal["auto", "grid"] | bool = "auto",
        on_failure: OnFailure = "skip",
    ) -> None:
        if register not in ("auto", "grid", True, False):
            raise InputError(f"register is {register!r}; choose auto, grid, true or false.")
        if on_failure not in get_args(OnFailure):
            raise InputError(f"on_bad_reference is {on_failure!r}; choose one of {', '.join(get_args(OnFailure))}.")
        self.register = register
        self.on_failure = on_failure

    def __call__(self, data: Mapping[Hashable, Any]) -> Item:
        """Return the item with ``reference`` (1, X, Y, Z) on the target's grid, native intensities.

        Raises:
            InputError: if the reference cannot be used and the case is to be skipped.
        """
        item = dict(data)
        if REFERENCE not in item:
            return item
        item[CASE] = case = Case.of(item)
        case.registration = RegistrationFinding()
        meta = item[REFERENCE].meta
        target, reference = _placed(item[IMAGE], "the image"), _placed(item[REFERENCE], "the reference")
        try:
            matrix, doubts = self._placement(target, reference, case)
            if matrix is not None:
                with StoredVolume(reference) as stored:
                    del reference, item[REFERENCE]
                    voxels = resample(stored, target.shape, target.affine, matrix)
                reference = PlacedVolume(voxels, target.affine, stored.name)
                item[REFERENCE] = _as_meta_tensor(voxels, item[IMAGE], meta)
        except InputError as error:
            return self._failed(item, meta, error)
        for doubt in doubts:
            case.warn(f"{reference.name}: {doubt}.")
        case.registration.resampled = matrix is not None
        _compare(target, reference, case, registered=matrix is not None and self.register is not False)
        return item

    def _placement(self, target: PlacedVolume, reference: PlacedVolume, case: Case) -> _Placement:
        """Return from where the reference is to be resampled, or raise why it cannot be used."""
        if same_grid(target, reference) and self.register is not True:
            return _find_displaced(target, reference, case) if self.register == "auto" else (None, [])
        if self.register is False:
            return np.eye(4), _check_headers(target, reference, case)
        return _register(target, reference, case)

    def _failed(self, item: Item, meta: Mapping[str, Any], error: InputError) -> Item:
        """Raise, or return the item with an empty reference, as asked for."""
        finding = item[CASE].registration
        finding.usable, finding.reason = False, str(error)
        sentence = str(error).removesuffix(".")
        if self.on_failure == "skip":
            remedy = "give another reference, or set on_bad_reference to single_contrast to go without"
            raise InputError(f"{sentence}; {remedy}.") from error
        item[CASE].warn(f"{sentence}; the output is made without this reference.")
        item[REFERENCE] = _as_meta_tensor(np.zeros(item[IMAGE].shape[1:], dtype=np.float32), item[IMAGE], meta)
        return item


def _register(target: PlacedVolume, reference: PlacedVolume, case: Case) -> _Placement:
    """Return where registration puts the reference, and what to say of it."""
    found = register(target, reference)
    _note(case, "rigid registration", found)
    if reason := registration_failure(found):
        raise InputError(f"{reference.name}: this reference cannot be used, as {reason}.")
    return found.matrix, registration_doubts(found)


def _find_displaced(target: PlacedVolume, reference: PlacedVolume, case: Case) -> _Placement:
    """Return where registration puts a reference that lies off on the target's own grid.

    It stays as it is where it hardly lies off, and where nobody can tell: the head is too small, or registration is
    not to be believed, as with the reference of another patient.
    """
    if head(target.coarse).sum() < ENOUGH:
        return None, []
    try:
        found = register(target, reference)
    except InputError as error:
        return None, [f"nobody could look whether it lies off ({str(error).removesuffix('.')})"]
    _note(case, "rigid registration, as a check", found)
    if not is_displaced(found):
        return None, []
    said = f"it lies {found.displacement_mm:.1f} mm off, although on the image's grid, and was registered"
    return found.matrix, [f"{said}; look at the overlay", *registration_doubts(found)]


def _note(case: Case, method: str, found: Registration) -> None:
    """Keep what registration found."""
    facts = dataclasses.asdict(found)
    _details(case).update({"method": method, **facts, "matrix": found.matrix.round(6).tolist()})


def _check_headers(target: PlacedVolume, reference: PlacedVolume, case: Case) -> list[str]:
    """Return what to say of a reference that stays where its header puts it."""
    overlap = overlap_fraction(head_places(target.coarse), reference, np.eye(4))
    _details(case).update({"method": "headers", "overlap": overlap})
    if reason := overlap_failure(overlap):
        raise InputError(f"{reference.name}: this reference cannot be used, as {reason}.")
    said = "it is on another grid and was laid on the image by the headers alone, as register is false"
    return [said, *overlap_doubts(overlap)]


def _compare(target: PlacedVolume, aligned: PlacedVolume, case: Case, registered: bool) -> None:
    """Note how well both agree, and warn where they do not."""
    found = agreement(target, aligned)
    if found is None:
        return
    doubts = agreement_doubts(found, registered)
    facts = {"apparent_shift_mm": found.shift_mm, "information": found.information, "sharpness": found.sharpness}
    _details(case).update(facts)
    if case.registration:
        case.registration.doubted = bool(doubts)
    for doubt in doubts:
        case.warn(f"{aligned.name}: {doubt}.")


def _details(case: Case) -> dict[str, Any]:
    """Return what was measured of a registration, to be added to."""
    case.registration = case.registration or RegistrationFinding()
    return case.registration.details


def _placed(tensor: MetaTensor, otherwise: str) -> PlacedVolume:
    """Return a tensor (1, X, Y, Z) as a volume in its place."""
    name = str(tensor.meta.get(ImageMetaKey.FILENAME_OR_OBJ) or otherwise)
    return PlacedVolume(tensor.as_tensor()[0].float().numpy(force=True), tensor.affine.numpy(force=True), name)


def _as_meta_tensor(voxels: np.ndarray, target: MetaTensor, meta: Mapping[str, Any]) -> MetaTensor:
    """Return voxels on the target's grid with the reference's metadata, brought to that grid."""
    affine = target.affine.clone()
    changed = {
        MetaKeys.AFFINE: affine,
        MetaKeys.SPATIAL_SHAPE: np.array(voxels.shape),
        SPACING: voxel_sizes(affine.numpy(force=True)),
    }
    return MetaTensor(torch.from_numpy(voxels)[None], meta={**meta, **changed})
