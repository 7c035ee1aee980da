# SPDX-License-Identifier: Apache-2.0
"""A network by its name and settings, as configs and training records give them."""

import inspect
from collections.abc import Mapping
from typing import Any, Final

from torch import nn

from bundle.errors import InputError
from bundle.networks.consistency import DataConsistency
from bundle.networks.fast import FastGenerator
from bundle.networks.generator import Generator
from bundle.networks.single_contrast import SingleContrastResidual
from bundle.networks.zeng import ZengCascade

ARCHITECTURES: Final[Mapping[str, type[nn.Module]]] = {
    cls.__name__: cls for cls in (Generator, FastGenerator, SingleContrastResidual, ZengCascade)
}
"""The trainable networks by name: a training record may choose among these and nothing else."""
BUILT_IN: Final = frozenset({"fusion", "residual"})
"""Settings of the paper's generator that the others have decided."""


def build(architecture: str = "Generator", size: Mapping[str, int] | None = None, **settings: Any) -> nn.Module:
    """Return a new network.

    Args:
        architecture: a name in ``ARCHITECTURES``.
        size: arguments that only this architecture has, such as ``n_features`` and ``n_blocks``.
        settings: arguments of :class:`bundle.networks.Generator`. Other networks take those they have.

    Raises:
        InputError: if there is no such architecture, ``size`` names what it does not have, or a setting asks for what
            it does not do.
    """
    if architecture not in ARCHITECTURES:
        raise InputError(
            f"architecture is {architecture!r}; choose one of {', '.join(ARCHITECTURES)}, or give a network of your "
            "own as network_def."
        )
    network = ARCHITECTURES[architecture]
    known = set(inspect.signature(network).parameters)
    usual = inspect.signature(Generator).parameters
    own = sorted(known - usual.keys())
    if unknown := sorted((size or {}).keys() - own):
        raise InputError(f"{architecture} has no {', '.join(unknown)}; its sizes are {', '.join(own) or 'fixed'}.")
    for key, value in settings.items():
        if key not in known and key not in BUILT_IN and value != usual[key].default:
            raise InputError(f"{architecture} has no {key}; leave it at {usual[key].default}.")
    return network(**{key: value for key, value in settings.items() if key in known}, **(size or {}))


def from_record(record: Mapping[str, Any]) -> nn.Module:
    """Return a new network as a training record describes it; what the record does not tell is as usual."""
    names = ("fusion", "levels", "residual", "bias", "share_levels")
    settings = {name: record[name] for name in names if name in record}
    if record.get("consistency_layer"):
        settings["consistency"] = DataConsistency(record["factor"], record.get("magnitude", True))
    return build(record.get("architecture", Generator.__name__), record.get("size"), **settings)
