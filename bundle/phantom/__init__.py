# SPDX-License-Identifier: Apache-2.0
"""The embedded data set: simulated heads, from an atlas to NIfTI files."""

from bundle.phantom.dataset import default_dataset, low_res_dataset, write_phantom

__all__ = ["default_dataset", "low_res_dataset", "write_phantom"]
