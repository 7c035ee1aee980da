# SPDX-License-Identifier: Apache-2.0
"""From files on disk to batches: pairs, splits, volumes, slices, patches."""

from bundle.data.pairs import find_pairs
from bundle.data.patches import PatchStream
from bundle.data.selection import CheckedPairs, contrast_of, pairs_of_subset, reference_beside, requested_pairs
from bundle.data.slice_stack import SliceStack
from bundle.data.splits import SplitPlan, split_pairs

__all__ = [
    "CheckedPairs",
    "PatchStream",
    "SliceStack",
    "SplitPlan",
    "contrast_of",
    "find_pairs",
    "pairs_of_subset",
    "reference_beside",
    "requested_pairs",
    "split_pairs",
]
