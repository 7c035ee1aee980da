# SPDX-License-Identifier: Apache-2.0
"""Which tissue lies where in a phantom head: rules from atlas maps and random fields to fractions.

A border is a sigmoid of the signed distance to it in mm, which gives partial volumes. The fields are standardised
noise, so a field of hills ``w`` mm wide (standard deviation of its filter) has a slope of about ``1 / w`` per mm where
it crosses zero, and ``w * field`` is the distance to that crossing in mm.
"""

import itertools
from typing import Final

import torch
from torch import Tensor

# Order of the tissue fractions; what they leave of 1 is air or flowing blood, which give no signal.
TISSUES: Final = ("csf", "grey", "white", "iron", "lesion", "bone", "marrow", "muscle", "fat", "skin")


def step(signed_mm: Tensor, blur: float = 0.3) -> Tensor:
    """Return a border's partial volume: 1 well inside (positive), 0 well outside."""
    return torch.sigmoid(signed_mm / blur)


def brain(maps: Tensor, fold: Tensor, smooth: Tensor, lesion: Tensor, sinus: Tensor) -> Tensor:
    """Return CSF, grey, white, iron-rich and lesion fractions (5, P, H, W) of the space inside the skull."""
    grey, white, csf, sulci, iron = maps
    distance, cortex, coarse = smooth[0], smooth[2], smooth[3:]
    # A new fold is the sheet where a field crosses zero (slope about 1 / 4 mm); it reaches 8 to 20 mm deep.
    depth = (-distance - 14 - 3 * coarse[0]).clamp(min=0)
    sheet = torch.hypot(4.0 * fold[0], depth) + 8 * (1 - cortex)
    fissure = step(sulci - 0.13 - 0.03 * fold[1], 0.035) * (0.3 + 0.7 * cortex)
    fissure = torch.maximum(fissure, step(0.4 + 0.2 * coarse[1] - sheet, 0.28))
    pool = step(csf - 0.42 - 0.05 * fold[1], 0.05)
    water = torch.maximum(fissure, pool)
    share = white / (white + grey + 1e-3)
    crisp = torch.sigmoid((share - 0.5 + 0.08 * fold[1]) * 16)
    soft = 0.5 * share + 0.5 * torch.sigmoid((share - 0.5) * 10)
    share = torch.lerp(soft, crisp, cortex) * step(sheet - 3.0, 0.35)
    share = share + (1 - share) * 0.3 * iron
    # Vessels: the curves where two fields cross zero; flowing blood gives no signal. The wide one in white matter
    # is the water around a vessel.
    flow = step(0.5 - torch.hypot(14 * coarse[5], 4 * fold[2]), 0.15) * (water * step(0.7 - csf, 0.1) + 0.1)
    flow = torch.maximum(flow, sinus)
    space = step(0.1 - torch.hypot(14 * coarse[4], 4 * fold[2]), 0.12)
    solid = (1 - water) * (1 - space)
    matter = torch.stack([water + (1 - water) * space, solid * (1 - share), solid * share * (1 - lesion)])
    parts = torch.cat([matter * (1 - iron), (solid * iron)[None], (solid * share * lesion * (1 - iron))[None]])
    return parts * (1 - flow.clamp(max=1))


def sinus(place: Tensor, distance: Tensor) -> Tensor:
    """Return the part of each point in the superior sagittal sinus: a triangle under the skull, in the midline."""
    width = (3.5 + 0.6 * (-distance.clamp(max=0) - 1).clamp(max=0)) * step(place[..., 2] + 10, 4.0)
    return step(torch.minimum(width + 0.7 * distance.clamp(max=0) - place[..., 0].abs(), distance + 6), 0.3)


def scalp(smooth: Tensor) -> tuple[Tensor, Tensor]:
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
    edges = [step(distance)]
    for layer in thickness:
        distance = distance - layer.clamp(min=0.4)
        edges.append(step(distance))
    inner, marrow, outer, muscle, fat, skin = (a - b for a, b in itertools.pairwise(edges))
    return torch.stack([inner + outer, marrow, muscle, fat, skin]), 1 - edges[0]
