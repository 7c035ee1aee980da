# SPDX-License-Identifier: Apache-2.0
"""All training slices of a data set in one tensor, so that cutting a batch of patches costs nothing."""

import contextlib
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from monai.data import PersistentDataset
from monai.data.utils import json_hashing, pickle_hashing
from monai.transforms import Compose, Transform
from torch import Tensor
from tqdm import tqdm

from bundle.errors import InputError
from bundle.files import atomic_path
from bundle.keys import CASE, HIGH_RES, IMAGE, LEVEL_TARGETS, LOW_RES, REFERENCE
from bundle.parallel import is_first
from bundle.tensor_files import load_tensors

logger = logging.getLogger(__name__)

CHANNELS = (LOW_RES, REFERENCE, HIGH_RES, LEVEL_TARGETS)  # the first two are the network's input, the last optional
UNDEGRADED = (REFERENCE, HIGH_RES)  # what remains where every batch degrades anew
STACKS = "stacks"
ISOTROPIC = 1.3  # largest ratio of voxel sizes at which every other slice of all three orientations is taken


@dataclass(eq=False)
class StackSlicesd(Transform):
    """Turn a preprocessed pair into compact tensors, which is what the cache holds.

    With ``undegraded``, target and reference alone, and of isotropic voxels slices of all three orientations.
    """

    undegraded: bool = False

    def __call__(self, data: Mapping[Any, Any]) -> dict[Any, Any]:
        """Return ``{"stacks": Tensors (D, C, H, W), "case": name}``; float16 errs by 2e-4 of a value, below noise."""
        if HIGH_RES not in data:
            raise InputError(
                "training needs low-res and high-res of every pair; zero-fill the images in its preprocessing."
            )
        channels = [key for key in (UNDEGRADED if self.undegraded else CHANNELS) if key in data]
        volume = torch.cat([torch.as_tensor(data[key].as_tensor()) for key in channels])  # C, H, W, D
        spacing = data[HIGH_RES].pixdim
        axes = [3, 1, 2] if self.undegraded and spacing.max() < ISOTROPIC * spacing.min() else [3]
        stacks = [volume.movedim(axis, 0)[:: len(axes) // 2 + 1] for axis in axes]  # D, C, H, W
        if self.undegraded:
            stacks = [stack[(stack[:, -1] > 0.05).float().mean((1, 2)) > 0.02] for stack in stacks]
        return {STACKS: [stack.to(torch.float16).contiguous() for stack in stacks], CASE: str(data[CASE])}


class _Cache(PersistentDataset):
    """MONAI's cache, whose files appear whole, and are made anew where they are damaged."""

    def _cachecheck(self, item: Mapping[str, str]) -> Any:
        if self.cache_dir is None:
            return self._pre_transform(dict(item))
        file = self.cache_dir / f"{self.hash_func(item).decode()}{self.transform_hash}.pt"
        if file.is_file():
            try:
                return load_tensors(file, "it is made anew")
            except InputError as error:
                logger.warning("%s", error)
        found = self._pre_transform(dict(item))
        with atomic_path(file) as temporary:
            torch.save(found, temporary)
        return found


class SliceStack:
    """Hold the slices of all volumes, preprocessed once, in memory or on the GPU.

    ``voxels`` (n_slices, C, H, W) are float16, channels ``CHANNELS``, or ``UNDEGRADED`` where asked for; smaller
    slices are padded with 0 at the end of each axis. ``sizes`` (n_slices, 2) are height and width; ``own_slices`` where
    those of each of ``data`` are, along its through-plane axis.
    ``transform`` returns ``low_res``, ``high_res`` and ``reference`` (1, H, W, D), which ``cache_dir`` keeps. An
    ``InputError`` refuses pairs that cannot be used.
    """

    def __init__(
        self,
        data: Sequence[Mapping[str, str]],
        transform: Callable[[Any], Any],
        cache_dir: str | os.PathLike[str] | None = None,
        device: torch.device | str = "cpu",
        undegraded: bool = False,
    ) -> None:
        if not data:
            raise InputError("there are no pairs to train on; look at the split file and at dataset_dir.")
        self.data = list(data)
        volumes = _Cache(
            self.data,
            transform=Compose([transform, StackSlicesd(undegraded)]).flatten(),  # a nested Compose would not be cached
            cache_dir=None if cache_dir is None else Path(cache_dir),
            hash_func=_fingerprint,
            hash_transform=pickle_hashing,
        )
        with contextlib.nullcontext() if cache_dir is None else idist.one_rank_first():
            hidden = not is_first() or None
            bar = tqdm(range(len(volumes)), "preparing volumes", unit="volume", leave=False, disable=hidden)
            volumes_stacks = [volumes[i][STACKS] for i in bar]
        stacks = [stack for of_one in volumes_stacks for stack in of_one]
        self.channels = UNDEGRADED if undegraded else CHANNELS
        self.sizes = torch.cat([torch.tensor(s.shape[2:]).expand(len(s), 2) for s in stacks]).to(device)
        counts = [len(stack) for stack in stacks]
        ends = torch.tensor([sum(map(len, of_one)) for of_one in volumes_stacks]).cumsum(0).tolist()
        starts = [0, *ends[:-1]]
        self.own_slices = [slice(i, i + len(of_one[0])) for i, of_one in zip(starts, volumes_stacks, strict=True)]
        del volumes_stacks
        shape = (len(self.sizes), stacks[0].shape[1], *self.sizes.amax(0).tolist())
        self.voxels = torch.zeros(shape, dtype=torch.float16, device=device)
        for room in self.voxels.split(counts):
            stack = stacks.pop(0)  # let go once copied: together they are as large as what they go into
            room[:, :, : stack.shape[2], : stack.shape[3]] = stack
        logger.info("%d slices of %d volumes, %.0f MB", len(self), len(self.data), self.voxels.nbytes / 1e6)

    def __len__(self) -> int:
        return len(self.voxels)


def split_channels(slices: Tensor) -> dict[str, Tensor]:
    """Name channels (N, C, H, W): ``image`` has low-res and reference, ``level_targets`` what follows ``high_res``."""
    parts = {IMAGE: slices[:, :2], HIGH_RES: slices[:, 2:3]}
    return parts | {LEVEL_TARGETS: slices[:, 3:]} if slices.shape[1] > 3 else parts


def _fingerprint(pair: Mapping[str, str]) -> bytes:
    stats = [Path(pair[key]).stat() for key in (IMAGE, REFERENCE) if Path(pair.get(key, "")).is_file()]
    facts = [dict(pair), *((stat.st_size, stat.st_mtime_ns) for stat in stats)]
    return json_hashing(facts)
