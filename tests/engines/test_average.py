# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from torch import nn

from bundle.engines import WeightAverage
from bundle.errors import InputError


def with_weight(value: float) -> nn.Module:
    network = nn.Linear(1, 1, bias=False)
    nn.init.constant_(network.weight, value)
    return network


def averaged(average: WeightAverage, network: nn.Module, values: list[float]) -> float:
    for value in values:
        nn.init.constant_(network.weight, value)
        average.update()
    return average.network.weight.item()


def test_the_average_is_the_stated_recursion() -> None:
    network = with_weight(7.0)
    average = WeightAverage(network, 0.2)
    assert averaged(average, network, [1.0]) == 1.0  # where it started is forgotten
    assert averaged(average, network, [2.0]) == pytest.approx(2 / 11 * 1 + 9 / 11 * 2)
    assert averaged(average, network, [2.0] * 50 + [3.0]) == pytest.approx(0.2 * 2 + 0.8 * 3)
    assert network.weight.item() == 3.0


def test_a_restored_average_goes_on_as_the_stored_one() -> None:
    network, other = with_weight(1.0), with_weight(5.0)
    first, second = WeightAverage(network, 0.999), WeightAverage(other, 0.999)
    averaged(first, network, [1.0, 4.0])
    second.load_state_dict({name: value.clone() for name, value in first.state_dict().items()})
    assert averaged(first, network, [2.0, 3.0]) == averaged(second, other, [2.0, 3.0])


@pytest.mark.parametrize("decay", [1.0, -0.1, float("nan")])
def test_a_decay_that_averages_nothing_is_refused(decay: float) -> None:
    with pytest.raises(InputError, match="weight_average is"):
        WeightAverage(with_weight(1.0), decay)


def test_the_trained_weights_are_not_the_average_s() -> None:
    network = with_weight(1.0)
    average = WeightAverage(network, 0.9)
    with torch.no_grad():
        average.network.weight.fill_(9.0)
    assert network.weight.item() == 1.0
