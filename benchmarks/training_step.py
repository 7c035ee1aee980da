# SPDX-License-Identifier: Apache-2.0
"""Time one training iteration, split into generator, VGG and critic, against what the machine can do.

    python benchmarks/training_step.py medium      # the sizes of configs/scales/medium.yaml
    python benchmarks/training_step.py quick       # of configs/variants/quick.yaml
    python benchmarks/training_step.py paper       # batch 32, 4 critic updates: half a minute an iteration on 2 cores

What VGG costs is the difference of iterations with perceptual and texture loss and without, what the critic costs the
difference of iterations with all losses and without the adversarial. Floating-point operations are counted by torch as
the iteration runs; the yardsticks are large matrix products, in the precision of the networks and, for the gradient
penalty, in float32. Slices are random numbers: the time does not depend on what they show.
"""

import argparse
import contextlib
import resource
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, NamedTuple

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


class Size(NamedTuple):
    """What decides how long an iteration takes."""

    width: float = 1.0
    critic_width: float = 1.0
    batch_size: int = 32
    n_critic: int = 4

    @classmethod
    def read(cls, name: str) -> "Size":
        """Return the size of ``paper``, or of a scale or variant by what its file changes."""
        if name == "paper":
            return cls()
        (path,) = (ROOT / "configs").glob(f"*/{name}.yaml")
        settings = {key.split("::")[-1]: value for key, value in yaml.safe_load(path.read_text()).items()}
        return cls(**{key: settings[key] for key in cls._fields if key in settings})


def clock(device: torch.device) -> Callable[[], float]:
    """Return a clock that waits until the device has done all its work."""

    def now() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    return now


def training_step(size: Size, weights: Mapping[str, float], device: torch.device) -> tuple[TrainingStep, PatchStream]:
    """Return the step of train.yaml on random slices, with losses of some weights, and the generator's stream."""
    slices: Any = SimpleNamespace(
        voxels=torch.rand(64, 3, 256, 256, dtype=torch.float16, device=device), sizes=torch.full((64, 2), 256)
    )
    generator = Generator(width=size.width).to(device)
    critic = Critic(width=size.critic_width).to(device)
    loss = generator_loss(weights, features=VGG16Features(WEIGHTS).to(device))
    stream = PatchStream(slices, batch_size=size.batch_size, sampling="random")
    optimizers = [torch.optim.Adam(network.parameters(), 2e-5, fused=True) for network in (generator, critic)]
    step = TrainingStep(
        GeneratorUpdate(generator, optimizers[0], loss, SimpleInferer()),
        CriticUpdate(critic, optimizers[1], stream.of_seed(1), size.n_critic),
    )
    return step, stream


def matrix_product_rate(
    device: torch.device, size: int, dtype: torch.dtype | None = None, now: Callable[[], float] | None = None
) -> float:
    """Return the FLOP/s of a large matrix product, by default by the clock and in the precision of training."""
    if dtype is None:
        dtype = torch.bfloat16 if supports_bfloat16(device) else torch.float32
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    now = now or clock(device)
    best = float("inf")
    for _ in range(5):
        start = now()
        a @ b
        best = min(best, now() - start)
    return 2 * size**3 / best


class Cost(NamedTuple):
    """Seconds and floating-point operations of an iteration, or of what one has that another has not."""

    seconds: float
    flop: float

    def less(self, other: "Cost") -> "Cost":
        """Return what remains without another."""
        return Cost(self.seconds - other.seconds, self.flop - other.flop)

    def text(self, peak: float) -> str:
        """Return seconds, operations and the share of a rate."""
        rate = self.flop / self.seconds
        return f"{self.seconds:.3f} s, {self.flop / 1e9:.0f} GFLOP, {100 * rate / peak:.0f} %"


def cost(size: Size, weights: Mapping[str, float], device: torch.device, iterations: int) -> Cost:
    """Return the cost of an iteration: the operations of the first, the seconds of the fastest of the others."""
    step, batches = training_step(size, weights, device)
    engine: Any = SimpleNamespace(state=SimpleNamespace(iteration=2))
    with WholeCount() as counter:  # also the warm-up
        step(engine, batches.next_batch())
    now, seconds = clock(device), []
    for _ in range(iterations):
        start = now()
        step(engine, batches.next_batch())
        seconds.append(now() - start)
    return Cost(min(seconds), counter.get_total_flops())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("size", choices=("medium", "quick", "paper"))
    parser.add_argument("--iterations", type=int, default=8, help="timed iterations, after one that is not")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    device, size = torch.device(arguments.device), Size.read(arguments.size)

    steps = ({"mse": 1.0}, {**PAPER_WEIGHTS, "adversarial": 0.0}, PAPER_WEIGHTS)
    alone, with_vgg, whole = (cost(size, weights, device, arguments.iterations) for weights in steps)
    n = 8192 if device.type == "cuda" else 4096
    precision = torch.bfloat16 if supports_bfloat16(device) else torch.float32
    peak, peak_float32 = (matrix_product_rate(device, n, dtype) for dtype in (precision, torch.float32))
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"{torch.get_num_threads()} CPU threads"
    print(f"{name}, {str(precision).removeprefix('torch.')}, torch {torch.__version__}")
    print(f"large matrix products: {peak / 1e12:.3f} TFLOP/s, {peak_float32 / 1e12:.3f} in float32")
    print(f"one iteration, of {size}: {whole.text(peak)} of the rate of a matrix product")
    print(f"  generator and data: {alone.text(peak)}")
    print(f"  VGG: {with_vgg.less(alone).text(peak)}")
    critic = whole.less(with_vgg)
    print(
        f"  critic: {critic.text(peak)}, {100 * critic.flop / critic.seconds / peak_float32:.0f} % of that in float32"
    )
    if device.type == "cuda":
        print(f"peak GPU memory: {torch.cuda.max_memory_allocated() / 2**30:.2f} GiB")
    print(f"peak memory of the process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


if __name__ == "__main__":
    main()
