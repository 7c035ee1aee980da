# SPDX-License-Identifier: Apache-2.0
"""A few iterations of training as one of several processes; run by ``test_parallel.py``, alone or by torchrun.

    python tests/parallel_worker.py FOLDER

Writes the weights of generator and critic and the last losses to ``FOLDER/<rank>.pt``, for each of several networks.
"""

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from monai.inferers import SimpleInferer

from bundle import parallel
from bundle.data import PatchStream
from bundle.engines import CriticUpdate, GeneratorUpdate, TrainingStep
from bundle.losses import generator_loss
from bundle.networks import Critic, Generator

SIZE, BATCH, ITERATIONS, RATE = 24, 4, 4, 1e-3
NETWORKS: dict[str, dict[str, Any]] = {
    "one-level": {},
    "residual": {"residual": True, "bias": True},
    "single-contrast": {"fusion": "none"},
    "reference alone": {"fusion": "reference"},
    "PRO-C": {"levels": 2},
    "PRO-U": {"levels": 2},
    "shared": {"levels": 2, "share_levels": True},
}


def slices(n_channels: int) -> Any:
    """Return what ``SliceStack`` holds, of random numbers."""
    random = torch.Generator().manual_seed(1)
    voxels = torch.rand(6, n_channels, 40, 36, generator=random).half()
    return SimpleNamespace(voxels=voxels, sizes=torch.tensor([[40, 36]]).expand(6, 2))


def trained(name: str) -> dict[str, Any]:
    """Train a network for a few iterations, all processes from other weights than the first one's."""
    rank = int(os.environ.get("RANK", "0"))
    torch.manual_seed(rank)
    network, critic = Generator(**NETWORKS[name]), Critic(patch_size=SIZE)
    data = slices(4 if name in ("PRO-C", "shared") else 3)
    stream = PatchStream(data, SIZE, BATCH, gain_jitter=0.2)
    # plain descent: Adam turns the rounding of a gradient near zero into a whole step
    sgd = [torch.optim.SGD(module.parameters(), RATE) for module in (network, critic)]
    loss = generator_loss({"adversarial": 1.0, "mse": 1.0})
    step = TrainingStep(
        GeneratorUpdate(network, sgd[0], loss, SimpleInferer(), mixed_precision=False),
        CriticUpdate(critic, sgd[1], stream.of_seed(1), n_updates=2, mixed_precision=False),
        fidelity_iterations=1,
    )
    for iteration in range(1, ITERATIONS + 1):
        engine = SimpleNamespace(state=SimpleNamespace(iteration=iteration))
        losses = step(engine, stream.next_batch())
    return {"generator": network.state_dict(), "critic": critic.state_dict(), "losses": losses}


def main() -> None:
    """Train each network and write what became of it."""
    torch.set_num_threads(1)
    if "WORLD_SIZE" in os.environ:
        parallel.start()
    rank = int(os.environ.get("RANK", "0"))
    torch.save({name: trained(name) for name in NETWORKS}, Path(sys.argv[1]) / f"{rank}.pt")
    parallel.stop()


if __name__ == "__main__":
    main()
