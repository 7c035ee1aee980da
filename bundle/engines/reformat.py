# SPDX-License-Identifier: Apache-2.0
"""Thick slices through the network: sideways, as coronal and sagittal reformats of a transversal volume."""

from collections.abc import Callable, Sequence
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

    def __call__(self, inputs: Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Return super-res volumes (N, 1, H, W, D), float32, for ``inputs`` (N, 2, H, W, D), fine.

        Of a ``network`` that returns the scale of errors too, a tuple of both: the mean of two scales, since the mean
        of two outputs errs by no more.
        """
        stack = inputs.as_tensor() if isinstance(inputs, MetaTensor) else inputs
        low_res, reference = stack[:, :1], stack[:, 1:]
        if self.in_plane:
            thick = torch.cat((self.through_plane.measured(low_res), self.through_plane.slices(reference)), dim=1)
            (sharp, *_), _ = _images(self.inferer(thick, network, *args, **kwargs))
            low_res = self.through_plane.interpolated(sharp).clamp(min=0)
            stack = torch.cat((low_res, reference), dim=1)
        sums: list[Tensor] = []
        for axis in (2, 3):
            images, is_one = _images(self.inferer(stack.movedim(axis, -1), network, *args, **kwargs))
            turned = [image.movedim(-1, axis) for image in images]
            sums = [total.add_(image) for total, image in zip(sums, turned, strict=True)] if sums else turned
        means = tuple(convert_to_dst_type(total.div_(2), inputs)[0] for total in sums)
        return means[0] if is_one else means


def _images(result: Any) -> tuple[Sequence[Tensor], bool]:
    """Return what a network gave as images, and whether it was one alone."""
    return ((result,), True) if isinstance(result, Tensor) else (result, False)


def inferer_of(case: Case, inferer: Inferer) -> Inferer:
    """Return what runs a network over a case's volume, given what runs it over slices."""
    found = case.low_res
    if found is None or found.slices is None:
        return inferer
    return ReformatInferer(inferer, ThroughPlane(found.slices), found.is_coarse_in_plane)
