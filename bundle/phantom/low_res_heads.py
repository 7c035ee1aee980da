# SPDX-License-Identifier: Apache-2.0
"""Phantom heads as a hospital has them: a low-resolution T2w image and a sharp T1w reference, to try inference with."""

import os
import shutil
from pathlib import Path
from typing import Final

import nibabel as nib
import numpy as np
import torch

from bundle.files import writable_folder
from bundle.kspace import zero_fill
from bundle.phantom.dataset import default_dataset

SUBJECTS: Final = ("sub-P07", "sub-P08")
FACTOR: Final = 4
"""That of the weights that come with the bundle, ``models/model.pt``, whose reference is T1w."""


def low_res_dataset(bundle_root: str | os.PathLike[str]) -> str:
    """Return the folder of the embedded low-res images, ``data/phantom_low_res``, writing it on first use.

    Args:
        bundle_root: the bundle's folder.

    Returns:
        A BIDS-like folder: T2w images zero-filled by 4 on both in-plane axes, with T1w references.

    Raises:
        InputError: if the folder cannot be written.
    """
    folder = Path(bundle_root).absolute() / "data" / "phantom_low_res"
    if folder.is_dir():
        return str(folder)
    source = Path(default_dataset(bundle_root))
    partial = writable_folder(folder.parent) / f".{folder.name}.{os.getpid()}.partial"
    try:
        for subject in SUBJECTS:
            _write_subject(source / subject / "anat", partial / subject / "anat", subject)
        if not folder.exists():  # another process may have been faster
            partial.replace(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return str(folder)


def _write_subject(source: Path, target: Path, subject: str) -> None:
    """Copy the reference, and write the target zero-filled."""
    target.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source / f"{subject}_T1w.nii.gz", target / f"{subject}_T1w.nii.gz")
    image = nib.load(source / f"{subject}_T2w.nii.gz")
    slices = torch.from_numpy(np.asarray(image.dataobj, dtype=np.float32)).movedim(-1, 0)[:, None]  # D, 1, H, W
    low_res = zero_fill(slices, FACTOR)[:, 0].movedim(0, -1).numpy()
    header = image.header.copy()
    header.set_data_dtype(np.float32)
    nib.save(nib.Nifti1Image(low_res, image.affine, header), target / f"{subject}_T2w.nii.gz")
