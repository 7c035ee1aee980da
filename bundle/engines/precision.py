# SPDX-License-Identifier: Apache-2.0
"""What the hardware can do: devices that are there, mixed precision where it has bfloat16 arithmetic, memory layout."""

import contextlib
from typing import Final, Literal

import torch
from torch import nn

from bundle.errors import InputError

_MOST_THREADS: Final = 1024  # PyTorch crashes where a system has not as many
MixedPrecision = Literal["auto"] | bool


def supports_bfloat16(device: torch.device) -> bool:
    """Tell whether a device multiplies bfloat16 in hardware; emulation would be slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.cpu.get_capabilities() if device.type == "cpu" else {}
    return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def autocast(device: torch.device, mixed_precision: MixedPrecision = "auto") -> contextlib.AbstractContextManager[None]:
    """Return the context in which networks run on ``device``: ``auto`` takes bfloat16 where the hardware has it."""
    if mixed_precision not in ("auto", True, False):
        raise InputError(f"mixed_precision is {mixed_precision!r}; choose auto, true or false.")
    enabled = supports_bfloat16(device) if mixed_precision == "auto" else bool(mixed_precision)
    # bfloat16 keeps float32's exponent, so gradients need no loss scaling
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)


def use_machine(device: torch.device | str, n_threads: int | None = None) -> None:
    """Check that a device is there, and compute on it in exact float32 where float32 is asked for.

    Of ``n_threads`` processor cores, ``None`` leaves the choice to PyTorch. ``InputError`` if there is no such device.
    """
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        found = ", ".join(["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))])
        raise InputError(f"--device {device} cannot be used here; this machine and PyTorch have: {found}.") from error
    torch.backends.cudnn.allow_tf32 = False  # convolutions would round operands to 11 bits
    if n_threads is not None:
        if isinstance(n_threads, bool) or not isinstance(n_threads, int) or not 1 <= n_threads <= _MOST_THREADS:
            raise InputError(f"threads is {n_threads!r}; give 1 or more, or null for all cores.")
        torch.set_num_threads(n_threads)


def channels_last(network: nn.Module) -> None:
    """Change the memory layout of a network's four-dimensional weights in place."""
    for parameter in network.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
