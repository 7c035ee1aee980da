# SPDX-License-Identifier: Apache-2.0
"""The reference beside an image, found by a rule over names, for programs that hand over one image alone."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from bundle.data.names import NIFTI_ENDING, parse_name
from bundle.errors import InputError


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
