# SPDX-License-Identifier: Apache-2.0
"""A phantom subject's head: tissue fractions at any point of its scan, which every contrast of the subject shares.

The atlas, an average of 152 brains, is smooth: a subject is the atlas seen through a random deformation, with crisp
tissue borders, the faint sulci opened, new folds, and skull and scalp around it. A border is a sigmoid of the distance
to it; where a field of noise with hills ``w`` mm wide crosses zero, ``w * field`` is the distance in mm.
"""

import functools
import itertools
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from bundle.phantom.atlas import Atlas, load_atlas

COARSE: Final = 4  # smooth fields are evaluated at every fourth point in the plane, then interpolated
REACH: Final = 22.0  # distance from the inner skull, in mm, beyond which there is only air
N_CHUNKS: Final = 4  # batches that points are interpolated in, for the sake of parallel work
# Order of the tissue fractions; what they leave of 1 is air or flowing blood, which give no signal.
TISSUES: Final = ("csf", "grey", "white", "iron", "lesion", "bone", "marrow", "muscle", "fat", "skin")


@dataclass(frozen=True)
class Head:
    """Hold what makes one subject: random fields over the atlas's box, all seen through one deformation."""

    atlas: Atlas
    matrix: Tensor  # (3, 3), scanner mm to atlas mm: rotation and scale
    bend: Tensor  # (1, 3, ...), displacement in mm, hills about 10 cm apart
    wobble: Tensor  # (1, 3, ...), displacement in mm of the brain within the skull, hills about 3 cm apart
    coarse: Tensor  # (1, 6, ...), unit fields that vary thicknesses, hills about 5 cm apart
    fold: Tensor  # (1, 4, ...), unit fields whose zero crossings are folds and vessels, hills about 1.5 cm apart
    grain: Tensor  # (1, 2, ...), unit fields of the texture, hills about 5 mm apart
    lesions: Tensor  # (n, 4), centre and radius in atlas mm

    def fractions(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Return what lies at scanner points (P, H, W, 3), RAS+ in mm, grids H x W in P parallel planes.

        Tissue fractions (10, P, H, W) in the order of ``TISSUES``, each in [0, 1], their sum at most 1; and the texture
        (P, H, W), a factor with mean 1 on the signal of the brain.
        """
        smooth = self._smooth(points).flatten(1)
        (inside,) = torch.nonzero(smooth[3] < REACH, as_tuple=True)
        order = functional.pad(inside, (0, -len(inside) % N_CHUNKS), value=int(inside[-1])) if len(inside) else inside
        parts, texture = self._evaluate(smooth[:, order].unflatten(1, (N_CHUNKS, 1, -1)))
        whole = points.new_zeros(len(TISSUES) + 1, smooth.shape[1])
        whole[:, order] = torch.cat([parts, texture[None]]).flatten(1)
        whole = whole.unflatten(1, points.shape[:3])
        return whole[:-1], whole[-1]

    def locate(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Return where scanner points (P, H, W, 3), RAS+ in mm, lie in the atlas: as skull, and as brain."""
        rigid = points @ self.matrix.T
        bent = rigid + self.atlas.sample(self.bend, rigid).movedim(0, -1)
        return bent, bent + self.atlas.sample(self.wobble, bent).movedim(0, -1)

    def _smooth(self, points: Tensor) -> Tensor:
        """Return what varies slowly at points (P, H, W, 3): atlas mm, distances, cortex, coarse: (12, P, H, W)."""
        size = points.shape[1:3]
        sparse = _resize(points.movedim(-1, 1), [-(-n // COARSE) for n in size]).movedim(1, -1)
        bent, place = self.locate(sparse)
        distance = self.atlas.sample(self.atlas.outline[:, :2], bent)
        cortex = self.atlas.sample(self.atlas.outline[:, 2:], place)
        coarse = self.atlas.sample(self.coarse, bent)
        smooth = torch.cat([place.movedim(-1, 0), distance, cortex, coarse])
        return _resize(smooth.movedim(1, 0), size).movedim(0, 1)

    def _evaluate(self, smooth: Tensor) -> tuple[Tensor, Tensor]:
        """Return fractions (10, P, H, W) and texture (P, H, W) from the slowly varying channels (12, P, H, W)."""
        place, smooth = smooth[:3].movedim(0, -1).contiguous(), smooth[3:]
        maps = self.atlas.sample(self.atlas.maps, place)
        upright = self.atlas.sample(self.fold[:, :1], _towards_shell(place))
        fold = torch.cat([upright, self.atlas.sample(self.fold[:, 1:], place)])
        grain = self.atlas.sample(self.grain, place)
        inner = _brain(maps, fold, smooth, self._lesion(place, grain[1]), _sinus(place, smooth[0]))
        outer, inside = _scalp(smooth)
        return torch.cat([inner * inside, outer]), 1 + 0.02 * grain[0] + 0.012 * fold[3]

    def _lesion(self, place: Tensor, ragged: Tensor) -> Tensor:
        """Return the part of each point (P, H, W) that is lesion, in [0, 1]."""
        inside = torch.full_like(ragged, -9.0)
        for x, y, z, radius in self.lesions.tolist():
            if (place[..., 2] - z).abs().min() < radius + 2:
                centre = place.new_tensor([x, y, z])
                inside = torch.maximum(inside, radius - (place - centre).square().sum(dim=-1).sqrt())
        return torch.sigmoid((inside + 0.5 * ragged) / 0.4)


def _towards_shell(place: Tensor) -> Tensor:
    """Move points (..., 3) half-way to a sphere as large as the brain, where zero crossings stand upright, as sulci."""
    centre = place.new_tensor([0.0, -18.0, 8.0])
    ray = place - centre
    squared = ray.square().sum(dim=-1, keepdim=True).clamp(min=15.0**2)
    return centre + ray * (squared / 68.0**2) ** -0.3


_resize = functools.partial(functional.interpolate, mode="bilinear", align_corners=True)


def _step(signed_mm: Tensor, blur: float = 0.3) -> Tensor:
    """Return a border's partial volume: 1 well inside (positive), 0 well outside."""
    return torch.sigmoid(signed_mm / blur)


def _brain(maps: Tensor, fold: Tensor, smooth: Tensor, lesion: Tensor, sinus: Tensor) -> Tensor:
    """Return CSF, grey, white, iron-rich and lesion fractions (5, P, H, W) of the space inside the skull."""
    grey, white, csf, sulci, iron = maps
    distance, cortex, coarse = smooth[0], smooth[2], smooth[3:]
    # A new fold is the sheet where a field crosses zero (slope about 1 / 4 mm); it reaches 8 to 20 mm deep.
    depth = (-distance - 14 - 3 * coarse[0]).clamp(min=0)
    sheet = torch.hypot(4.0 * fold[0], depth) + 8 * (1 - cortex)
    fissure = _step(sulci - 0.13 - 0.03 * fold[1], 0.035) * (0.3 + 0.7 * cortex)
    fissure = torch.maximum(fissure, _step(0.4 + 0.2 * coarse[1] - sheet, 0.28))
    pool = _step(csf - 0.42 - 0.05 * fold[1], 0.05)
    water = torch.maximum(fissure, pool)
    share = white / (white + grey + 1e-3)
    crisp = torch.sigmoid((share - 0.5 + 0.08 * fold[1]) * 16)
    soft = 0.5 * share + 0.5 * torch.sigmoid((share - 0.5) * 10)
    share = torch.lerp(soft, crisp, cortex) * _step(sheet - 3.0, 0.35)
    share = share + (1 - share) * 0.3 * iron
    # Vessels: the curves where two fields cross zero; flowing blood gives no signal. The wide one in white matter
    # is the water around a vessel.
    flow = _step(0.5 - torch.hypot(14 * coarse[5], 4 * fold[2]), 0.15) * (water * _step(0.7 - csf, 0.1) + 0.1)
    flow = torch.maximum(flow, sinus)
    space = _step(0.1 - torch.hypot(14 * coarse[4], 4 * fold[2]), 0.12)
    solid = (1 - water) * (1 - space)
    matter = torch.stack([water + (1 - water) * space, solid * (1 - share), solid * share * (1 - lesion)])
    parts = torch.cat([matter * (1 - iron), (solid * iron)[None], (solid * share * lesion * (1 - iron))[None]])
    return parts * (1 - flow.clamp(max=1))


def _sinus(place: Tensor, distance: Tensor) -> Tensor:
    """Return the part of each point in the superior sagittal sinus: a triangle under the skull, in the midline."""
    width = (3.5 + 0.6 * (-distance.clamp(max=0) - 1).clamp(max=0)) * _step(place[..., 2] + 10, 4.0)
    return _step(torch.minimum(width + 0.7 * distance.clamp(max=0) - place[..., 0].abs(), distance + 6), 0.3)


def _scalp(smooth: Tensor) -> tuple[Tensor, Tensor]:
    """Return bone, marrow, muscle, fat and skin fractions (5, P, H, W), and the part (P, H, W) inside the skull."""
    coarse = smooth[3:]
    distance = smooth[0] - 0.7 - 0.8 * coarse[1]
    thickness = (
        1.6 + 0.3 * coarse[0],  # inner table
        2.4 + 0.9 * coarse[2],  # marrow
        1.5 + 0.2 * coarse[3],  # outer table
        1.0 + (smooth[0] - smooth[1]).clamp(min=0),  # muscle, which fills the temples
        3.2 + 0.9 * coarse[4],  # fat
        1.7 + 0.2 * coarse[3],  # skin
    )
    edges = [_step(distance)]
    for layer in thickness:
        distance = distance - layer.clamp(min=0.4)
        edges.append(_step(distance))
    inner, marrow, outer, muscle, fat, skin = (a - b for a, b in itertools.pairwise(edges))
    return torch.stack([inner + outer, marrow, muscle, fat, skin]), 1 - edges[0]


def draw_head(generator: np.random.Generator) -> Head:
    """Draw a subject: all that makes it is taken from the generator, in one fixed order."""
    atlas = load_atlas()
    return Head(
        atlas=atlas,
        matrix=_draw_matrix(generator),
        bend=2.2 * atlas.noise(generator, 3, 32.0),
        wobble=1.1 * atlas.noise(generator, 3, 8.0),
        coarse=atlas.noise(generator, 6, 14.0),
        fold=atlas.noise(generator, 4, 4.0),
        grain=atlas.noise(generator, 2, 1.5),
        lesions=_draw_lesions(generator),
    )


def _draw_matrix(generator: np.random.Generator) -> Tensor:
    """Draw a rotation of about 3 degrees and a head 0 to 8 % smaller than the atlas, which is a large one."""
    angles = torch.tensor(generator.normal(0, np.deg2rad(2.5), 3), dtype=torch.float32)
    skew = torch.zeros(3, 3)
    skew[0, 1], skew[0, 2], skew[1, 2] = angles
    scale = torch.tensor(generator.uniform(1.0, 1.08, 3), dtype=torch.float32)
    return torch.linalg.matrix_exp(skew - skew.T) * scale


def _draw_lesions(generator: np.random.Generator) -> Tensor:
    """Draw, for about half of the subjects, 4 to 12 lesions beside the ventricles: (n, 4), centre and radius in mm."""
    n = int(generator.integers(4, 13)) * int(generator.random() < 0.5)
    side = generator.choice([-1.0, 1.0], n)
    x = side * generator.uniform(14, 34, n)
    y, z = generator.uniform(-60, 45, n), generator.uniform(8, 38, n)
    radius = generator.uniform(1.2, 3.6, n)
    return torch.tensor(np.stack([x, y, z, radius], axis=1), dtype=torch.float32)
