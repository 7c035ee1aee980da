# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from bundle.networks import Critic


def test_critic_has_the_parameters_that_its_layers_add_up_to() -> None:
    layers = [(1, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256)]
    convolutions = sum(9 * n_in * n_out + n_out for n_in, n_out in layers)
    linear = (256 * 8 * 8 * 128 + 128) + (128 + 1)
    assert sum(parameter.numel() for parameter in Critic(64).parameters()) == convolutions + linear == 3_241_665


def test_half_of_the_width_has_half_of_the_filters() -> None:
    convolutions = sum(
        (9 * n_in + 1) * n_out for n_in, n_out in ((1, 32), (32, 32), (32, 64), (64, 64), (64, 128), (128, 128))
    )
    linear = (128 * 8 * 8 + 1) * 128 + 129
    assert sum(parameter.numel() for parameter in Critic(64, width=0.5).parameters()) == convolutions + linear


def test_critic_gives_one_score_a_patch_of_either_sign() -> None:
    torch.manual_seed(0)
    critic = Critic(32)
    scores = torch.cat([critic(scale * torch.randn(8, 1, 32, 32)) for scale in (1, 30)])
    assert scores.shape == (16,)
    torch.nn.init.constant_(critic.score.bias, -100)
    assert (critic(torch.rand(2, 1, 32, 32)) < 0).all()  # no activation on the score


@pytest.mark.parametrize("patch_size", [0, 16, 63, 100])
def test_critic_refuses_a_patch_that_it_cannot_halve_three_times(patch_size) -> None:
    with pytest.raises(ValueError, match="multiple of 8"):
        Critic(patch_size)
