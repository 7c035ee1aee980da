# SPDX-License-Identifier: Apache-2.0
"""Peak memory of super-resolving one large pair, from its files to its output, as the whole inference run takes it.

    python benchmarks/memory.py                       # 1024 x 1024 x 400, float32 and int16
    python benchmarks/memory.py --shape 512 512 100

The pair is made of random numbers: what is in memory does not depend on what they show. So that the run takes minutes
instead of hours, the generator computes one tile of many, and the rest is passed through; a tile takes the memory
that it takes. It needs disk space for the pair and its output (5 GB) in --folder.
"""

import argparse
import multiprocessing
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.bundle import run
from torch import Tensor

from bundle.kspace import zero_fill
from bundle.networks import Generator

ROOT = Path(__file__).resolve().parents[1]
COMPUTED = 150
"""One call of so many computes the generator."""


class OccasionalGenerator(Generator):
    """The generator, for one call of many; a copy of the low-res for the others."""

    n_calls = 0

    def forward(self, image: Tensor) -> Tensor:
        """Return an image (N, 1, H, W) for ``image`` (N, 2, H, W)."""
        self.n_calls += 1
        return super().forward(image) if self.n_calls % COMPUTED == 1 else image[:, :1].clone()


def make_pair(folder: Path, shape: tuple[int, int, int]) -> None:
    """Write a zero-filled target, float32, and a reference, int16, slice by slice."""
    random = torch.Generator().manual_seed(0)
    for name, dtype in (("T2w", np.float32), ("T1w", np.int16)):
        header = nib.Nifti1Header()
        header.set_data_shape(shape)
        header.set_data_dtype(dtype)
        header.set_sform(np.diag([0.25, 0.25, 1.0, 1.0]), 1)
        header["magic"], header["vox_offset"] = header.single_magic, header.single_vox_offset
        with (folder / f"sub-1_{name}.nii").open("wb") as stream:
            header.write_to(stream)
            for _ in range(shape[2]):
                slice_ = 1000 * torch.rand(shape[:2], generator=random)
                slice_ = zero_fill(slice_, 4) if name == "T2w" else slice_
                stream.write(slice_.numpy().astype(dtype).tobytes(order="F"))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=int, nargs=3, default=(1024, 1024, 400))
    parser.add_argument("--levels", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where to put the volumes; default: a temporary folder")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="further keys of inference.yaml")
    arguments = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parent))
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        # a process of its own, whose memory does not count
        maker = multiprocessing.get_context("spawn").Process(target=make_pair, args=(folder, tuple(arguments.shape)))
        maker.start()
        maker.join()
        torch.save(Generator(levels=arguments.levels, residual=True).state_dict(), folder / "model.pt")
        keys: dict[str, Any] = dict(setting.split("=", 1) for setting in arguments.set)
        start = time.perf_counter()
        run(
            "inference",
            config_file=str(ROOT / "configs" / "inference.yaml"),
            bundle_root=str(ROOT),
            network_def={"_target_": "memory.OccasionalGenerator", "levels": arguments.levels, "residual": True},
            residual=True,
            levels=arguments.levels,
            image=str(folder / "sub-1_T2w.nii"),
            reference=str(folder / "sub-1_T1w.nii"),
            output_dir=str(folder / "out"),
            output_ext=".nii",
            ckpt_path=str(folder / "model.pt"),
            **keys,
        )
        print(f"{time.perf_counter() - start:.0f} s")
    voxels = np.prod(arguments.shape, dtype=np.int64)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(f"a volume of {' x '.join(map(str, arguments.shape))}: {4 * voxels / 1e9:.2f} GB in float32")
    print(f"peak memory: {peak / 1e9:.2f} GB ({peak / 2**30:.2f} GiB)")


if __name__ == "__main__":
    main()
