# SPDX-License-Identifier: Apache-2.0
"""Time one training iteration, split into data, critic and generator, against what the machine can do.

    python benchmarks/training_step.py             # the sizes of configs/variants/quick.yaml
    python benchmarks/training_step.py --paper     # batch 32, 4 critic updates: half a minute an iteration on 2 cores

Floating-point operations are counted by torch as the iteration runs; the yardstick is a large matrix product in the
same precision. Slices are random numbers: the time does not depend on what they show.
"""

import argparse
import contextlib
import resource
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import torch
import yaml
from monai.inferers import SimpleInferer
from torch.utils.flop_counter import FlopCounterMode

from bundle.data import PatchStream
from bundle.engines import CriticUpdate, GeneratorUpdate, TrainingStep, supports_bfloat16
from bundle.losses import generator_loss
from bundle.networks import Critic, Generator, VGG16Features
from bundle.settings import PAPER_WEIGHTS

ROOT = Path(__file__).resolve().parents[1]
WEIGHTS = ROOT / "models" / "vgg16_imagenet_conv1_1-conv4_3_fp16.npz"


class WholeCount(FlopCounterMode):
    """Count operations without telling modules apart: torch's way of telling them fails in a gradient penalty."""

    class _NoModules(contextlib.nullcontext[None]):
        parents: ClassVar = {"Global"}

    def __init__(self) -> None:
        super().__init__(display=False)
        self.mod_tracker = self._NoModules()  # type: ignore[assignment]


class Clock:
    """Add up the seconds that wrapped functions take, nested ones counted once."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._running: list[str] = []

    def now(self) -> float:
        """Return the time once the device has done all its work."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def wrap(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function, its time booked under ``name`` and taken off the caller's account."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            start = self.now()
            self._running.append(name)
            result = function(*args, **kwargs)
            self._running.pop()
            taken = self.now() - start
            self.seconds[name] += taken
            if self._running:
                self.seconds[self._running[-1]] -= taken
            return result

        return timed


def training_step(batch_size: int, n_critic: int, device: torch.device) -> tuple[TrainingStep, PatchStream]:
    """Return the step of train.yaml on random slices, and the generator's stream."""
    slices: Any = SimpleNamespace(
        voxels=torch.rand(64, 3, 256, 256, dtype=torch.float16, device=device), sizes=torch.full((64, 2), 256)
    )
    generator, critic = Generator().to(device), Critic().to(device)
    loss = generator_loss(PAPER_WEIGHTS, features=VGG16Features(WEIGHTS).to(device))
    stream = PatchStream(slices, batch_size=batch_size)
    step = TrainingStep(
        GeneratorUpdate(generator, torch.optim.Adam(generator.parameters(), 2e-5), loss, SimpleInferer()),
        CriticUpdate(critic, torch.optim.Adam(critic.parameters(), 2e-5), stream.of_seed(1), n_critic),
    )
    return step, stream


def matrix_product_rate(
    device: torch.device, size: int, dtype: torch.dtype | None = None, now: Callable[[], float] | None = None
) -> float:
    """Return the FLOP/s of a large matrix product, by default by the clock and in the precision of training."""
    if dtype is None:
        dtype = torch.bfloat16 if supports_bfloat16(device) else torch.float32
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    now = now or Clock(device).now
    best = float("inf")
    for _ in range(5):
        start = now()
        a @ b
        best = min(best, now() - start)
    return 2 * size**3 / best


def main() -> None:
    """Measure and print."""
    quick = yaml.safe_load((ROOT / "configs" / "variants" / "quick.yaml").read_text())
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--paper", action="store_true", help="the paper's batch of 32 and 4 critic updates")
    parser.add_argument("--iterations", type=int, default=5, help="timed iterations, after one that is not")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    batch_size, n_critic = (32, 4) if arguments.paper else (quick["recipe::batch_size"], quick["recipe::n_critic"])

    step, batches = training_step(batch_size, n_critic, device)
    engine: Any = SimpleNamespace(state=SimpleNamespace(iteration=2))
    with WholeCount() as counter:  # also the warm-up
        step(engine, batches.next_batch())
    flop = counter.get_total_flops()

    clock = Clock(device)
    for kind, name, account in (
        (PatchStream, "next_batch", "data"),
        (CriticUpdate, "__call__", "critic, with the fakes it needs"),
        (GeneratorUpdate, "__call__", "generator"),
    ):
        setattr(kind, name, clock.wrap(account, getattr(kind, name)))
    start = clock.now()
    for _ in range(arguments.iterations):
        step(engine, batches.next_batch())
    seconds = (clock.now() - start) / arguments.iterations
    report(device, flop, seconds, {name: total / arguments.iterations for name, total in clock.seconds.items()})


def report(device: torch.device, flop: int, seconds: float, parts: dict[str, float]) -> None:
    """Print the split, the rate and the memory."""
    peak = matrix_product_rate(device, 8192 if device.type == "cuda" else 4096)
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"{torch.get_num_threads()} CPU threads"
    print(f"{name}, {'bfloat16' if supports_bfloat16(device) else 'float32'}, torch {torch.__version__}")
    print(f"one iteration: {seconds:.3f} s, {flop / 1e12:.2f} TFLOP")
    for part, taken in parts.items():
        print(f"  {part}: {taken:.3f} s ({100 * taken / seconds:.1f} %)")
    print(f"rate: {flop / seconds / 1e12:.3f} TFLOP/s, {100 * flop / seconds / peak:.0f} % of a large matrix product")
    print(f"      ({peak / 1e12:.3f} TFLOP/s)")
    if device.type == "cuda":
        print(f"peak GPU memory: {torch.cuda.max_memory_allocated() / 2**30:.2f} GiB")
    print(f"peak memory of the process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


if __name__ == "__main__":
    main()
