# SPDX-License-Identifier: Apache-2.0
"""Thick slices through the network: sideways, as coronal and sagittal reformats of a transversal volume."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer
from monai.utils import convert_to_dst_type
from torch import Tensor

from bundle.acquisition import ThroughPlane
from bundle.case import Case


@dataclass(eq=False)
class ReformatInferer(Inferer):
    """Super-resolve a volume along its last axis by the mean of the reformats along the other two.

    Args:
        inferer: runs a network over slices along the last axis.
        through_plane: how the slices were acquired.
        in_plane: sharpen the slices as they came first, with the mean of the reference over each.
    """

    inferer: Inferer
    through_plane: ThroughPlane
    in_plane: bool = False

    def __call__(self, inputs: Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> Tensor:
        """Return super-res volumes (N, 1, H, W, D), float32, for ``inputs`` (N, 2, H, W, D), fine."""
        stack = inputs.as_tensor() if isinstance(inputs, MetaTensor) else inputs
        low_res, reference = stack[:, :1], stack[:, 1:]
        if self.in_plane:
            thick = torch.cat((self.through_plane.measured(low_res), self.through_plane.slices(reference)), dim=1)
            low_res = self.through_plane.interpolated(self.inferer(thick, network, *args, **kwargs)).clamp(min=0)
            stack = torch.cat((low_res, reference), dim=1)
        total = torch.zeros_like(low_res)
        for axis in (2, 3):
            turned = stack.movedim(axis, -1)
            total += self.inferer(turned, network, *args, **kwargs).movedim(-1, axis)
        averaged: Tensor = convert_to_dst_type(total / 2, inputs)[0]
        return averaged


def inferer_of(case: Case, inferer: Inferer) -> Inferer:
    """Return what runs a network over a case's volume, given what runs it over slices."""
    found = case.low_res
    if found is None or found.slices is None:
        return inferer
    return ReformatInferer(inferer, ThroughPlane(found.slices), found.is_coarse_in_plane)
