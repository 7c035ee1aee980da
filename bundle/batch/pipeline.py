# SPDX-License-Identifier: Apache-2.0
"""One case from its files to its output, and what each part of it takes."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from bundle.engines import GeneratorLoader, check_weights
from bundle.errors import InputError
from bundle.keys import IMAGE, PRED
from bundle.networks import SingleContrastResidual, from_record
from bundle.records import CaseRecord


class Pipeline:
    """Run one case: preprocessing, network, postprocessing.

    Args:
        preprocessing: from a pair of paths to the network's input (2, H, W, D) under ``image``.
        inferer: runs a network over a volume, such as :class:`bundle.engines.SliceInferer`.
        network: the network.
        postprocessing: from the network's output under ``pred`` to files.
        device: where the network is.
        fallback: network for cases whose reference cannot be used, see :func:`single_contrast_network`.
    """

    def __init__(
        self,
        preprocessing: Callable[[Any], Any],
        inferer: Callable[..., Any],
        network: nn.Module,
        postprocessing: Callable[[Any], Any],
        device: torch.device | str = "cpu",
        fallback: nn.Module | None = None,
    ) -> None:
        self.preprocessing = preprocessing
        self.inferer = inferer
        self.network = network
        self.postprocessing = postprocessing
        self.device = torch.device(device)
        self.fallback = fallback

    def run(self, pair: Mapping[str, Any], record: CaseRecord) -> None:
        """Do one case, and note how long it took under ``time``.

        Args:
            pair: of paths.
            record: where steps have noted what they found.
        """
        times = [time.monotonic()]
        item = self.preprocessing(dict(pair))
        times.append(time.monotonic())
        network = self.network_for(record).eval()
        item[PRED] = self.inferer(item[IMAGE][None].to(self.device), network)[0]
        times.append(time.monotonic())
        self.postprocessing(item)
        times.append(time.monotonic())
        parts = {
            f"{name}_seconds": round(end - start, 2)
            for name, start, end in zip(("prepare", "network", "finish"), times[:-1], times[1:], strict=True)
        }
        record.note("time", seconds=round(times[-1] - times[0], 2), **parts)

    def network_for(self, record: CaseRecord) -> nn.Module:
        """Return the network for a case: the one that takes no reference where the reference is of no use."""
        usable = record.facts.get("registration", {}).get("usable", True)
        return self.network if usable or self.fallback is None else self.fallback

    def seconds_per_pixel(self, size: int = 128) -> float:
        """Return what a pixel of a slice takes, timed on a small piece; an upper limit, since larger ones fare better.

        Args:
            size: rows and columns of the piece.
        """
        image = torch.rand(1, 2, size, size, 1, device=self.device)
        self.inferer(image, self.network.eval())  # the first time takes longer
        start = time.perf_counter()
        self.inferer(image, self.network)
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return (time.perf_counter() - start) / size**2


def single_contrast_network(
    path: str | Path | None,
    expected: Mapping[str, Any],
    device: torch.device | str,
    on_bad_reference: Literal["skip", "single_contrast"] = "single_contrast",
) -> nn.Module | None:
    """Return the network for cases without a usable reference, built and loaded by its own training record.

    Args:
        path: file of the weights.
        expected: what the main network's weights are expected to be trained with; the low-res image must be the same.
        device: where to put it.
        on_bad_reference: what to do with cases whose reference cannot be used; with ``skip``, nothing is loaded.

    Returns:
        The network; ``None`` where it is not needed.

    Raises:
        InputError: if it is needed and not given, or needs a reference, or was trained for other low-res images.
    """
    if on_bad_reference not in ("skip", "single_contrast"):
        raise InputError(f"on_bad_reference is {on_bad_reference!r}; choose skip or single_contrast.")
    if on_bad_reference == "skip":
        return None
    if path is None:
        raise InputError(
            "on_bad_reference is single_contrast, and there are no weights for it: give --single_contrast_path FILE, "
            "weights trained with --fusion none, or set on_bad_reference to skip."
        )
    shared = {key: expected.get(key) for key in ("factor", "magnitude", "normalise")}
    record = check_weights(path, shared)
    network = _network_of(record, path).to(device)
    GeneratorLoader(path, network, shared).load()
    return network


def _network_of(record: Mapping[str, Any], path: str | Path) -> nn.Module:
    """Build the network that a training record describes, which must do without a reference."""
    network = from_record(record)
    if not (isinstance(network, SingleContrastResidual) or getattr(network, "fusion", None) == "none"):
        raise InputError(
            f"{path}: these weights need a reference; give weights of a network without, trained with --fusion none "
            "or with configs/variants/single_contrast.yaml, as --single_contrast_path."
        )
    return network
