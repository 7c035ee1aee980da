# SPDX-License-Identifier: Apache-2.0
"""The output of the default weights does not depend on how it is computed, next to the error bars that they predict."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from bundle.engines import GeneratorLoader, TiledSliceInferer
from bundle.kspace import zero_fill
from bundle.networks import build
from bundle.phantom.scanner import simulate_subject
from bundle.settings import recorded
from bundle.trust import interval_factor
from bundle.volumes.intensity import tissue_threshold

SHARE = 0.1  # of the interval, the most that the way of computing may change
N_SLICES, SIZE = 2, 176  # of the phantom: slices, and pixels a side, more than go into one tile of 32 blocks of 2
WEIGHTS = Path(__file__).resolve().parents[2] / "models" / "model.pt"


class Computed(NamedTuple):
    """Output and half-width of the interval (1, 1, H, W, D), and where there is tissue."""

    output: Tensor
    interval: Tensor
    tissue: Tensor

    def shares(self, other: "Computed") -> Tensor:
        """Return differences of the output in tissue as shares of the interval."""
        return ((other.output - self.output).abs() / self.interval)[self.tissue]


class Weights:
    """Compute the same slices of the phantom in any way."""

    def __init__(self, path: Path, factor: float) -> None:
        self.network: Any = build(recorded(path).model).eval()
        GeneratorLoader(path, self.network).load()
        self.factor = factor
        volumes, _ = simulate_subject(1)
        sizes = zip(volumes["T2w"].shape, (SIZE, SIZE, N_SLICES), strict=True)
        part = tuple(slice((n - kept) // 2, (n - kept) // 2 + kept) for n, kept in sizes)
        target, reference = (torch.from_numpy(volumes[c][part] / volumes[c].max()).float() for c in ("T2w", "T1w"))
        low_res = zero_fill(target.movedim(-1, 0), 4).movedim(0, -1)
        self.image = torch.stack((low_res, reference))[None]  # 1, 2, H, W, D
        self.tissue = (target > tissue_threshold(target.numpy()))[None, None]

    def __call__(self, **settings: Any) -> Computed:
        """Return what an inferer of these settings computes."""
        inferer = TiledSliceInferer(**{"mixed_precision": False, "tile": None, "slices_per_batch": 1} | settings)
        output, scale = inferer(self.image, self.network.with_error_scale)
        return Computed(output, self.factor * scale, self.tissue)


@pytest.fixture(scope="module")
def weights() -> Weights:
    """Return the default weights, or skip where nobody has calibrated them."""
    factor = interval_factor(recorded(WEIGHTS))
    if factor is None:
        pytest.skip("the record of models/model.pt has no interval to compare with")
    return Weights(WEIGHTS, factor)


@pytest.fixture(scope="module")
def usual(weights: Weights) -> Computed:
    """Whole slices, one by one, in float32."""
    return weights()


@pytest.fixture
def threads() -> Iterator[None]:
    """Restore the number of threads."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("settings", [{"slices_per_batch": N_SLICES}, {"tile": 32}], ids=["a batch of many", "tiles"])
def test_output_is_the_same_in_batches_and_in_tiles(weights: Weights, usual: Computed, settings) -> None:
    assert usual.shares(weights(**settings)).max() <= SHARE


def test_output_is_the_same_on_one_and_on_two_threads(weights: Weights, threads) -> None:
    computed = []
    for count in (1, 2):
        torch.set_num_threads(count)
        computed.append(weights())
    assert computed[0].shares(computed[1]).max() <= SHARE


def test_bfloat16_changes_at_most_a_tenth_of_the_interval_in_99_of_100_voxels(weights: Weights, usual) -> None:
    shares = usual.shares(weights(mixed_precision=True))
    assert shares.quantile(0.99) <= SHARE
