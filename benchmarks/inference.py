# SPDX-License-Identifier: Apache-2.0
"""Time the network on one slice in several ways, against what the machine can do; and how much of a volume is air.

    python benchmarks/inference.py                          # random weights, 256 x 256
    python benchmarks/inference.py --weights models/model.pt
    python benchmarks/inference.py --weights models/model.pt --image T2.nii.gz --reference T1.nii.gz
    python benchmarks/inference.py --air FOLDER [FOLDER ...]  # shares of pixels that are computed

The ways take turns, and the best of several rounds counts: other work on the machine can only add time. The yardstick
is a large matrix product in the same precision, timed in the same rounds. ONNX Runtime and OpenVINO are timed where
they are installed. A volume of 130 slices is not run: its time is 130 times that of a slice.
"""

import argparse
import importlib.util
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from training_step import WholeCount, matrix_product_rate

from bundle.data import find_pairs
from bundle.engines import TiledSliceInferer, autocast
from bundle.engines.inferer import occupied, widened
from bundle.kspace import zero_fill
from bundle.networks import Generator, build
from bundle.reports.text_table import markdown_table
from bundle.settings import recorded
from bundle.transforms import LoadPaird, NormaliseIntensityd, SlicesLastd, StackContrastsd

Way = Callable[[torch.Tensor], torch.Tensor]
CPU = torch.device("cpu")
N_SLICES = 130


def ways(
    network: torch.nn.Module, image: torch.Tensor, folder: Path, chosen: str
) -> Iterator[tuple[str, torch.dtype, Way]]:
    """Yield the name, the precision and the function of each way whose name holds a text."""
    channels_last = {"memory_format": torch.channels_last}

    def eager(mixed: bool, last: bool) -> Way:
        def run(batch: torch.Tensor) -> torch.Tensor:
            with autocast(CPU, mixed):
                return network(batch.contiguous(**channels_last) if last else batch)

        return run

    def compiled() -> Way:
        from torch._inductor import config

        config.freezing = True  # weights are brought into the form the kernels want, once
        optimised = torch.compile(network)

        def run(batch: torch.Tensor) -> torch.Tensor:
            with autocast(CPU, True):
                return optimised(batch.contiguous(**channels_last))

        return run

    def inferer() -> Way:
        one = TiledSliceInferer()
        return lambda batch: one(batch.movedim(0, -1)[None], network)[0].movedim(-1, 0)

    makers: dict[str, tuple[torch.dtype, Callable[[], Way]]] = {
        "eager float32": (torch.float32, lambda: eager(False, False)),
        "eager float32, channels last": (torch.float32, lambda: eager(False, True)),
        "eager bfloat16": (torch.bfloat16, lambda: eager(True, False)),
        "eager bfloat16, channels last": (torch.bfloat16, lambda: eager(True, True)),
        "TiledSliceInferer": (torch.bfloat16, inferer),
        "torch.compile bfloat16, channels last": (torch.bfloat16, compiled),
    }
    if importlib.util.find_spec("onnxruntime"):
        makers["ONNX Runtime float32"] = (torch.float32, lambda: onnx_runtime(exported(network, image, folder)))
    if importlib.util.find_spec("openvino"):
        for name, dtype in (("f32", torch.float32), ("bf16", torch.bfloat16)):
            makers[f"OpenVINO {name}"] = (dtype, lambda name=name: openvino(exported(network, image, folder), name))
    for name, (dtype, make) in makers.items():
        if chosen in name:
            yield name, dtype, make()


def exported(network: torch.nn.Module, image: torch.Tensor, folder: Path) -> Path:
    """Return the network as an ONNX file for slices of this size."""
    path = folder / "network.onnx"
    if not path.exists():
        torch.onnx.export(network, (image,), path, input_names=["image"], output_names=["pred"], dynamo=True)
    return path


def onnx_runtime(path: Path) -> Way:
    """Return the network run by ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda batch: torch.from_numpy(session.run(None, {"image": batch.numpy()})[0])


def openvino(path: Path, precision: str) -> Way:
    """Return the network run by OpenVINO."""
    import openvino

    settings = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    model = openvino.Core().compile_model(path, "CPU", {**settings, "PERFORMANCE_HINT": "LATENCY"})
    return lambda batch: torch.from_numpy(model([batch.numpy()])[0].copy())


def lively(levels: int) -> Generator:
    """Return a generator with random weights of which every layer has a say."""
    torch.manual_seed(0)
    network = Generator(levels=levels, residual=True).eval()
    for level in network.levels:
        torch.nn.init.uniform_(level.decoder.last.weight, 0, 0.02)
    return network


def slice_of(image: Path, reference: Path, factor: float, size: int) -> torch.Tensor:
    """Return the middle of the middle slice of a pair, zero-filled, (1, 2, size, size)."""
    stack = prepared({"image": str(image), "reference": str(reference)}, factor)
    rows, columns = ((n - size) // 2 for n in stack.shape[1:3])
    middle = stack[None, :, rows : rows + size, columns : columns + size, stack.shape[-1] // 2]
    return middle.contiguous()


def prepared(pair: dict[str, str], factor: float, rounded: bool = False) -> torch.Tensor:
    """Return the network's input for a full-resolution pair, (2, H, W, D)."""
    item: Any = NormaliseIntensityd()(SlicesLastd()(LoadPaird()(pair)))
    slices = item["image"].as_tensor().movedim(-1, 0)
    item["low_res"] = item["image"].clone()
    item["low_res"][:] = zero_fill(slices, factor).movedim(0, -1)
    if rounded:
        scale = item["intensity_scale"]["scale"]
        item["low_res"] = (item["low_res"] * scale).round() / scale
    return StackContrastsd()(item)["image"].as_tensor()


def time_ways(network: torch.nn.Module, image: torch.Tensor, arguments: argparse.Namespace) -> None:
    """Time all ways in turns and print the table."""
    with WholeCount() as counter, torch.no_grad():
        expected = network(image)
    now = time.process_time if arguments.cpu_time else time.perf_counter
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        made = list(ways(network, image, Path(folder), arguments.only))
        best: dict[str, float] = {}
        peak: dict[torch.dtype, float] = {}
        outputs: dict[str, torch.Tensor] = {}
        batches = [image.repeat(n, 1, 1, 1) for n in arguments.batches]
        for name, _, way in made:
            outputs[name] = way(image)  # the first time is not counted
        for _ in range(arguments.rounds):
            for dtype in {dtype for _, dtype, _ in made}:
                peak[dtype] = max(peak.get(dtype, 0.0), matrix_product_rate(CPU, 2048, dtype, now))
            for name, _, way in made:
                for batch in batches if name.startswith("eager bfloat16, ch") else batches[:1]:
                    start = now()
                    way(batch)
                    key = f"{name}, {len(batch)} together" if len(batch) > 1 else name
                    best[key] = min(best.get(key, float("inf")), (now() - start) / len(batch))
    print_table(best, peak, {name: dtype for name, dtype, _ in made}, counter.get_total_flops())
    for name, output in outputs.items():
        error = torch.mean((output.float() - expected) ** 2).item()
        print(f"{name}: PSNR of the difference from eager float32 {-10 * torch.tensor(error + 1e-20).log10():.1f} dB")


def print_table(
    best: dict[str, float], peak: dict[torch.dtype, float], dtypes: dict[str, torch.dtype], flop: float
) -> None:
    """Print one row a way."""
    reference = best.get("eager float32", float("nan"))
    rows = []
    for name, seconds in best.items():
        dtype = next(dtype for known, dtype in dtypes.items() if name == known or name.startswith(f"{known}, "))
        share = flop / seconds / peak[dtype]
        minutes = f"{N_SLICES * seconds / 60:.1f}"
        rows.append([name, f"{seconds:.2f}", f"{reference / seconds:.2f}", f"{100 * share:.0f} %", minutes])
    threads = torch.get_num_threads()
    print(f"torch {torch.__version__}, {threads} threads, {flop / 1e12:.3f} TFLOP a slice; matrix product: ", end="")
    print(", ".join(f"{rate / 1e12:.3f} TFLOP/s in {dtype}" for dtype, rate in peak.items()))
    print(markdown_table(["way", "s a slice", "gain", "of the peak", f"min for {N_SLICES}"], rows))


def air(folders: list[Path], levels: int, factor: float, rounded: bool) -> None:
    """Print which share of the pixels of each data set's first pair is computed."""
    reach = Generator(levels=levels).reach
    assert reach is not None
    rows = []
    for folder in folders:
        pair = find_pairs(folder)[0]
        stack = prepared(pair, factor, rounded)
        shape = (stack.shape[1], stack.shape[2])
        total = computed = n_air = 0
        for index in range(stack.shape[-1]):
            region = occupied(stack[None, ..., index])
            total += shape[0] * shape[1]
            n_air += region is None
            if region is not None:
                rows_, columns = widened(region, reach, (slice(0, shape[0]), slice(0, shape[1])))
                computed += (rows_.stop - rows_.start) * (columns.stop - columns.start)
        matrix = " x ".join(map(str, stack.shape[1:]))
        rows.append([f"{folder.name}/{pair['case']}", matrix, str(n_air), f"{100 * (1 - computed / total):.0f} %"])
    print(markdown_table(["pair", "matrix", "slices of air", "pixels left out"], rows))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=256, help="rows and columns of the slice")
    parser.add_argument("--levels", type=int, default=1)
    parser.add_argument("--weights", type=Path, help="of a trained network, with its record")
    parser.add_argument("--image", type=Path, help="a full-resolution target, of which the middle slice is taken ...")
    parser.add_argument("--reference", type=Path, help="... and its reference")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2, 4], help="slices together")
    parser.add_argument("--only", default="", help="only ways whose name holds this")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--cpu-time", action="store_true", help="of one thread, which other work disturbs least")
    parser.add_argument("--factor", type=float, default=4.0)
    parser.add_argument("--air", type=Path, nargs="+", metavar="FOLDER", help="data sets to look at instead")
    parser.add_argument("--rounded", action="store_true", help="... with low-res images of whole numbers, as stored")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    if arguments.threads or arguments.cpu_time:
        torch.set_num_threads(arguments.threads or 1)
    if arguments.air:
        air(arguments.air, arguments.levels, arguments.factor, arguments.rounded)
        return
    network: torch.nn.Module = lively(arguments.levels)
    if arguments.weights:
        network = build(recorded(arguments.weights).model).eval()
        network.load_state_dict(torch.load(arguments.weights, weights_only=True))
    image = torch.rand(1, 2, arguments.size, arguments.size)
    if arguments.image:
        image = slice_of(arguments.image, arguments.reference, arguments.factor, arguments.size)
    time_ways(network, image, arguments)


if __name__ == "__main__":
    main()
