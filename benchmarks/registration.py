# SPDX-License-Identifier: Apache-2.0
"""Measure the registration of reference to target: its accuracy, and what its checks can tell.

    python benchmarks/registration.py accuracy DATA/open_ms_native --registered DATA/open_ms
    python benchmarks/registration.py patients DATA/open_ms DATA/open_ms_mni
    python benchmarks/registration.py displacement DATA/open_ms DATA/open_ms_mni

Folders hold ``sub-*_T2w.nii.gz`` and, beside each, the reference. ``accuracy`` writes known motions into the header of
the reference and compares what is found with what was found before. ``patients`` registers everybody's reference to
everybody's target. ``displacement`` moves references that lie on their target's grid.
"""

import argparse
import itertools
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from nibabel.affines import apply_affine, from_matvec
from scipy import ndimage
from scipy.spatial.transform import Rotation

from bundle import kspace
from bundle.data.reading import read_volume
from bundle.registration import PlacedVolume, agreement, register, resample
from bundle.registration.volumes import head_places

FACTOR = 4


def read(path: Path) -> PlacedVolume:
    """Return a volume under its file's name."""
    volume = read_volume(path)
    return PlacedVolume(volume.voxels, volume.affine, path.name.removesuffix(".nii.gz"))


def zero_filled(target: PlacedVolume) -> PlacedVolume:
    """Return a target as low-res as in use."""
    slices = torch.from_numpy(target.voxels).movedim(-1, 0)
    return PlacedVolume(
        kspace.zero_fill(slices, FACTOR).movedim(0, -1).contiguous().numpy(), target.affine, target.name
    )


def person(volume: PlacedVolume) -> str:
    """Return whom a volume shows."""
    return volume.name.split("_")[0]


def pairs(folder: Path, contrast: str) -> Iterator[tuple[PlacedVolume, PlacedVolume]]:
    """Yield target and reference of each session."""
    for path in sorted(folder.rglob("sub-*_T2w.nii.gz")):
        beside = path.with_name(path.name.replace("T2w", contrast))
        if beside.is_file():
            yield read(path), read(beside)


def motion(random: np.random.Generator, centre: np.ndarray) -> np.ndarray:
    """Draw a turn by up to 5 degrees about any axis through a point, and a shift by up to 10 mm in any direction."""
    axis, direction = (vector / np.linalg.norm(vector) for vector in random.normal(size=(2, 3)))
    turn = Rotation.from_rotvec(np.radians(random.uniform(0, 5)) * axis).as_matrix()
    return from_matvec(turn, centre - turn @ centre + random.uniform(0, 10) * direction)


def accuracy(folder: Path, registered: Path | None, n_draws: int, contrast: str) -> None:
    """Print errors and seconds of known motions."""
    columns = ("of itself, mm: mean", "largest", "of the data set", "seconds: mean", "largest")
    print(f"{'target':<26}" + "".join(f"{column:>{len(column) + 2}}" for column in columns))
    for target, reference in pairs(folder, contrast):
        coarse = target.coarse
        places = head_places(coarse)
        theirs = None
        if registered is not None:
            theirs = register(read(registered / f"{reference.name}.nii.gz"), reference).matrix
        for kind, image in ((target.name, target), (f"{target.name} {FACTOR}x", zero_filled(target))):
            random = np.random.default_rng(0)
            first = register(image, reference)
            errors, seconds = [], [first.seconds]
            for _ in range(n_draws):
                known = motion(random, places.mean(axis=0))
                found = register(image, PlacedVolume(reference.voxels, known @ reference.affine, reference.name))
                errors.append(distance(found.matrix, known @ first.matrix, places))
                seconds.append(found.seconds)
            absolute = "" if theirs is None else f"{distance(first.matrix, theirs, places):.2f}"
            values = (np.mean(errors), max(errors), absolute, np.mean(seconds), max(seconds))
            texts = [value if isinstance(value, str) else f"{value:.2f}" for value in values]
            line = (f"{text:>{len(column) + 2}}" for text, column in zip(texts, columns, strict=True))
            print(f"{kind:<26}" + "".join(line), flush=True)


def distance(found: np.ndarray, true: np.ndarray, places: np.ndarray) -> float:
    """Return the mean distance in mm between where two motions put the head's voxels."""
    return float(np.linalg.norm(apply_affine(found, places) - apply_affine(true, places), axis=1).mean())


def patients(folder: Path, contrast: str, n_sessions: int) -> None:
    """Print the sharpness of registered pairs of one person and of two."""
    sessions = list(itertools.islice(pairs(folder, contrast), n_sessions))
    sharpness: dict[bool, list[float]] = {True: [], False: []}
    for (target, _), (_, reference) in itertools.product(sessions, sessions):
        image = zero_filled(target)
        found = register(image, reference)
        aligned = resample(reference, image.voxels.shape, image.affine, found.matrix)
        compared = agreement(image, PlacedVolume(aligned, image.affine, reference.name))
        if compared is not None:
            sharpness[person(target) == person(reference)].append(compared.sharpness)
    for same, values in sharpness.items():
        who = "one person" if same else "two persons"
        spread = f"{min(values):.2f} to {max(values):.2f}" if values else "none"
        print(f"{folder.name:<16}{contrast:<6}{who:<12}{len(values):>4} pairs, sharpness {spread}", flush=True)


def displacement(folder: Path, contrast: str, n_sessions: int) -> None:
    """Print how far references seem to lie off as they are, and moved in plane and through it.

    The second column is how far registration moves the undisturbed reference, on average over the head.
    """
    columns = ("as it is", "by registration", *MOVES)
    print(f"{folder.name + ' ' + contrast:<28}" + "".join(f"{column:>{len(column) + 2}}" for column in columns))
    for target, reference in itertools.islice(pairs(folder, contrast), n_sessions):
        image = zero_filled(target)
        found = []
        for axis, mm in ((0, 0.0), *MOVES.values()):
            shift = np.zeros(3)
            shift[axis] = mm / reference.spacing[axis]
            moved = ndimage.shift(reference.voxels, shift, order=1) if mm else reference.voxels
            compared = agreement(image, PlacedVolume(moved, reference.affine, reference.name))
            found.append("none" if compared is None else f"{compared.shift_mm:.2f}")
        found.insert(1, f"{register(image, reference).displacement_mm:.2f}")
        line = (f"{value:>{len(column) + 2}}" for value, column in zip(found, columns, strict=True))
        print(f"{target.name:<28}" + "".join(line), flush=True)


MOVES = {"1 mm x": (0, 1.0), "2 mm x": (0, 2.0), "4 mm x": (0, 4.0), "2 mm z": (2, 2.0), "4 mm z": (2, 4.0)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("accuracy", "patients", "displacement"))
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--registered", type=Path, help="the same references on the targets' grids, by somebody else")
    parser.add_argument("--contrast", default="T1w", help="of the reference")
    parser.add_argument("--draws", type=int, default=5, help="known motions for each target")
    parser.add_argument("--sessions", type=int, default=99, help="of each folder at most")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    print(f"{len(os.sched_getaffinity(0))} processor cores, one used; 1-minute load {os.getloadavg()[0]:.1f}")
    for folder in arguments.folders:
        if not folder.is_dir():
            print(f"{folder} is not here: skipped")
        elif arguments.what == "accuracy":
            accuracy(folder, arguments.registered, arguments.draws, arguments.contrast)
        elif arguments.what == "patients":
            patients(folder, arguments.contrast, arguments.sessions)
        else:
            displacement(folder, arguments.contrast, arguments.sessions)


if __name__ == "__main__":
    main()
