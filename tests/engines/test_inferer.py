# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from bundle.engines import SliceInferer


@pytest.mark.parametrize("slices_per_batch", [1, 2, 7])
@pytest.mark.parametrize("shape", [(17, 17, 1), (20, 23, 5)])
def test_slice_inferer_equals_a_loop_over_slices(shape, slices_per_batch) -> None:
    torch.manual_seed(0)
    network = nn.Conv2d(2, 1, 3, padding=1)
    volume = torch.rand(1, 2, *shape)
    inferer = SliceInferer(slices_per_batch, mixed_precision=False)
    with torch.no_grad():
        expected = torch.stack([network(volume[..., i]) for i in range(shape[-1])], dim=-1)
    assert_close(inferer(volume, network), expected)


def test_slice_inferer_never_gives_the_network_more_slices_than_asked_for() -> None:
    seen = []

    def network(slices: torch.Tensor) -> torch.Tensor:
        seen.append(len(slices))
        return slices[:, :1]

    SliceInferer(2, mixed_precision=False)(torch.rand(1, 2, 18, 18, 5), network)
    assert sum(seen) == 5
    assert max(seen) == 2


def test_slice_inferer_returns_float32_that_outlives_inference_mode() -> None:
    output = SliceInferer(mixed_precision=True)(torch.rand(1, 2, 18, 18, 2), nn.Conv2d(2, 1, 3, padding=1))
    assert output.dtype == torch.float32
    assert not output.requires_grad
    assert not output.is_inference()


def test_slice_inferer_returns_every_level_of_a_network_that_has_several() -> None:
    volume = torch.rand(1, 2, 18, 19, 5)

    def levels(slices: torch.Tensor) -> list[torch.Tensor]:
        return [slices[:, :1], 2 * slices[:, 1:]]

    first, second = SliceInferer(2, mixed_precision=False)(volume, levels)
    assert_close(first, volume[:, :1])
    assert_close(second, 2 * volume[:, 1:])
