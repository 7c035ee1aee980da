# SPDX-License-Identifier: Apache-2.0
"""What a study ran on, for its footnote."""

import platform
from pathlib import Path

import torch

from bundle.engines import supports_bfloat16


def describe_hardware() -> str:
    """Return the GPU's name, or the processor's with PyTorch's number of threads; and the networks' precision."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    precision = "bfloat16" if supports_bfloat16(device) else "float32"
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name()}, {precision}"
    about = Path("/proc/cpuinfo")  # of Linux
    lines = about.read_text().splitlines() if about.is_file() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    processor = models[0] if models else platform.processor() or platform.machine()
    return f"{processor}, {torch.get_num_threads()} threads, {precision}"
