# SPDX-License-Identifier: Apache-2.0
"""``mcsr enhance``: its options, and what of the bundle's inference config they set."""

import argparse
import re
from pathlib import Path
from typing import Any, Final

from bundle.cli.model_choice import named_weights
from bundle.cli.options import CONTRAST, DEVICE, OUTPUT, add_switch, count, existing, factor, millimetres, path
from bundle.errors import InputError
from bundle.volumes.names import DICOM_DIRECTORY

MODELS: Final = "models"
LIST_ENDINGS: Final = (".json", ".csv", ".tsv")


def add_enhance_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``mcsr enhance``; ``dest`` is the config key they set."""
    add = parser.add_argument
    what = (
        "what to sharpen: one T2w image (NIfTI file or DICOM folder), a folder of images with references, a BIDS "
        "data set, a folder of DICOM studies, or a CSV or JSON list with columns image and reference"
    )
    weights = "trained weights: a .pt file, a folder with one, or one of the bundle's by its name; default: model"
    add("input", nargs="?", default=None, type=existing, metavar="INPUT", help=what)
    add("-r", "--reference", type=existing, metavar="FILE", help="sharp T1w, PDw or FLAIR image of the same patient")
    add("-o", "--output", **OUTPUT, help="where to write the results")
    add("-m", "--model", metavar="FILE", help=weights)
    add("--device", **DEVICE)
    add("--threads", type=count, metavar="N", help="processor cores to use; default: all")
    _add_image_options(parser)
    _add_batch_options(parser)


def _add_image_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the image")
    coarse = "how many times too coarse it is: 4, or 4,2 for rows and columns; default: found out"
    size = "zero_filled: enlarged by the scanner already; small: still of few pixels; default: auto, by looking"
    group.add_argument("--factor", type=factor, metavar="F", help=coarse)
    group.add_argument("--low-res", choices=("auto", "zero_filled", "small"), help=size)
    add_switch(group, "--through-plane", "make near-isotropic slices of thick ones")
    apart = "how far apart these are to lie; default: as the pixels, or the reference's voxels if larger"
    group.add_argument("--spacing", type=millimetres, metavar="MM", help=apart)
    thick = "how thick the slices are as they came; default: as the header says, or as far as they lie apart"
    group.add_argument("--slice-thickness", type=millimetres, metavar="MM", help=thick)
    add_switch(group, "--degrade", "for tests: the images are sharp; make them coarse first")
    group = parser.add_argument_group("the reference")
    contrast = "which to take in a folder; default: auto, whichever has more pairs"
    group.add_argument("--reference-contrast", **CONTRAST, help=contrast)
    add_switch(group, "--register", "move the reference onto the image, even where they seem to lie on one grid")
    add_switch(group, "--no-register", "never move the reference: lay it on by what the headers say")
    misfit = "what to do where the reference does not fit: skip the case, or sharpen without it (the default)"
    group.add_argument("--on-bad-reference", choices=("skip", "single_contrast"), help=misfit)


def _add_batch_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the result")
    add_switch(group, "--no-data-consistency", "do not put back what the scanner has measured")
    add_switch(group, "--interval", "write a map of error bars, which nine of ten errors stay within")
    doubtful = "use references in grave doubt all the same, and write results that are not to be used"
    add_switch(group, "--write-doubtful", doubtful)
    add_switch(group, "--dicom", "write a derived DICOM series too, where the images are DICOM")
    group = parser.add_argument_group("many images")
    add_switch(group, "--dry-run", "check all images, tell the plan, write nothing")
    add_switch(group, "--no-resume", "do again what is done already")
    share = "do the I-th of N shares of them; default: as Slurm or torchrun say"
    group.add_argument("--share", type=_share, metavar="I/N", help=share)
    group.add_argument("--json", metavar="FILE", help="write the report of all images to this file; - prints it")


def _share(text: str) -> str:
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise argparse.ArgumentTypeError(f"{text} is no share; write 1/4 for the first of four")
    return text


def enhance_keys(options: dict[str, Any], root: Path) -> dict[str, Any]:
    """Return ``image``, ``dataset_dir``, ``ckpt_path`` and ``report``, as far as the given options set them."""
    if "output_dir" not in options:
        raise InputError("where are the results to go? Add -o FOLDER.")
    keys = _source(options)
    report = options.get("json")
    if report and options.get("dry_run"):
        raise InputError("--json reports what became of the images, and --dry-run does none; leave out one of them.")
    if report and report != "-":  # which prints the one that is written by default
        keys["report"] = path(report)
    if "model" in options:
        keys["ckpt_path"] = named_weights(options["model"], root / MODELS)
    return keys


def _source(options: dict[str, Any]) -> dict[str, Any]:
    given = options.get("input")
    if given is None:
        if not {"image", "dataset_dir"} & options.keys():
            raise InputError("what is to be sharpened? Name an image, a folder, or a list.")
        return {}
    folder_like = Path(given).is_dir() or Path(given).name == DICOM_DIRECTORY
    is_many = folder_like or given.lower().endswith(LIST_ENDINGS)
    return {"dataset_dir" if is_many and "reference" not in options else "image": given}
