# SPDX-License-Identifier: Apache-2.0
"""How much of an output comes from the reference."""

import torch
from torch import Tensor

from bundle.trust.spread import Finish, Predict


def reference_influence(
    image: Tensor, predict: Predict, finish: Finish = Tensor.float, plain: Tensor | None = None, mirror_axis: int = -2
) -> dict[str, float]:
    """Return how much the output changes when the reference is replaced, relative to what the network does.

    RMS(output - output with the replaced reference) / RMS(output - low-res): 0 where the reference is ignored, or the
    network changes nothing. At a share of 1 the reference decides as much as the network changes in all.

    Arguments are those of :func:`bundle.trust.predictive_spread`, and the axis, -1 or -2, that runs from left to right.
    Returns the share for a reference that is ``removed`` (zeros in its place) and for one that is ``mirrored``.
    """
    low_res, reference = image[:, :1], image[:, 1:]
    own = finish(predict(image) if plain is None else plain.clone())
    change = _norm(own - low_res.to(own.device))
    replaced = {"removed": torch.zeros_like(reference), "mirrored": reference.flip(mirror_axis)}
    outputs = {name: finish(predict(torch.cat((low_res, other), dim=1))) for name, other in replaced.items()}
    return {name: _norm(own - output) / change if change else 0.0 for name, output in outputs.items()}


def _norm(image: Tensor) -> float:
    return float(torch.linalg.vector_norm(image.double()))
