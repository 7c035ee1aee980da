# SPDX-License-Identifier: Apache-2.0
"""Several processes, started by torchrun, that train or evaluate as if they were one.

Each takes its part of every batch, and gradients are averaged, so that a step is that of one process on the whole
batch. Without torchrun all of this does nothing.
"""

import logging
import os
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final, TypeVar

import ignite.distributed as idist
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from bundle.errors import InputError

Item = TypeVar("Item")

PATIENCE: Final = timedelta(hours=6)  # with the first process, which may have hundreds of volumes to prepare


def start() -> torch.device:
    """Join the processes that torchrun has started, and return the device of this one: its GPU, or the CPU.

    For use in place of ``device`` in a config; once joined, it only returns the device. Others than the first process
    say no more than warnings. An ``InputError`` says where torchrun is missing, or a GPU.
    """
    if dist.is_initialized():
        return idist.device()
    if "LOCAL_RANK" not in os.environ:
        raise InputError(
            "this config is for several processes: start it by torchrun --nproc_per_node N -m monai.bundle run ..., "
            "or leave it out."
        )
    if torch.cuda.is_available():
        local, n_devices = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if local >= n_devices:
            raise InputError(
                f"process {local} of this machine has no GPU, there are {n_devices}; give torchrun a smaller "
                "--nproc_per_node."
            )
        torch.cuda.set_device(local)
    # not by idist.initialize, which under Slurm wants variables that torchrun does not need
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo", timeout=PATIENCE)
    if not is_first():
        logging.getLogger("bundle").setLevel(logging.WARNING)
    return idist.device()


def stop() -> None:
    """Take leave of the other processes, once all are done."""
    idist.barrier()
    idist.finalize()


def require_joined() -> None:
    """Refuse, by an ``InputError``, to run beside processes of torchrun that know nothing of each other."""
    if os.environ.get("WORLD_SIZE", "1") != "1" and not dist.is_initialized():
        raise InputError(
            "torchrun has started several processes, each of which would do the whole work: lay "
            "configs/multi_gpu_train.yaml over train.yaml, or configs/multi_gpu_evaluate.yaml over evaluate.yaml; or, "
            "where it has not, unset WORLD_SIZE, which another job has left."
        )


def is_first() -> bool:
    """Tell whether this is the process that writes."""
    return idist.get_rank() == 0


def part_of_batch(batch_size: int) -> slice:
    """Return which samples of a batch are this process's; uneven parts are refused, their mean would be another."""
    n_processes, rank = idist.get_world_size(), idist.get_rank()
    size, rest = divmod(batch_size, n_processes)
    if rest or not size:
        raise InputError(
            f"a batch of {batch_size} patches cannot be dealt out evenly to {n_processes} processes; give a "
            "--batch_size that is a multiple of them."
        )
    return slice(rank * size, (rank + 1) * size)


def share(items: Sequence[Item]) -> list[Item]:
    """Return which of several items are this process's; all where there are too few: a mean over all is the same."""
    n_processes = idist.get_world_size()
    return list(items) if len(items) < n_processes else list(items[idist.get_rank() :: n_processes])


def data_parallel(module: nn.Module) -> nn.Module:
    """Return what to call instead of a module to average gradients over the processes, all with the first's weights."""
    if not dist.is_initialized():
        return module
    device = next(module.parameters()).device
    return DistributedDataParallel(module, device_ids=[device] if device.type == "cuda" else None)


def mean_of_processes(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the means of scalars over the processes, which all give the same names in the same order."""
    if idist.get_world_size() == 1 or not values:
        return dict(values)
    sums = idist.all_reduce(torch.stack([value.detach().float() for value in values.values()]))
    return dict(zip(values, sums / idist.get_world_size(), strict=True))
