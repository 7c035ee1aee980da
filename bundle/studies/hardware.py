# SPDX-License-Identifier: Apache-2.0
"""What a study ran on, for its footnote."""

import platform
from pathlib import Path

import torch


def describe_hardware() -> str:
    """Return the GPU's name, or the processor's with the number of threads that PyTorch uses."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{_processor()}, {torch.get_num_threads()} threads"


def _processor() -> str:
    """Return the processor's model as Linux names it, or else what the platform knows."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()
