# SPDX-License-Identifier: Apache-2.0
"""Time the metrics on a volume, and IFC against the same computed slice by slice with pyrtools.

    python benchmarks/metrics.py                 # 130 slices of 256 x 256 on the processor, or the GPU if there is one
    python benchmarks/metrics.py --threads 1     # on one core, the only one that pyrtools uses

Slices are blurred random numbers, degraded by blur: the time does not depend on what they show.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch
from scipy.ndimage import gaussian_filter

from bundle.metrics import HEAD_METRICS, METRICS, head_mask
from bundle.metrics.ifc_reference import ifc_reference


def volumes(n_slices: int, side: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a reference volume and a blurred one, Tensors (N, 1, H, W), float32 in [0, 1]."""
    random = torch.rand(n_slices, side, side, generator=torch.Generator().manual_seed(0)).numpy()
    reference = gaussian_filter(random, (0, 1, 1))
    reference = (reference - reference.min()) / (reference.max() - reference.min())
    blurred = gaussian_filter(reference, (0, 1, 1))
    return torch.from_numpy(reference)[:, None], torch.from_numpy(blurred)[:, None]


def best_time(function: Callable[[], Any], repeats: int, device: torch.device) -> float:
    """Return the seconds of the fastest of several calls, after one that is not timed."""
    function()
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        if device.type == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return best


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slices", type=int, default=130)
    parser.add_argument("--side", type=int, default=256, help="pixels a side")
    parser.add_argument("--repeats", type=int, default=3, help="timed runs; the fastest counts")
    parser.add_argument("--pyrtools-slices", type=int, default=8, help="slices timed with pyrtools, scaled up to all")
    parser.add_argument("--threads", type=int, help="processor cores that torch may use (default: all)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    pair = volumes(arguments.slices, arguments.side)
    on_device = [image.to(device) for image in pair]
    few = [image[: arguments.pyrtools_slices, 0].numpy() for image in pair]

    name = torch.cuda.get_device_name() if device.type == "cuda" else f"{torch.get_num_threads()} CPU threads"
    print(f"{arguments.slices} slices of {arguments.side} x {arguments.side}, {name}, torch {torch.__version__}")
    print(f"{'metric':<26}{'seconds':>9}{'ms a slice':>12}")
    seconds = {}
    for metric, score in METRICS.items():
        seconds[metric] = best_time(lambda score=score: score(*on_device), arguments.repeats, device)
        report(metric, seconds[metric], arguments.slices)
    head = head_mask(on_device[0])
    report("head_mask, once a volume", best_time(lambda: head_mask(on_device[0]), 1, device), arguments.slices)
    for metric, in_head in HEAD_METRICS.items():
        taken = best_time(lambda score=in_head: score(*on_device, head), arguments.repeats, device)
        report(metric, taken, arguments.slices)
    slice_by_slice = best_time(lambda: [ifc_reference(*slices) for slices in zip(*few, strict=True)], 1, device)
    pyrtools_seconds = slice_by_slice / len(few[0]) * arguments.slices
    report(f"ifc on pyrtools ({len(few[0])} slices)", pyrtools_seconds, arguments.slices)
    print(f"ifc is {pyrtools_seconds / seconds['ifc']:.1f} times faster than slice by slice on pyrtools")


def report(name: str, seconds: float, n_slices: int) -> None:
    """Print one line of the table."""
    print(f"{name:<26}{seconds:>9.3f}{1000 * seconds / n_slices:>12.2f}")


if __name__ == "__main__":
    main()
