# SPDX-License-Identifier: Apache-2.0
import torch
from torch import Tensor

from bundle.acquisition import SliceAxis, ThroughPlane
from bundle.engines import ReformatInferer, TiledSliceInferer

KNOWN = ThroughPlane(SliceAxis(24, 4, 4, 1.5))
SLICES = TiledSliceInferer(tile=None, mixed_precision=False)


def volume() -> Tensor:
    stack = torch.rand(1, 2, 18, 20, 24, generator=torch.Generator().manual_seed(0))
    stack[:, :1] = KNOWN.interpolated(KNOWN.slices(stack[:, :1]))
    return stack


def last_axis_difference(image: Tensor) -> Tensor:
    """Return what a network could that looks along both axes of a slice (N, 2, H, W)."""
    return image[:, :1] + 0.1 * image[:, 1:].diff(dim=-1, prepend=image[:, 1:, :, :1])


def test_a_network_sees_both_reformats_across_the_slices() -> None:
    seen: list[tuple[int, ...]] = []

    def network(image: Tensor) -> Tensor:
        seen.append(tuple(image.shape[2:]))
        return image[:, :1]

    inputs = volume()
    found = ReformatInferer(SLICES, KNOWN)(inputs, network)
    assert set(seen) == {(20, 24), (18, 24)}
    torch.testing.assert_close(found, inputs[:, :1])


def test_the_output_is_the_mean_of_the_reformats() -> None:
    inputs = volume()
    found = ReformatInferer(SLICES, KNOWN)(inputs, last_axis_difference)
    guide = inputs[:, 1:]
    torch.testing.assert_close(found, inputs[:, :1] + 0.1 * guide.diff(dim=-1, prepend=guide[..., :1]))


def test_coarse_slices_are_sharpened_as_they_came_first() -> None:
    """With the mean of the reference over the thickness of each; the reformats then start from these."""
    inputs, shapes = volume(), []

    def network(image: Tensor) -> Tensor:
        shapes.append(tuple(image.shape[2:]))
        if image.shape[2:] != (18, 20):
            return image[:, :1]
        return image[:, 1:]  # the reference takes the place of the target

    found = ReformatInferer(SLICES, KNOWN, in_plane=True)(inputs, network)
    assert shapes[0] == (18, 20)
    torch.testing.assert_close(found, KNOWN.interpolated(KNOWN.slices(inputs[:, 1:])).clamp(min=0))


def test_the_scale_of_errors_is_the_mean_of_those_of_the_reformats() -> None:
    inputs = volume()

    def network(image: Tensor) -> tuple[Tensor, Tensor]:
        return image[:, :1], image[:, 1:] * (2.0 if image.shape[2] == 20 else 1.0)

    for in_plane in (False, True):
        output, scale = ReformatInferer(SLICES, KNOWN, in_plane)(inputs, network)
        torch.testing.assert_close(scale, 1.5 * inputs[:, 1:])
        assert output.shape == scale.shape
