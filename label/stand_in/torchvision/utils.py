# SPDX-License-Identifier: Apache-2.0
"""The two functions that MONAI Label imports, to dump 2-D pictures of a segmentation."""

from typing import Any, NoReturn


def make_grid(*_: Any, **__: Any) -> NoReturn:
    """Refuse: this is not torchvision."""
    raise ImportError("torchvision is not installed here; install the version that matches torch in its place.")


save_image = make_grid
