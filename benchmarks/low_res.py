# SPDX-License-Identifier: Apache-2.0
"""Measure how well the occupied block of k-space is found, on volumes zero-filled here and on those as they are.

    python benchmarks/low_res.py FOLDER...        # NIfTI volumes below the folders, and two subjects of the phantom

The tables of docs/low_res.md, as Markdown. Each volume is degraded in 24 of its slices and rounded to integers.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bundle.data.reading import read_volume
from bundle.kspace import block_mask, kept_block, zero_fill
from bundle.phantom.scanner import simulate_subject
from bundle.volumes.enlarge import enlarge_voxels
from bundle.volumes.geometry import through_plane_axis
from bundle.volumes.intensity import tissue_slices
from bundle.volumes.measured_block import OccupiedAxis, occupied_block, power_profile

FACTORS = [(2, 2), (3, 3), (4, 4), (4, 2), (1, 2)]
Degrade = Callable[[Tensor], Tensor]


def volumes(folders: list[Path]) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yield data set, name and slices (H, W, D) of every volume, slices last."""
    for folder in folders:
        for path in sorted(folder.rglob("*.nii.gz")):
            volume = read_volume(path)
            axis = through_plane_axis(volume.spacing, volume.voxels.shape)
            yield path.parent.name, path.name, np.moveaxis(volume.voxels, axis, -1)
    for index in (1, 2):
        for contrast, voxels in simulate_subject(index, 0)[0].items():
            yield "phantom", f"P{index:02d}_{contrast}", np.asarray(voxels, dtype=np.float32)


def some_slices(volume: np.ndarray, maximum: int = 24) -> Tensor:
    """Return evenly spaced slices with tissue, Tensor (D, H, W) of float64."""
    chosen = np.flatnonzero(tissue_slices(volume))
    chosen = chosen[np.linspace(0, len(chosen) - 1, min(len(chosen), maximum)).round().astype(int)]
    return torch.from_numpy(volume[..., chosen].astype(np.float64)).movedim(-1, 0)


def found(slices: Tensor) -> tuple[OccupiedAxis, OccupiedAxis]:
    """Return what is found in slices (D, H, W) that are stored as integers."""
    return occupied_block(slices.round().movedim(0, -1).float().numpy())


def scanner(slices: Tensor, factor: float, phase: float = 0, noise: float = 0, shape: str = "box") -> Tensor:
    """Return magnitudes of slices (D, H, W) as a scanner measures them, each deviation from the plain block apart.

    Args:
        slices: high-res.
        factor: zero-filling factor.
        phase: of the object, in radians from the middle to an edge: a shift of the echo, and a curved part.
        noise: standard deviation of each channel after zero-filling, relative to the maximum.
        shape: of the block: ``box``, ``ellipse``, ``partial`` (a quarter of the rows missing on one side), or the
            window over it: ``hamming``, ``hann``, ``tukey`` (its outer quarter), ``fermi``.
    """
    rows, columns = (torch.linspace(-1, 1, n, dtype=torch.float64) for n in slices.shape[-2:])
    curve = rows[:, None] + 0.7 * columns**2 - rows[:, None] * columns + 0.5 * rows[:, None] ** 2
    generator = torch.Generator().manual_seed(0)
    real, imaginary = torch.randn(2, *slices.shape, generator=generator, dtype=torch.float64)
    scanned = slices * torch.exp(1j * phase * curve) + torch.complex(real, imaginary) * noise * slices.max() * factor
    masks = [window(n, factor, shape) for n in slices.shape[-2:]]
    mask = masks[0][:, None] * masks[1]
    if shape == "ellipse":
        distances = [((torch.arange(n) - n // 2) / (n / factor / 2)) ** 2 for n in slices.shape[-2:]]
        mask = mask * (distances[0][:, None] + distances[1] <= 1)
    if shape == "partial":
        n_rows = slices.shape[-2]
        mask = mask * ((torch.arange(n_rows) - n_rows // 2) >= -0.25 * n_rows / factor)[:, None]
    return torch.fft.ifft2(torch.fft.fft2(scanned) * torch.fft.ifftshift(mask)).abs()


def window(size: int, factor: float, shape: str) -> Tensor:
    """Return the window over the measured block of one axis, zero outside."""
    start, stop = kept_block(size, factor)
    distance = ((torch.arange(size) - size // 2).abs() / ((stop - start) / 2)).clamp(max=1).double()
    windows = {
        "hamming": 0.54 + 0.46 * torch.cos(torch.pi * distance),
        "hann": torch.cos(torch.pi / 2 * distance).square(),
        "tukey": 0.5 + 0.5 * torch.cos(torch.pi * ((distance - 0.75) / 0.25).clamp(min=0)),
        "fermi": 1 / (1 + torch.exp((distance - 0.9) / 0.04)),
    }
    return block_mask(size, factor) * windows.get(shape, torch.ones_like(distance))


def small_image(slices: Tensor, factor: float) -> np.ndarray:
    """Return the magnitudes (rows, columns, D) of the images of the central samples of k-space alone."""
    (top, bottom), (left, right) = (kept_block(n, factor) for n in slices.shape[-2:])
    k_space = torch.fft.fftshift(torch.fft.fft2(slices, norm="forward"), dim=(-2, -1))
    block = torch.fft.ifftshift(k_space[..., top:bottom, left:right], dim=(-2, -1))
    return torch.fft.ifft2(block, norm="forward").abs().movedim(0, -1).float().numpy()


def psnr(image: Tensor, reference: Tensor) -> float:
    """Return the PSNR in dB with the reference's maximum for a peak."""
    return float(20 * torch.log10(reference.max()) - 10 * torch.log10((image - reference).square().mean()))


DEVIATIONS: dict[str, Degrade] = {
    "none": lambda slices: scanner(slices, 4),
    "noise, 1 % of the maximum": lambda slices: scanner(slices, 4, noise=0.01),
    "noise, 3 %": lambda slices: scanner(slices, 4, noise=0.03),
    "noise, 5 %": lambda slices: scanner(slices, 4, noise=0.05),
    "phase, 1 rad": lambda slices: scanner(slices, 4, phase=1),
    "phase, 3 rad": lambda slices: scanner(slices, 4, phase=3),
    "partial Fourier 6/8, zero-filled": lambda slices: scanner(slices, 4, shape="partial"),
    "elliptical block": lambda slices: scanner(slices, 4, shape="ellipse"),
    "Hamming window": lambda slices: scanner(slices, 4, shape="hamming"),
    "Fermi window": lambda slices: scanner(slices, 4, shape="fermi"),
    "Tukey window, outer quarter": lambda slices: scanner(slices, 4, shape="tukey"),
    "Hann window": lambda slices: scanner(slices, 4, shape="hann"),
}


def fade(volume: np.ndarray) -> list[float]:
    """Return how far the power of each in-plane axis falls from half the highest frequency to 0.8 of it, in dB."""
    profiles = [power_profile(volume.astype(np.float32), axis) for axis in (0, 1)]
    return [float(10 * np.log10(p[round(0.5 * len(p))] / p[round(0.8 * len(p))])) for p in profiles]


class Tables:
    """Collect what is found, by data set and by deviation."""

    def __init__(self) -> None:
        self.full: dict[str, list[OccupiedAxis]] = defaultdict(list)
        self.fades: dict[str, list[list[float]]] = defaultdict(list)
        self.errors: dict[tuple[str, tuple[float, float]], list[int]] = defaultdict(list)
        self.drops: dict[tuple[str, tuple[float, float]], list[float]] = defaultdict(list)
        self.deviating: dict[str, list[tuple[OccupiedAxis, float]]] = defaultdict(list)
        self.small: dict[str, list[float]] = defaultdict(list)
        self.seconds: list[float] = []

    def add(self, data_set: str, volume: np.ndarray) -> None:
        """Measure one volume."""
        start = time.process_time()
        self.full[data_set] += occupied_block(volume)
        self.seconds.append(time.process_time() - start)
        self.fades[data_set].append(fade(volume))
        slices = some_slices(volume)
        for factors in FACTORS:
            for axis, factor in zip(found(zero_fill(slices, factors[0], True, factors[1])), factors, strict=True):
                self.errors[data_set, factors].append(axis.kept - round(axis.size / factor))
                if factor > 1:
                    self.drops[data_set, factors].append(axis.drop_db)

    def add_deviations(self, data_set: str, volume: np.ndarray) -> None:
        """Measure what scanners do besides zero-filling, and small matrices."""
        slices = some_slices(volume)
        for name, degrade in DEVIATIONS.items():
            self.deviating[name] += [(axis, axis.size / 4) for axis in found(degrade(slices))]
        shape = (*slices.shape[1:], len(slices))
        enlarged = torch.from_numpy(enlarge_voxels(small_image(slices, 4), shape)).movedim(-1, 0)
        self.small[data_set].append(psnr(enlarged, zero_fill(slices, 4)))

    def show(self) -> None:
        """Print all tables."""
        print("| data set | volumes | taken for full | largest drop, dB | " + " | ".join(map(str, FACTORS)) + " |")
        print("| --- | ---: | ---: | ---: |" + " ---: |" * len(FACTORS))
        for data_set, axes in self.full.items():
            cells = [self._cell(data_set, factors) for factors in FACTORS]
            n_full = f"{sum(not axis.found for axis in axes)} of {len(axes)}"
            largest = f"{max(axis.drop_db for axis in axes):.1f}"
            print("| " + " | ".join([data_set, str(len(axes) // 2), n_full, largest, *cells]) + " |")
        print(
            f"\nCPU seconds a volume, looking alone: {np.median(self.seconds):.2f}, at most {max(self.seconds):.2f}\n"
        )
        print("| deviation, factor 4 | found within a sample | found within 5 % | no edge found | worst, samples |")
        print("| --- | ---: | ---: | ---: | ---: |")
        for name, found_axes in self.deviating.items():
            errors = [axis.kept - round(expected) for axis, expected in found_axes if axis.found]
            near = sum(
                abs(axis.kept - round(expected)) <= 0.05 * expected for axis, expected in found_axes if axis.found
            )
            n_none = sum(not axis.found for axis, _ in found_axes)
            worst = max(errors, key=abs, default=0)
            within = sum(abs(error) <= 1 for error in errors)
            print(f"| {name} | {within} of {len(found_axes)} | {near} | {n_none} | {worst:+d} |")
        print("\n| data set as it is | fall of the rows' power from 0.5 to 0.8, dB | columns |\n| --- | ---: | ---: |")
        for data_set, pairs in self.fades.items():
            ranges = [f"{min(values):.0f} to {max(values):.0f}" for values in zip(*pairs, strict=True)]
            print(f"| {data_set} | {ranges[0]} | {ranges[1]} |")
        print("\n| data set | enlarged small matrix against zero-filling, PSNR in dB |\n| --- | ---: |")
        for data_set, values in self.small.items():
            print(f"| {data_set} | {np.mean(values):.1f} ({min(values):.1f} to {max(values):.1f}) |")

    def _cell(self, data_set: str, factors: tuple[float, float]) -> str:
        """Say how many blocks were found to the sample, and the smallest drop."""
        errors = self.errors[data_set, factors]
        return f"{sum(error == 0 for error in errors)} of {len(errors)}, {min(self.drops[data_set, factors]):.1f} dB"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="*", help="folders of .nii.gz volumes, all at full resolution")
    tables = Tables()
    for data_set, name, volume in volumes(parser.parse_args().folders):
        tables.add(data_set, volume)
        if "T2w" in name:
            tables.add_deviations(data_set, volume)
    tables.show()


if __name__ == "__main__":
    main()
