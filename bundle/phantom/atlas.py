# SPDX-License-Identifier: Apache-2.0
"""The ICBM 152 atlas as continuous maps: what every phantom subject is made from."""

import functools
import importlib.util
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from bundle.errors import InputError

Array = npt.NDArray[np.float32]

# Voxels of the atlas that are read: the head above the face, mm -98..98, -134..98 and -48..92.
BOX = (slice(0, 197), slice(0, 233), slice(24, 165))
# Centre (mm, right side; mirrored) and radii (mm) of the nuclei that hold much iron.
NUCLEI = (
    ((19.0, -3.0, -1.0), (4.5, 8.0, 5.0)),  # globus pallidus
    ((5.0, -20.0, -8.0), (3.0, 3.5, 4.0)),  # red nucleus
    ((10.0, -17.0, -12.0), (5.0, 4.0, 2.5)),  # substantia nigra
)


@dataclass(frozen=True)
class Atlas:
    """Hold the maps on the atlas's 1 mm grid, or coarser over the same box, from the mm position low to high."""

    # (1, 5, X, Y, Z): grey and white matter, probabilities in [0, 1]; CSF, the rest of the head's inside, in [0, 1];
    # sulci, CSF less its local mean, about -0.3 to 0.7; nuclei rich in iron, 0 or 1, blurred
    maps: Tensor
    # (1, 3, X / 2, Y / 2, Z / 2): distance (mm) to the inner skull, negative inside; distance to the same, bridged more
    # widely, as muscle fills the temples; weight of the cortex, 0 around deep nuclei and hindbrain, else 1
    outline: Tensor
    low: Tensor
    high: Tensor

    def sample(self, volume: Tensor, points: Tensor) -> Tensor:
        """Interpolate a volume (1, C, ...) that spans the box at points (P, H, W, 3) in mm: (C, P, H, W)."""
        grid = ((points - self.low) / (self.high - self.low) * 2 - 1).flip(-1)[:, None]  # order z, y, x
        volumes = volume.expand(len(grid), *volume.shape[1:])  # grid_sample runs in parallel over its batch only
        sampled = functional.grid_sample(volumes, grid, padding_mode="border", align_corners=True)
        return sampled[:, :, 0].movedim(1, 0)

    def noise(self, generator: np.random.Generator, n: int, width: float) -> Tensor:
        """Draw n smooth random fields (1, n, ...) from face to face of the box, mean 0, standard deviation 1."""
        step = max(width / 2, 1.0)  # the width is that of the Gaussian in mm; hills are about 4 widths apart
        shape = [max(int(length / step), 3) for length in (self.high - self.low).tolist()]
        raw = generator.standard_normal((n, *shape), dtype=np.float32)
        fields = ndimage.gaussian_filter(raw, (0, *(width / step,) * 3), mode="wrap", truncate=3)
        fields -= fields.mean(axis=(1, 2, 3), keepdims=True)
        fields /= fields.std(axis=(1, 2, 3), keepdims=True)
        return torch.from_numpy(fields)[None]


def read_map(name: str) -> Array:
    """Read the ICBM 152 map ``gm``, ``wm`` or ``t1``, cut to the box, in [0, 1], without the slow import of nilearn."""
    spec = importlib.util.find_spec("nilearn")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / "datasets" / "data" / f"mni_icbm152_{name}_tal_nlin_sym_09a_converted.nii.gz"
        if path.is_file():
            image = nib.Nifti1Image.from_filename(path)
            return np.asarray(image.dataobj[BOX], dtype=np.float32) / np.float32(255)
    raise InputError(f"the ICBM 152 map '{name}' is missing; the phantom is made from it: pip install nilearn.")


@functools.cache
def load_atlas() -> Atlas:
    """Read the atlas and derive the maps that subjects share (about 2 s the first time, then cached)."""
    grey, white, t1 = (read_map(name) for name in ("gm", "wm", "t1"))
    low = np.array([-98.0, -134.0, -72.0]) + [part.start for part in BOX]  # the atlas's affine is a shift
    brain = t1 > 0.05
    grey, white = (ndimage.gaussian_filter(tissue, 0.5) for tissue in (grey, white))  # the mask's edge is ragged
    csf = np.clip(1 - grey - white, 0, 1)
    axes = [np.arange(n, dtype=np.float32) + start for n, start in zip(grey.shape, low, strict=True)]
    maps = np.stack([grey, white, csf, _sulci(csf, brain), _nuclei(axes)])
    outline = np.stack([_distance(brain, 20), _distance(brain, 48), _cortex([axis[::2] for axis in axes])])
    corners = torch.tensor(np.stack([low, low + np.array(grey.shape) - 1]), dtype=torch.float32)
    return Atlas(torch.from_numpy(maps)[None], torch.from_numpy(outline)[None], *corners)


def _sulci(csf: Array, brain: npt.NDArray[np.bool_]) -> Array:
    """Return CSF less its mean over the brain nearby: a ridge along each sulcus, however faint in the average."""
    inside = ndimage.gaussian_filter(brain.astype(np.float32), 0.5)
    weight = ndimage.gaussian_filter(inside, 3.0, truncate=3) + np.float32(1e-3)
    mean = ndimage.gaussian_filter(csf * inside, 3.0, truncate=3) / weight
    return np.asarray((csf - mean) * inside, dtype=np.float32)


def _nuclei(axes: list[Array]) -> Array:
    """Return the iron-rich nuclei: 1 inside their ellipsoids, falling to 0 over about 1 mm."""
    x, y, z = np.meshgrid(np.abs(axes[0]), axes[1], axes[2], indexing="ij", sparse=True)
    total = np.zeros((x.shape[0], y.shape[1], z.shape[2]), np.float32)
    for centre, radii in NUCLEI:
        radius = sum(((axis - c) / r) ** 2 for axis, c, r in zip((x, y, z), centre, radii, strict=True))
        total += 1 / (1 + np.exp(np.minimum(6 * (radius - 1), 30)))
    return total


def _cortex(axes: list[Array]) -> Array:
    """Return 1 in the cortex and 0 around the deep nuclei, the brain stem and the cerebellum."""
    x, y, z = np.meshgrid(*axes, indexing="ij", sparse=True)
    deep = (x / 36) ** 2 + ((y + 8) / 40) ** 2 + ((z - 4) / 26) ** 2
    hind = (x / 55) ** 2 + ((y + 58) / 38) ** 2 + ((z + 38) / 24) ** 2
    inside = 1 / (1 + np.exp(np.minimum(8 * (np.minimum(deep, hind) - 1), 30)))
    return np.asarray(1 - inside, dtype=np.float32)


def _distance(brain: npt.NDArray[np.bool_], closing: int) -> Array:
    """Return, at every second voxel, the signed distance (mm) to the brain's smoothed outline, closed by so many mm."""
    margin = closing // 2 + 4  # the brain goes on below the box, so its outline does too
    half = np.pad(brain[::2, ::2, ::2], margin, mode="edge")
    closed = ndimage.distance_transform_edt(ndimage.distance_transform_edt(~half) < closing / 2) >= closing / 2
    signed = ndimage.distance_transform_edt(~closed) - ndimage.distance_transform_edt(closed)
    inner = (slice(margin, -margin),) * 3
    return ndimage.gaussian_filter(2 * signed.astype(np.float32), 2.0)[inner]
