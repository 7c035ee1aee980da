# SPDX-License-Identifier: Apache-2.0
"""From files on disk to batches: pairs, splits, volumes, slices, patches."""

from bundle.data.checked import CheckedPairs
from bundle.data.pairs import find_pairs
from bundle.data.patches import PatchStream
from bundle.data.phantom import default_dataset
from bundle.data.selection import contrast_of, pairs_of_subset, requested_pairs
from bundle.data.siblings import reference_beside
from bundle.data.slices import SliceStack
from bundle.data.splits import SplitPlan, split_pairs

__all__ = [
    "CheckedPairs",
    "PatchStream",
    "SliceStack",
    "SplitPlan",
    "contrast_of",
    "default_dataset",
    "find_pairs",
    "pairs_of_subset",
    "reference_beside",
    "requested_pairs",
    "split_pairs",
]
