# SPDX-License-Identifier: Apache-2.0
"""Peak memory of super-resolving one large pair, from its files to its output, as the whole inference run takes it.

    python benchmarks/memory.py                       # 1024 x 1024 x 400, float32 and int16, network of the weights
    python benchmarks/memory.py --architecture Generator
    python benchmarks/memory.py --turned              # the reference on another grid
    python benchmarks/memory.py --shape 512 512 100

What counts is the run and all processes that it starts, at the same moment: the sum of their resident set sizes, 50
times a second. Libraries that several of them have loaded count in each.

The pair is made of random numbers: what is in memory does not depend on what they show. So that the run takes minutes
instead of hours, the network computes one tile of many, and the rest is passed through; a tile takes the memory
that it takes. It needs disk space for the pair and its output (5 GB) in --folder.
"""

import argparse
import multiprocessing
import os
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.bundle import run
from scipy.spatial.transform import Rotation
from torch import Tensor, nn

from bundle.kspace import zero_fill
from bundle.networks import FastGenerator, Generator, build
from bundle.settings import ModelSettings

ROOT = Path(__file__).resolve().parents[1]
COMPUTED = 150
"""One call of so many computes the network."""
N_DISTINCT = 8
"""Slices that are made; the others repeat them."""


class Occasional(nn.Module):
    """A network, for one call of many; a copy of the low-res for the others."""

    n_calls = 0

    def forward(self, image: Tensor) -> Tensor:
        """Return an image (N, 1, H, W) for ``image`` (N, 2, H, W)."""
        self.n_calls += 1
        return super().forward(image) if self.n_calls % COMPUTED == 1 else image[:, :1].clone()


class OccasionalGenerator(Occasional, Generator):
    """The paper's."""


class OccasionalFastGenerator(Occasional, FastGenerator):
    """That of the bundle's weights."""


def make_pair(folder: Path, shape: tuple[int, int, int], turned: bool) -> None:
    """Write a zero-filled target, float32, and a reference, int16, slice by slice."""
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler("xyz", [1, -2, 3], degrees=True).as_matrix()
    random = torch.Generator().manual_seed(0)
    slices = [1000 * torch.rand(shape[:2], generator=random) for _ in range(N_DISTINCT)]
    for name, dtype in (("T2w", np.float32), ("T1w", np.int16)):
        header = nib.Nifti1Header()
        header.set_data_shape(shape)
        header.set_data_dtype(dtype)
        affine = np.diag([0.25, 0.25, 1.0, 1.0])
        header.set_sform(turn @ affine if turned and name == "T1w" else affine, 1)
        header["magic"], header["vox_offset"] = header.single_magic, header.single_vox_offset
        with (folder / f"sub-1_{name}.nii").open("wb") as stream:
            header.write_to(stream)
            shown = [zero_fill(slice_, 4) if name == "T2w" else slice_ for slice_ in slices]
            parts = [slice_.numpy().astype(dtype).tobytes(order="F") for slice_ in shown]
            for index in range(shape[2]):
                stream.write(parts[index % N_DISTINCT])


def infer(folder: Path, settings: dict[str, Any], keys: dict[str, Any]) -> None:
    """Run the inference by a network of some settings."""
    sys.path.insert(0, str(Path(__file__).parent))
    torch.save(build(ModelSettings(**settings)).state_dict(), folder / "model.pt")
    architecture = settings.pop("architecture")
    run(
        "inference",
        config_file=str(ROOT / "configs" / "inference.yaml"),
        bundle_root=str(ROOT),
        network_def={"_target_": f"memory.Occasional{architecture}", **settings},
        image=str(folder / "sub-1_T2w.nii"),
        reference=str(folder / "sub-1_T1w.nii"),
        output_dir=str(folder / "out"),
        output_ext=".nii",
        ckpt_path=str(folder / "model.pt"),
        **keys,
    )


class Meter(threading.Thread):
    """Watch the memory of a process and of all that it starts, in bytes."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid = pid
        self.peak, self.peak_of_itself, self.peak_of_others = 0, 0, 0
        self.stopped = threading.Event()

    def run(self) -> None:
        """Look until stopped."""
        while not self.stopped.wait(0.02):
            sizes = [resident_size(pid) for pid in (self.pid, *descendants(self.pid))]
            self.peak = max(self.peak, sum(sizes))
            self.peak_of_itself = max(self.peak_of_itself, sizes[0])
            self.peak_of_others = max(self.peak_of_others, sum(sizes[1:]))


def descendants(pid: int) -> list[int]:
    """Return the processes that a process and those below it have started."""
    try:
        lists = [path.read_text().split() for path in Path(f"/proc/{pid}/task").glob("*/children")]
        ours = Path(f"/proc/{pid}/cmdline").read_bytes()
        # one that runs no program of its own yet is in its parent's memory still, which would count twice
        children = [
            int(child) for each in lists for child in each if Path(f"/proc/{child}/cmdline").read_bytes() != ours
        ]
    except OSError:  # it has ended
        return []
    return [*children, *(below for child in children for below in descendants(child))]


def resident_size(pid: int) -> int:
    """Return the resident set size of a process in bytes; 0 once it has ended."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def in_a_process(target: Any, *arguments: Any) -> Meter:
    """Run a function in a process of its own, and return what memory that took."""
    process = multiprocessing.get_context("spawn").Process(target=target, args=arguments)
    process.start()
    meter = Meter(process.pid or 0)
    meter.start()
    process.join()
    meter.stopped.set()
    if process.exitcode:
        raise SystemExit(process.exitcode)
    return meter


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=int, nargs=3, default=(1024, 1024, 400))
    parser.add_argument("--turned", action="store_true", help="lay the reference aslant, by its header, unregistered")
    parser.add_argument("--architecture", choices=("FastGenerator", "Generator"), default="FastGenerator")
    parser.add_argument("--levels", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where to put the volumes; default: a temporary folder")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="further keys of inference.yaml")
    arguments = parser.parse_args()
    keys: dict[str, Any] = dict(setting.split("=", 1) for setting in arguments.set)
    if arguments.turned:
        keys["register"] = False  # noise cannot be registered
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        in_a_process(make_pair, Path(name), tuple(arguments.shape), arguments.turned)
        start = time.perf_counter()
        settings = {"architecture": arguments.architecture, "levels": arguments.levels, "fusion": "image"}
        settings |= {"fusion": "feature", "residual": True} if arguments.architecture == "Generator" else {}
        meter = in_a_process(infer, Path(name), settings, keys)
        print(f"{time.perf_counter() - start:.0f} s")
    voxels = np.prod(arguments.shape, dtype=np.int64)
    print(f"a volume of {' x '.join(map(str, arguments.shape))}: {4 * voxels / 1e9:.2f} GB in float32")
    print(f"peak memory of all processes: {meter.peak / 1e9:.2f} GB ({meter.peak / 2**30:.2f} GiB)")
    print(
        f"of the run itself {meter.peak_of_itself / 1e9:.2f} GB, "
        f"of SimpleITK's process {meter.peak_of_others / 1e9:.2f} GB"
    )


if __name__ == "__main__":
    main()
