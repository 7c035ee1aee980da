# SPDX-License-Identifier: Apache-2.0
"""The command ``mcsr``: the bundle's configs under names and options that need no knowledge of MONAI.

Nothing here imports PyTorch or MONAI before a command runs, so that help and mistakes are told at once.
"""

from bundle.cli.command import main

__all__ = ["main"]
