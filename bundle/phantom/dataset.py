# SPDX-License-Identifier: Apache-2.0
"""The embedded data sets: heads of a brain phantom that looks like MRI, written as NIfTI volumes on first use."""

import contextlib
import json
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import nibabel as nib
import numpy as np
import torch
from tqdm import tqdm

from bundle.errors import InputError
from bundle.files import writable_folder
from bundle.kspace import zero_fill
from bundle.phantom.atlas import load_atlas
from bundle.phantom.scanner import SEQUENCES, simulate_subject
from bundle.settings import PathLike

logger = logging.getLogger(__name__)

LOW_RES_SUBJECTS: Final = ("sub-P07", "sub-P08")
LOW_RES_FACTOR: Final = 4  # that of the weights that come with the bundle, models/model.pt, whose reference is T1w
README: Final = """Brain phantom for multi-contrast super-resolution

Simulated volumes; no person was scanned. {n} subjects, seed {seed}, each with T2w and PDw (spin echo, TR 8178 ms,
TE 100 and 8 ms) and T1w (spin echo, TR 600 ms, TE 15 ms) on one grid. Some subjects have white-matter lesions.

The anatomy derives from the ICBM 152 nonlinear symmetric atlas 2009a (tissue maps and T1 template, in the copy that the
Python package nilearn distributes): Fonov et al., NeuroImage 54 (2011) 313-327, doi 10.1016/j.neuroimage.2010.07.033.
The atlas comes under these terms:

  Copyright (C) 1993-2009 Louis Collins, McConnell Brain Imaging Centre, Montreal Neurological Institute, McGill
  University. Permission to use, copy, modify, and distribute this software and its documentation for any purpose and
  without fee is hereby granted, provided that the above copyright notice appear in all copies. The authors and McGill
  University make no representations about the suitability of this software for any purpose. It is provided "as is"
  without express or implied warranty. The authors are not responsible for any data loss, equipment damage, property
  loss, or injury to subjects or patients resulting from the use or misuse of this software package.
"""


def write_phantom(folder: PathLike, n_subjects: int = 8, seed: int = 0) -> None:
    """Write phantom subjects as ``sub-P01/anat/sub-P01_T2w.nii.gz``, ``_PDw`` and ``_T1w``, and so on.

    A subject depends on the seed and its own number only. The folder, empty before, appears whole or not at all.
    """
    if n_subjects < 1 or seed < 0:
        raise ValueError(f"n_subjects {n_subjects}, seed {seed}: use at least 1 subject and a seed of at least 0.")
    final = Path(folder).absolute()
    if final.is_file() or any(final.glob("*")):
        raise InputError(f"{final}: exists already; name a new folder for the phantom, or delete this one.")
    with _whole_folder(final) as partial:
        _write_subjects(partial, n_subjects, seed)
        _write_description(partial, n_subjects, seed)
    logger.info("wrote %d phantom subjects to %s", n_subjects, final)


def default_dataset(bundle_root: PathLike) -> str:
    """Return the folder of the embedded data set, ``data/phantom`` in the bundle, writing it on first use."""
    return _embedded(Path(bundle_root).absolute() / "data" / "phantom", write_phantom)


def low_res_dataset(bundle_root: PathLike) -> str:
    """Return the folder of heads as a hospital has them: T2w images zero-filled by 4 in the plane, T1w references."""
    folder = Path(bundle_root).absolute() / "data" / "phantom_low_res"
    return _embedded(folder, lambda folder: _write_low_res(Path(default_dataset(bundle_root)), folder))


def _embedded(folder: Path, write: Callable[[Path], None]) -> str:
    """Return a folder, written on first use: where two processes ask at once, by the first to finish."""
    if any(folder.glob("*")):  # as it appears whole
        return str(folder)
    try:
        writable_folder(folder.parent)
    except InputError as error:
        raise InputError(
            f"{folder}: the embedded phantom cannot be written; make this folder writable, or set dataset_dir."
        ) from error
    logger.info("writing the embedded brain phantom to %s", folder)
    try:
        write(folder)
    except InputError:
        if not any(folder.glob("*")):
            raise
    return str(folder)


@contextlib.contextmanager
def _whole_folder(final: Path) -> Iterator[Path]:
    """Yield the path of a folder to make, which becomes ``final`` when the block succeeds."""
    parent, prefix = writable_folder(final.parent), f".{final.name}."
    try:
        with tempfile.TemporaryDirectory(".partial", prefix, parent, ignore_cleanup_errors=True) as temporary:
            partial = Path(temporary) / final.name
            yield partial
            partial.replace(final)
    except OSError as error:
        raise InputError(
            f"{final}: the phantom could not be written ({error.strerror}); free the name or space."
        ) from error


def _write_subjects(folder: Path, n_subjects: int, seed: int) -> None:
    load_atlas()  # once, before the threads need it
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)  # more gain little, lose much on a busy machine, and their number decides the last bit
    try:
        with ThreadPoolExecutor(min(2, n_threads)) as pool:
            written = pool.map(lambda index: _write_subject(folder, index, seed), range(1, n_subjects + 1))
            list(tqdm(written, total=n_subjects, desc="writing phantom", unit="subject", disable=None))
    finally:
        torch.set_num_threads(n_threads)


def _write_subject(folder: Path, index: int, seed: int) -> None:
    name = f"sub-P{index:02d}"
    anat = folder / name / "anat"
    anat.mkdir(parents=True)
    volumes, affine = simulate_subject(index, seed)
    for contrast, volume in volumes.items():
        image = nib.Nifti1Image(volume, affine)
        image.set_qform(affine, code=1)
        image.set_sform(affine, code=1)
        image.header.set_xyzt_units("mm", "sec")
        image.header["descrip"] = "phantom spin echo TR {:g} TE {:g} ms".format(*SEQUENCES[contrast]).encode()
        nib.save(image, anat / f"{name}_{contrast}.nii.gz")


def _write_low_res(source: Path, folder: Path) -> None:
    with _whole_folder(folder) as partial:
        for name in (f"{subject}/anat/{subject}" for subject in LOW_RES_SUBJECTS):
            (partial / name).parent.mkdir(parents=True)
            shutil.copyfile(source / f"{name}_T1w.nii.gz", partial / f"{name}_T1w.nii.gz")
            image = nib.load(source / f"{name}_T2w.nii.gz")
            slices = torch.from_numpy(np.asarray(image.dataobj, dtype=np.float32)).movedim(-1, 0)
            low_res = zero_fill(slices, LOW_RES_FACTOR).movedim(0, -1).numpy()
            low_res_image = nib.Nifti1Image(low_res, image.affine, image.header, dtype=np.float32)
            nib.save(low_res_image, partial / f"{name}_T2w.nii.gz")


def _write_description(folder: Path, n_subjects: int, seed: int) -> None:
    description = {
        "Name": "Brain phantom for multi-contrast super-resolution",
        "BIDSVersion": "1.9.0",
        "DatasetType": "raw",
        "License": "Apache-2.0; anatomy from the ICBM 152 atlas 2009a, whose notice is in README",
        "GeneratedBy": [{"Name": "bundle.phantom.dataset", "Description": f"n_subjects={n_subjects}, seed={seed}"}],
    }
    (folder / "dataset_description.json").write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
    (folder / "README").write_text(README.format(n=n_subjects, seed=seed), encoding="utf-8")
