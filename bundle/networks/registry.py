# SPDX-License-Identifier: Apache-2.0
"""The trainable networks by name: a training record may choose among these and nothing else."""

from typing import Final, TypeVar

from torch import nn

Network = TypeVar("Network", bound=type[nn.Module])

ARCHITECTURES: Final[dict[str, type[nn.Module]]] = {}
"""Every class of this package that :func:`architecture` marks, by its name."""


def architecture(network: Network) -> Network:
    """Let configs and training records choose a class by its name."""
    ARCHITECTURES[network.__name__] = network
    return network
