# SPDX-License-Identifier: Apache-2.0
"""Scores inside the head: air around it is easy to get right, and flatters scores of whole slices."""

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage

from bundle.metrics.image_pair import as_image_pair
from bundle.metrics.ssim import WINDOW, similarity
from bundle.volumes.intensity import tissue_threshold

_CLOSING = 7  # pixels a side of the square that closes gaps of the outline
_SMALLEST = 0.05  # of a slice's largest piece; what is smaller is no part of the head

Mask = npt.NDArray[np.bool_]


def head_mask(high_res: torch.Tensor) -> torch.Tensor:
    """Return where the head is: all that lies within the outline of tissue, slice by slice.

    Tissue is what :func:`bundle.volumes.intensity.tissue_threshold` finds in all slices together. It is closed with a
    square of 7 pixels, holes (bone, sinuses, dark fluid) are filled, and pieces under a twentieth of the slice's
    largest are left out. Give all slices of a volume at once: the threshold is the volume's. The mask comes from the
    ground truth alone, so that all images compared with it share it.

    Args:
        high_res: the ground truth, Tensor (N, 1, H, W) in [0, 1].

    Returns:
        Tensor (N, 1, H, W), bool, on the same device; without a pixel where a slice holds no tissue.
    """
    slices = high_res.detach().as_subclass(torch.Tensor)[:, 0].numpy(force=True)
    tissue = slices > tissue_threshold(slices)
    closed = ndimage.grey_closing(tissue.view(np.uint8), size=(1, _CLOSING, _CLOSING)).astype(bool)
    head = np.stack([_large_pieces(ndimage.binary_fill_holes(slice_)) for slice_ in closed])
    return torch.from_numpy(head)[:, None].to(high_res.device)


def psnr_head(reference: torch.Tensor, distorted: torch.Tensor, head: torch.Tensor | None = None) -> torch.Tensor:
    """Return the peak signal-to-noise ratio inside the head in dB.

    As :func:`bundle.metrics.psnr` with peak 1, but the MSE is over the pixels of the head. Where all of the
    error is in the head, the whole slice scores higher by 10 log10(pixels / pixels of the head).

    Args:
        reference: the ground truth, Tensor (N, 1, H, W) in [0, 1].
        distorted: the image to judge, Tensor (N, 1, H, W) on the same scale.
        head: the head, bool Tensor (N, 1, H, W); by default :func:`head_mask` of the reference.

    Returns:
        Tensor (N,), float64; infinite where the two agree within the head, NaN where there is no head.

    Raises:
        ValueError: if the shapes differ or are not (N, 1, H, W).
    """
    first, second = as_image_pair(reference, distorted)
    return -10.0 * torch.log10(_mean_inside((first - second).square(), _head_of(first, head)))


def ssim_head(reference: torch.Tensor, distorted: torch.Tensor, head: torch.Tensor | None = None) -> torch.Tensor:
    """Return the structural similarity inside the head.

    The mean of the local values of :func:`bundle.metrics.ssim` over the windows whose centre lies in the head; those
    at its edge reach up to 3 pixels into the air. Centres closer than that to the slice's own edge have no window.

    Args:
        reference: the ground truth, Tensor (N, 1, H, W) in [0, 1]; H, W >= 7.
        distorted: the image to judge, Tensor (N, 1, H, W) on the same scale.
        head: the head, bool Tensor (N, 1, H, W); by default :func:`head_mask` of the reference.

    Returns:
        Tensor (N,), float64, in [-1, 1]; 1 where the two are identical, NaN where there is no head.

    Raises:
        ValueError: if the shapes differ, are not (N, 1, H, W), or a side is shorter than the window.
    """
    first, second = as_image_pair(reference, distorted)
    edge = WINDOW // 2
    centres = _head_of(first, head)[:, 0, edge:-edge, edge:-edge]
    pairs = zip(similarity(first, second), centres, strict=True)
    return torch.cat([_mean_inside(local[None], inside[None]) for local, inside in pairs])


def _large_pieces(mask: Mask) -> Mask:
    """Return a slice's mask (H, W) without its small pieces."""
    pieces, _ = ndimage.label(mask)
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0  # what is not in the mask
    return np.asarray(mask & (sizes >= _SMALLEST * sizes.max())[pieces])


def _head_of(reference: torch.Tensor, head: torch.Tensor | None) -> torch.Tensor:
    if head is None:
        return head_mask(reference)
    if head.shape != reference.shape or head.dtype != torch.bool:
        raise ValueError(
            f"the head is {head.dtype} of shape {tuple(head.shape)} for slices {tuple(reference.shape)}; "
            "pass what head_mask returns for them."
        )
    return head.as_subclass(torch.Tensor)


def _mean_inside(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the mean over the mask of each slice, Tensor (N,); what lies outside has no part, NaN neither."""
    kept = torch.where(mask, values, 0)
    return kept.flatten(1).sum(dim=1) / mask.flatten(1).sum(dim=1)
