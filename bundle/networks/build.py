# SPDX-License-Identifier: Apache-2.0
"""A network by its settings, as configs and training records give them."""

import importlib
import inspect
import pkgutil
from pathlib import Path
from typing import Final

from torch import nn

from bundle.errors import InputError
from bundle.networks.consistency_layer import DataConsistency
from bundle.networks.generator import Generator
from bundle.networks.registry import ARCHITECTURES
from bundle.settings import ModelSettings

for _module in pkgutil.iter_modules([str(Path(__file__).parent)]):
    importlib.import_module(f"{__package__}.{_module.name}")  # each marks its architectures
BUILT_IN: Final = frozenset({"fusion", "residual"})
"""Settings of the paper's generator that the others have decided."""


def build(model: ModelSettings) -> nn.Module:
    """Return a new network.

    Args:
        model: what it is; of its settings a network takes those it has.

    Raises:
        InputError: if there is no such architecture, ``size`` names what it does not have, or a setting asks for what
            it does not do.
    """
    if model.architecture not in ARCHITECTURES:
        raise InputError(
            f"architecture is {model.architecture!r}; choose one of {', '.join(ARCHITECTURES)}, or give a network of "
            "your own as network_def."
        )
    network = ARCHITECTURES[model.architecture]
    known = set(inspect.signature(network).parameters)
    own = sorted(known - inspect.signature(Generator).parameters.keys())
    if unknown := sorted(model.size.keys() - own):
        raise InputError(
            f"{model.architecture} has no {', '.join(unknown)}; its sizes are {', '.join(own) or 'fixed'}."
        )
    settings = {
        name: getattr(model, name) for name in ("fusion", "levels", "residual", "bias", "share_levels", "width")
    }
    for name, value in settings.items():
        usual = getattr(ModelSettings, name)
        if name not in known and name not in BUILT_IN and value != usual:
            raise InputError(f"{model.architecture} has no {name}; leave it at {usual}.")
    settings["consistency"] = DataConsistency(model.factor, model.magnitude) if model.consistency_layer else None
    if settings["consistency"] and "consistency" not in known:
        raise InputError(f"{model.architecture} has no consistency_layer; leave it at False.")
    return network(**{name: value for name, value in settings.items() if name in known}, **model.size)
