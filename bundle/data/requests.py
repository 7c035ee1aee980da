# SPDX-License-Identifier: Apache-2.0
"""Which pairs a run works on: a named one, the reference beside one image, a data set, or one set of a split."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from bundle.data.bids import with_outputs
from bundle.data.pairs import find_pairs
from bundle.data.splits import read_split
from bundle.errors import InputError
from bundle.keys import CASE, IMAGE, REFERENCE, REFERENCE_CONTRAST, SUBJECT, Pair
from bundle.volumes.names import NIFTI_ENDING, absolute_path, parse_name, safe_name

PathLike = str | os.PathLike[str]


def requested_pairs(
    dataset_dir: PathLike,
    reference_contrast: str = "auto",
    image: PathLike | None = None,
    reference: PathLike | None = None,
) -> list[Pair]:
    """Return the one pair that is named, or else all pairs of a data set.

    Args:
        dataset_dir: as for :func:`bundle.data.find_pairs`; not looked at where ``image`` is given.
        reference_contrast: likewise.
        image: path of the target volume, a NIfTI file or the folder of a DICOM series, or ``None``; ``~`` is
            expanded.
        reference: path of its reference.

    Returns:
        As :func:`bundle.data.find_pairs` does, and ``output`` for the pairs of a BIDS data set. A name that is neither
        BIDS-like nor IXI's is case and subject; so is that of a DICOM folder, after its parent's.

    Raises:
        InputError: if only one of ``image`` and ``reference`` is given, or the data set has no pairs.
    """
    if image is None and reference is None:
        return with_outputs(find_pairs(dataset_dir, reference_contrast), dataset_dir)
    if image is None or reference is None:
        given, missing = ("image", "reference") if reference is None else ("reference", "image")
        raise InputError(f"--{given} is given without its {missing}; add --{missing} FILE.")
    path = absolute_path(image)
    scan, stem = parse_name(path), NIFTI_ENDING.sub("", path.name)
    if path.is_dir():  # its own name is often that of the sequence, the same for all patients
        stem = "_".join(filter(None, (path.parent.name, stem)))
    case, subject = (scan.case, scan.entities["sub"]) if scan else (stem, stem)
    return [{IMAGE: str(path), REFERENCE: str(absolute_path(reference)), SUBJECT: subject, CASE: safe_name(case)}]


def pairs_of_subset(
    pairs: Sequence[Pair], split_file: PathLike | None, subset: str = "test", fold: int | None = None
) -> list[Pair]:
    """Return the pairs of one set of a split that training has written.

    Args:
        pairs: what :func:`bundle.data.find_pairs` returns.
        split_file: the split; ``None`` returns all pairs.
        subset: ``train``, ``validate`` or ``test``.
        fold: the fold of a cross-validation.

    Raises:
        InputError: if the file is missing or damaged, or the set holds no pair of the data set.
    """
    if split_file is None:
        return list(pairs)
    subjects = read_split(split_file, subset, fold)
    chosen = [pair for pair in pairs if pair[SUBJECT] in subjects]
    if not chosen:
        raise InputError(
            f"{split_file}: no subject of its {subset} set ({', '.join(sorted(subjects)) or 'empty'}) is in the data "
            "set; check --dataset_dir and --subset, or give --split_file null for all pairs."
        )
    return chosen


def contrast_of(pairs: Sequence[Pair]) -> str | None:
    """Return the contrast of the references, as their names tell it.

    Args:
        pairs: pairs of one data set.

    Returns:
        ``PDw`` or ``T1w``, or ``None`` where neither names nor DICOM headers tell, or they disagree.
    """
    scans = [(pair, parse_name(Path(pair[REFERENCE]))) for pair in pairs]
    contrasts = {scan.contrast if scan else pair.get(REFERENCE_CONTRAST) for pair, scan in scans}
    return contrasts.pop() if len(contrasts) == 1 else None


def reference_beside(
    image: str | os.PathLike[str], names: Mapping[str, Sequence[str]], contrast: str | None = None
) -> Path:
    """Return the reference in the folder of an image.

    Args:
        image: path of the target volume.
        names: by the end of an image's name, without that of its format, what stands there in the names of
            references, the preferred one first: ``{"_T2w": ["_PDw", "_T1w"]}``.
        contrast: contrast of the reference that is taken before others, ``PDw`` or ``T1w``.

    Returns:
        Path of the first that is there.

    Raises:
        InputError: if the image's name ends like none of ``names``, or no reference is there.
    """
    path = Path(image)
    stem = NIFTI_ENDING.sub("", path.name)
    own = next((end for end in names if stem.endswith(end)), None)
    if own is None:
        raise InputError(
            f"{path.name}: which file is the reference of this image? Its name ends in none of {', '.join(names)}, "
            'which reference_names in the config knows; give the path of its reference as "reference".'
        )
    wanted = [path.with_name(stem.removesuffix(own) + end) for end in names[own]]
    there = [file for name in wanted for end in (".nii.gz", ".nii") if (file := Path(f"{name}{end}")).is_file()]
    if not there:
        missing = " or ".join(f"{name.name}.nii.gz" for name in wanted)
        raise InputError(
            f"{path.name}: no reference lies beside this image; put {missing} "
            'into its folder, or give the path of its reference as "reference".'
        )
    fitting = (file for file in there if (scan := parse_name(file)) and scan.contrast == contrast)
    return next(fitting, there[0])
