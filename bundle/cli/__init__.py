# SPDX-License-Identifier: Apache-2.0
"""The command ``mcsr``; nothing imports PyTorch or MONAI before it runs, so that help and mistakes are told at once."""

from bundle.cli.command import main

__all__ = ["main"]
