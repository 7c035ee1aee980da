# SPDX-License-Identifier: Apache-2.0
"""One case from its files to its output, and what each part of it takes."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from bundle.case import Case
from bundle.engines.reformat import inferer_of
from bundle.keys import CASE, ERROR_SCALE, IMAGE, PRED


@dataclass(eq=False)
class Pipeline:
    """Run one case: preprocessing, network, postprocessing."""

    load: Callable[[Any], Any]  # reads a pair of paths, or raises an InputError; passes what it has read
    preprocessing: Callable[[Any], Any]  # from there, or from paths, to the network's input (2, H, W, D) under "image"
    inferer: Callable[..., Any]  # runs a network over a volume, such as bundle.engines.TiledSliceInferer
    network: Any  # a module
    postprocessing: Callable[[Any], Any]  # from the network's output under "pred" to files
    device: torch.device | str = "cpu"  # of the network

    def read(self, pair: dict[str, str]) -> dict[Any, Any]:
        """Return a pair of paths as an item with its volumes, and a new case that knows what was found of them."""
        case = Case(pair[CASE])
        with _timed(case, "prepare"):
            return dict(self.load({**pair, CASE: case}))

    def prepare(self, item: dict[Any, Any]) -> dict[Any, Any]:
        """Return the network's input of a case, as :meth:`read` returns it, whose volumes leave the item."""
        with _timed(item[CASE], "prepare"):
            return dict(self.preprocessing({key: item.pop(key) for key in list(item)}))

    def run(self, prepared: dict[Any, Any]) -> None:
        """Do one case, as :meth:`prepare` returns it; it learns what is found."""
        case: Case = prepared[CASE]
        with _timed(case, "network"):
            inferer, network = inferer_of(case, self.inferer), self.network.eval()
            image = prepared[IMAGE][None].to(self.device)
            if getattr(network, "error_scale", None) is None:
                prepared[PRED] = inferer(image, network)[0]
            else:
                prepared[PRED], prepared[ERROR_SCALE] = (
                    volumes[0] for volumes in inferer(image, network.with_error_scale)
                )
        with _timed(case, "finish"):
            self.postprocessing(prepared)

    def seconds_per_pixel(self) -> float:
        """Return what a pixel of a slice takes, timed on a small piece: an upper limit, as larger ones fare better."""
        image, network = torch.rand(1, 2, 128, 128, 1, device=self.device), self.network.eval()
        self.inferer(image, network)  # the first time takes longer
        start = time.perf_counter()
        self.inferer(image, network)
        if image.is_cuda:
            torch.cuda.synchronize(self.device)
        return (time.perf_counter() - start) / image[0, 0].numel()


@contextlib.contextmanager
def _timed(case: Case, part: str) -> Iterator[None]:
    start = time.monotonic()
    yield
    case.seconds[part] = case.seconds.get(part, 0.0) + time.monotonic() - start
