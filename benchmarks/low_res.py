# SPDX-License-Identifier: Apache-2.0
"""Measure how well the acquisition of the in-plane axes is found, on volumes degraded here and on those as they are.

    python benchmarks/low_res.py FOLDER...        # NIfTI volumes below the folders, and two subjects of the phantom

The tables of docs/low_res.md, as Markdown. Each T2w volume is degraded in 8 of its slices and rounded to integers.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bundle.acquisition import AxisEstimate, KSpaceAxis, Window
from bundle.data.reading import read_volume
from bundle.kspace import kept_block, zero_fill
from bundle.phantom.scanner import simulate_subject
from bundle.volumes.acquired_axes import estimate_axes
from bundle.volumes.enlarge import enlarge_voxels
from bundle.volumes.geometry import through_plane_axis
from bundle.volumes.intensity import tissue_slices

FACTORS = (4, 3, 2)
Degrade = Callable[[Tensor, float], Tensor]
WINDOWS: dict[str, tuple[Window, float]] = {
    "hamming": ("hamming", 1.0),
    "hann": ("hann", 1.0),
    "tukey quarter": ("tukey", 0.25),
    "tukey half": ("tukey", 0.5),
    "fermi": ("fermi", 0.1),
    "gaussian": ("gaussian", 1.0),
}


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


def estimated(slices: Tensor) -> tuple[AxisEstimate, AxisEstimate]:
    """Return what is estimated of slices (D, H, W) that are stored as integers."""
    return estimate_axes(slices.round().movedim(0, -1).float().numpy(), (1.0, 1.0))


def scanner(slices: Tensor, factor: float, phase: float = 0, noise: float = 0, shape: str = "box") -> Tensor:
    """Return magnitudes of slices (D, H, W) as a scanner measures them, each deviation from the plain block apart.

    Args:
        slices: high-res.
        factor: zero-filling factor.
        phase: of the object, in radians from the middle to an edge: a shift of the echo, and a curved part.
        noise: standard deviation of each channel after zero-filling, relative to the maximum.
        shape: of the block: ``box``, ``ellipse``, ``partial`` (a quarter of the rows is missing on one side), or the
            name of a window over it (``WINDOWS``).
    """
    rows, columns = (torch.linspace(-1, 1, n, dtype=torch.float64) for n in slices.shape[-2:])
    curve = rows[:, None] + 0.7 * columns**2 - rows[:, None] * columns + 0.5 * rows[:, None] ** 2
    generator = torch.Generator().manual_seed(0)
    real, imaginary = torch.randn(2, *slices.shape, generator=generator, dtype=torch.float64)
    scanned = slices * torch.exp(1j * phase * curve) + torch.complex(real, imaginary) * noise * slices.max() * factor
    axes = [KSpaceAxis(n, factor, *WINDOWS.get(shape, ("box", 1.0))) for n in slices.shape[-2:]]
    if shape == "partial":
        axes[0] = KSpaceAxis(slices.shape[-2], factor, partial=0.75)
    mask = axes[0].response()[:, None] * axes[1].response()
    if shape == "ellipse":
        distances = [((torch.arange(n) - n // 2) / (n / factor / 2)) ** 2 for n in slices.shape[-2:]]
        mask = mask * (distances[0][:, None] + distances[1] <= 1)
    return torch.fft.ifft2(torch.fft.fft2(scanned) * torch.fft.ifftshift(mask)).abs()


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
    "none": lambda slices, factor: scanner(slices, factor),
    "noise, 1 % of the maximum": lambda slices, factor: scanner(slices, factor, noise=0.01),
    "noise, 3 %": lambda slices, factor: scanner(slices, factor, noise=0.03),
    "noise, 5 %": lambda slices, factor: scanner(slices, factor, noise=0.05),
    "phase, 1 rad": lambda slices, factor: scanner(slices, factor, phase=1),
    "phase, 3 rad": lambda slices, factor: scanner(slices, factor, phase=3),
    "partial Fourier 6/8, zero-filled": lambda slices, factor: scanner(slices, factor, shape="partial"),
    "elliptical block": lambda slices, factor: scanner(slices, factor, shape="ellipse"),
    "Hamming window": lambda slices, factor: scanner(slices, factor, shape="hamming"),
    "Fermi window": lambda slices, factor: scanner(slices, factor, shape="fermi"),
    "Gaussian window": lambda slices, factor: scanner(slices, factor, shape="gaussian"),
    "Tukey window, outer quarter": lambda slices, factor: scanner(slices, factor, shape="tukey quarter"),
    "Tukey window, outer half": lambda slices, factor: scanner(slices, factor, shape="tukey half"),
    "Hann window": lambda slices, factor: scanner(slices, factor, shape="hann"),
}


class Tables:
    """Collect what is found, by data set and by deviation."""

    def __init__(self) -> None:
        self.estimates: dict[tuple[str, int], list[AxisEstimate]] = defaultdict(list)
        self.as_stored: dict[str, list[AxisEstimate]] = defaultdict(list)
        self.seconds: list[float] = []
        self.small: dict[str, list[float]] = defaultdict(list)

    def add(self, data_set: str, volume: np.ndarray, is_degraded: bool) -> None:
        """Estimate the axes of one volume as it is, and of eight of its slices after each deviation."""
        start = time.process_time()
        self.as_stored[data_set] += estimate_axes(volume, (1.0, 1.0))
        self.seconds.append(time.process_time() - start)
        if not is_degraded:
            return
        slices = some_slices(volume, 8)
        for name, degrade in DEVIATIONS.items():
            for factor in FACTORS:
                self.estimates[name, factor] += estimated(degrade(slices, factor))
        shape = (*slices.shape[1:], len(slices))
        enlarged = torch.from_numpy(enlarge_voxels(small_image(slices, 4), shape)).movedim(-1, 0)
        self.small[data_set].append(psnr(enlarged, zero_fill(slices, 4)))

    def show(self) -> None:
        """Print all tables."""
        print("| deviation | factor 4 within 10 % | 3 | 2 | within two deviations | taken for full | worst, factor 4 |")
        print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
        for name in DEVIATIONS:
            ratios = {f: np.array([a.factor / f - 1 for a in self.estimates[name, f]]) for f in FACTORS}
            all_axes = [(axis, f) for f in FACTORS for axis in self.estimates[name, f]]
            covered = sum(abs(axis.factor / f - 1) <= 2 * axis.deviation for axis, f in all_axes)
            missed = sum(axis.factor == 1 and axis.is_sure for axis, _ in all_axes)
            near = " | ".join(str(int((np.abs(ratios[f]) <= 0.1).sum())) for f in FACTORS)
            worst = ratios[4][np.argmax(np.abs(ratios[4]))] if ratios[4].size else 0
            print(f"| {name} | {near} | {covered} of {len(all_axes)} | {missed} | {worst:+.0%} |")
        print("\n| data set as it is | axes | full | open | largest factor |\n| --- | ---: | ---: | ---: | ---: |")
        for data_set, axes in self.as_stored.items():
            n_full = sum(axis.factor == 1 and axis.is_sure for axis in axes)
            n_open = sum(axis.factor == 1 and not axis.is_sure for axis in axes)
            largest = max(axis.factor for axis in axes)
            print(f"| {data_set} | {len(axes)} | {n_full} | {n_open} | {largest:.2f} |")
        print("\n| data set | enlarged small matrix against zero-filling, PSNR in dB |\n| --- | ---: |")
        for data_set, values in self.small.items():
            print(f"| {data_set} | {np.mean(values):.1f} ({min(values):.1f} to {max(values):.1f}) |")
        print(f"\nCPU seconds a volume: {np.median(self.seconds):.2f}, at most {max(self.seconds):.2f}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="*", help="folders of .nii.gz volumes, all at full resolution")
    options = parser.parse_args()
    tables = Tables()
    for data_set, name, volume in volumes(options.folders):
        tables.add(data_set, volume, "T2w" in name)
    tables.show()


if __name__ == "__main__":
    main()
