# SPDX-License-Identifier: Apache-2.0
"""The network of a case: the guided one, or another for cases whose reference cannot be used."""

from pathlib import Path
from typing import Literal

import torch
from torch import nn

from bundle.case import Case
from bundle.engines.weights import GeneratorLoader, in_words
from bundle.errors import InputError
from bundle.networks import SingleContrastResidual, build
from bundle.settings import IMAGES, ModelSettings, differing, recorded


class CaseNetwork:
    """Choose the network for a case: the one that takes no reference where the reference is of no use.

    That network is built and loaded by the training record beside its own weights. ``InputError`` if it is needed and
    not given, or needs a reference, or is for other low-res images than ``model``.
    """

    def __init__(
        self,
        network: nn.Module,
        model: ModelSettings,
        device: torch.device | str = "cpu",
        on_bad_reference: Literal["skip", "single_contrast"] = "skip",
        single_contrast_path: str | Path | None = None,
    ) -> None:
        if on_bad_reference not in ("skip", "single_contrast"):
            raise InputError(f"on_bad_reference is {on_bad_reference!r}; choose skip or single_contrast.")
        self.network = self.single_contrast = network
        if on_bad_reference == "single_contrast":
            self.single_contrast = _single_contrast(single_contrast_path, model).to(device)

    def __call__(self, case: Case) -> nn.Module:
        """Return the network for a case, in evaluation mode."""
        is_usable = case.registration is None or case.registration.usable
        return (self.network if is_usable else self.single_contrast).eval()


def _single_contrast(path: str | Path | None, model: ModelSettings) -> nn.Module:
    if path is None:
        raise InputError(
            "on_bad_reference is single_contrast, and there are no weights for it: give --single_contrast_path FILE, "
            "weights trained with --fusion none, or set on_bad_reference to skip."
        )
    own = recorded(path).model
    network = build(own)
    if not (isinstance(network, SingleContrastResidual) or getattr(network, "fusion", None) == "none"):
        raise InputError(
            f"{path}: these weights need a reference; give weights of a network without, trained with --fusion none "
            "or with configs/variants/single_contrast.yaml, as --single_contrast_path."
        )
    if found := differing(own, model, IMAGES):
        raise InputError(
            f"{path}: these weights were trained with {in_words(found)}; give others as --single_contrast_path."
        )
    GeneratorLoader(path, network).load()
    return network
