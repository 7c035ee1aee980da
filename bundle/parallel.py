# SPDX-License-Identifier: Apache-2.0
"""Several processes, started by torchrun, that train or evaluate as if they were one.

Every process knows the whole order of patches and takes its part of each batch; gradients are averaged over the
processes, so that a step is that of one process on the whole batch. Without torchrun all of this does nothing.
"""

import contextlib
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from bundle.errors import InputError

Item = TypeVar("Item")

PATIENCE: Final = timedelta(hours=6)
"""How long processes wait for the first, which may have hundreds of volumes to prepare."""


def start() -> torch.device:
    """Join the processes that torchrun has started, and return the device of this one: its GPU, or the CPU.

    For use in place of ``device`` in a config; once joined, it only returns the device. Processes other than the first
    say no more than warnings.

    Raises:
        InputError: if this process was not started by torchrun, or the machine has fewer GPUs than processes.
    """
    if "LOCAL_RANK" not in os.environ:
        raise InputError(
            "this config is for several processes: start it by torchrun --nproc_per_node N -m monai.bundle run ..., "
            "or leave it out."
        )
    local = int(os.environ["LOCAL_RANK"])
    device = torch.device("cpu")
    if torch.cuda.is_available():
        if local >= torch.cuda.device_count():
            raise InputError(
                f"process {local} of this machine has no GPU, there are {torch.cuda.device_count()}; give torchrun "
                "a smaller --nproc_per_node."
            )
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
        if not is_first():
            logging.getLogger("bundle").setLevel(logging.WARNING)
    return device


def stop() -> None:
    """Take leave of the other processes, once all are done."""
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()


def require_joined() -> None:
    """Refuse to run beside processes that know nothing of each other.

    Raises:
        InputError: if torchrun has started several processes and this one has not joined them.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
        raise InputError(
            "torchrun has started several processes, each of which would do the whole work: lay "
            "configs/multi_gpu_train.yaml over train.yaml, or configs/multi_gpu_evaluate.yaml over evaluate.yaml."
        )


def n_processes() -> int:
    """Return how many processes there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_first() -> bool:
    """Tell whether this is the process that writes."""
    return not dist.is_initialized() or dist.get_rank() == 0


def part_of_batch(batch_size: int) -> slice:
    """Return which samples of a batch are this process's.

    Raises:
        InputError: if the batch cannot be dealt out evenly: the mean of the processes' means would be another.
    """
    size, rest = divmod(batch_size, n_processes())
    if rest or not size:
        raise InputError(
            f"a batch of {batch_size} patches cannot be dealt out evenly to {n_processes()} processes; give a "
            "--batch_size that is a multiple of them."
        )
    rank = dist.get_rank() if dist.is_initialized() else 0
    return slice(rank * size, (rank + 1) * size)


def share(items: Sequence[Item]) -> list[Item]:
    """Return which of several items are this process's; all where there are too few to go round.

    A mean over what all processes did is the same either way.
    """
    if len(items) < n_processes() or not dist.is_initialized():
        return list(items)
    return list(items[dist.get_rank() :: n_processes()])


def data_parallel(module: nn.Module) -> nn.Module:
    """Return what to call instead of a module where gradients are to be averaged over the processes.

    All processes take the first one's weights.
    """
    if not dist.is_initialized():
        return module
    parameters = list(module.parameters())
    on_gpu = bool(parameters) and parameters[0].is_cuda
    return DistributedDataParallel(module, device_ids=[parameters[0].device] if on_gpu else None)


def mean_of_processes(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the means of scalars over the processes, which all give the same names in the same order."""
    if not dist.is_initialized() or not values:
        return dict(values)
    means = torch.stack([value.detach().float() for value in values.values()])
    dist.all_reduce(means)
    return dict(zip(values, means / n_processes(), strict=True))


def gathered(value: Item) -> list[Item]:
    """Return what every process gives, in their order; any object that can be pickled."""
    if not dist.is_initialized():
        return [value]
    values: list[Any] = [None] * n_processes()
    dist.all_gather_object(values, value)
    return values


@contextlib.contextmanager
def first_goes_first() -> Iterator[None]:
    """Let the first process do a block before the others, which find on the disk what it has left there."""
    if dist.is_initialized() and not is_first():
        dist.barrier()
    yield
    if dist.is_initialized() and is_first():
        dist.barrier()
