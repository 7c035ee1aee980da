# SPDX-License-Identifier: Apache-2.0
"""The scan of a phantom head: tissue parameters, spin echo, thick slices, bias field and noise."""

import math
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bundle.phantom.head import TISSUES, Head, draw_head

# Proton density (relative to water), T1 and T2 in ms at 1.5 T, in the order of TISSUES. CSF, fat, and density and T1 of
# grey and white matter: Kwan 1999, doi 10.1109/42.816072. Muscle, and T2 of grey and white matter: Stanisz 2005,
# doi 10.1002/mrm.20605. The rest are estimates.
PARAMETERS: Final = {
    "csf": (1.00, 2569, 329),
    "grey": (0.86, 833, 95),
    "white": (0.77, 500, 72),
    "iron": (0.79, 600, 60),  # between grey and white; T2 shortened by iron
    "lesion": (0.80, 720, 160),  # long T2; T1 and density nearly cancel in the T1-weighted image
    "bone": (0.05, 200, 1),  # compact bone: next to no signal
    "marrow": (0.55, 350, 70),  # fat between trabeculae
    "muscle": (0.90, 1008, 44),
    "fat": (0.90, 350, 70),
    "skin": (0.70, 600, 40),
}
# TR and TE in ms of IXI's dual echo, and of a clinical T1-weighted spin echo.
SEQUENCES: Final = {"T2w": (8178, 100), "PDw": (8178, 8), "T1w": (600, 15)}
MATRIX: Final = (208, 240)
N_SLICES: Final = 20
SPACING: Final = (0.9375, 0.9375, 4.0)
FIRST_SLICE: Final = -16.0  # mm of the lowest slice above the atlas's origin: through the midbrain, above the orbits
CENTRE: Final = (0.0, -18.0)  # mm left-right and back-front of the voxel in the middle of the plane
OVERSAMPLING: Final = 1.25  # points of the simulated object for one voxel, along each axis of the plane
N_PLANES: Final = 3  # averaged for one slice
INTENSITY: Final = 2000.0  # stored value of pure water fully relaxed, before the subject's gain
NOISE: Final = 0.022  # standard deviation in each channel of the receiver, relative to white matter


def spin_echo(pd: float, t1: float, t2: float, tr: float, te: float) -> float:
    """Return a tissue's signal PD (1 - exp(-TR / T1)) exp(-TE / T2), in [0, 1]."""
    return pd * (1 - math.exp(-tr / t1)) * math.exp(-te / t2)


def simulate_subject(index: int, seed: int = 0) -> tuple[dict[str, npt.NDArray[np.int16]], npt.NDArray[np.float64]]:
    """Make volumes (208, 240, 20) of a subject, numbered from 1, by contrast, and their affine (4, 4), RAS+ in mm."""
    generator = np.random.default_rng([seed, index])
    head = draw_head(generator)
    shift = torch.tensor(generator.normal(0, 2, 3), dtype=torch.float32)
    signals = _draw_signals(generator)
    volumes = _image(head, signals, shift)
    affine = np.diag([*SPACING, 1.0])
    affine[:3, 3] = [CENTRE[axis] - MATRIX[axis] // 2 * SPACING[axis] for axis in (0, 1)] + [FIRST_SLICE]
    gain = INTENSITY * generator.uniform(0.85, 1.15)
    finished = {}
    for contrast, volume, signal in zip(SEQUENCES, volumes.numpy(), signals, strict=True):
        sigma = NOISE * float(signal[TISSUES.index("white")]) * generator.uniform(0.85, 1.15)
        volume = volume * bias_field(volume.shape, (0.1, 0.2), generator)
        finished[contrast] = np.rint(gain * rician(volume, sigma, generator)).astype(np.int16)
    return finished, affine


def rician(volume: npt.NDArray[np.floating], sigma: float, generator: np.random.Generator) -> npt.NDArray[np.float32]:
    """Return the magnitude of a volume with noise of standard deviation ``sigma`` in both channels of the receiver."""
    real, imaginary = (sigma * generator.standard_normal(volume.shape, dtype=np.float32) for _ in range(2))
    return np.asarray(np.hypot(volume + real, imaginary), dtype=np.float32)


def _draw_signals(generator: np.random.Generator) -> Tensor:
    """Draw a subject's tissue parameters, 3 % around the table (density 1 %), as signals (contrasts, tissues)."""
    tissues = []
    for name in TISSUES:
        pd, t1, t2 = np.array(PARAMETERS[name]) * (1 + generator.normal(0, [0.01, 0.03, 0.03]))
        tissues.append((min(pd, 1.0), t1, t2))
    signals = [[spin_echo(*tissue, *times) for tissue in tissues] for times in SEQUENCES.values()]
    return torch.tensor(signals, dtype=torch.float32)


def _image(head: Head, signals: Tensor, shift: Tensor) -> Tensor:
    """Return noise-free volumes (contrasts, X, Y, Z) of a head moved by ``shift`` mm in a fixed field of view."""
    fine = [round(n * OVERSAMPLING) for n in MATRIX]
    x, y = ((torch.arange(fine[i]) - fine[i] // 2) * (SPACING[i] / OVERSAMPLING) + CENTRE[i] for i in (0, 1))
    planes = ((torch.arange(N_PLANES) + 0.5) / N_PLANES - 0.5) * SPACING[2] + FIRST_SLICE
    slices = []
    for index in range(N_SLICES):
        z, across, along = torch.meshgrid(planes + index * SPACING[2], x, y, indexing="ij")
        parts, texture = head.fractions(torch.stack([across, along, z], dim=-1) - shift)
        slices.append((torch.einsum("ct,tpxy->cpxy", signals, parts) * texture).mean(dim=1))
    return _acquire(torch.stack(slices, dim=-1).movedim(-1, 1)).movedim(1, -1)


def _acquire(image: Tensor) -> Tensor:
    """Measure the object's central k-space, (..., H, W) to (..., 208, 240), its outer third tapered as scanners do."""
    k_space = torch.fft.fftshift(torch.fft.fft2(image, norm="forward"), dim=(-2, -1))
    for dim, n in zip((-2, -1), MATRIX, strict=True):
        k_space = k_space.narrow(dim, k_space.shape[dim] // 2 - n // 2, n)
        ramp = ((1 - (torch.arange(n) - n // 2).abs() / (n / 2)) / 0.33).clamp(0, 1)
        window = torch.sin(ramp * torch.pi / 2) ** 2
        k_space = k_space * (window[:, None] if dim == -2 else window)
    return torch.fft.ifft2(torch.fft.ifftshift(k_space, dim=(-2, -1)), norm="forward").abs()


def bias_field(
    shape: tuple[int, ...], amplitude: float | tuple[float, float], generator: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Draw a receive field (X, Y, Z): a quadratic of position, ``amplitude`` in [0, 1), or in a range, around 1."""
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n, dtype=np.float32) for n in shape), indexing="ij")
    terms = (x, y, z, x * x, y * y, z * z, x * y, x * z, y * z)
    field = sum(weight * term for weight, term in zip(generator.normal(size=len(terms)), terms, strict=True))
    field = (field - field.min()) / (field.max() - field.min()) * 2 - 1
    size = generator.uniform(*amplitude) if isinstance(amplitude, tuple) else amplitude
    return np.asarray(1 + size * field, dtype=np.float32)
