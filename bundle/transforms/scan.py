# SPDX-License-Identifier: Apache-2.0
"""What a scanner adds to a noise-free simulation."""

import hashlib
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from bundle.data.scan import bias_field, rician
from bundle.errors import InputError
from bundle.keys import CASE, IMAGE, REFERENCE


class SimulateScand(MapTransform):
    """Give noise-free simulated volumes a receive field and Rician noise, the same at every reading of a case.

    Each contrast has a field and noise of its own, as if scanned one after the other.

    Args:
        noise: standard deviation in each channel of the receiver, relative to the volume's maximum, at least 0.
        bias: amplitude of the receive field about 1, in [0, 1).
        keys: MetaTensors (1, X, Y, Z), magnitudes.

    Raises:
        InputError: if ``noise`` or ``bias`` is out of range.
    """

    def __init__(self, noise: float, bias: float, keys: KeysCollection = (IMAGE, REFERENCE)) -> None:
        super().__init__(keys)
        if not noise >= 0 or not 0 <= bias < 1:
            raise InputError(f"noise is {noise} and bias_field {bias}; give noise of 0 or more and a field below 1.")
        self.noise = noise
        self.bias = bias

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the item with both contrasts as scanned."""
        item = dict(data)
        for key in self.keys:
            digest = hashlib.sha256(f"{item[CASE]}:{key}".encode()).digest()
            generator = np.random.default_rng(int.from_bytes(digest[:8], "little"))
            volume = item[key].numpy(force=True)[0]
            sigma = self.noise * float(volume.max())
            scanned = rician(volume * bias_field(volume.shape, self.bias, generator), sigma, generator)
            item[key] = MetaTensor(torch.from_numpy(scanned)[None], meta=item[key].meta)
        return item
