# SPDX-License-Identifier: Apache-2.0
"""From files on disk to batches: pairs, splits, volumes, slices, patches."""

from bundle.data.pairs import find_pairs, survey
from bundle.data.patches import PatchStream
from bundle.data.selection import (
    CheckedPairs,
    contrast_of,
    named_pair,
    pairs_of_subset,
    reference_beside,
    requested_cases,
)
from bundle.data.slice_stack import SliceStack
from bundle.data.splits import SplitPlan, split_pairs

__all__ = [
    "CheckedPairs",
    "PatchStream",
    "SliceStack",
    "SplitPlan",
    "contrast_of",
    "find_pairs",
    "named_pair",
    "pairs_of_subset",
    "reference_beside",
    "requested_cases",
    "split_pairs",
    "survey",
]
