# SPDX-License-Identifier: Apache-2.0
"""Many cases one by one: what is done stays done, one bad case stops no other, several processes share a list."""

from bundle.batch.batch import Batch
from bundle.batch.pipeline import Pipeline
from bundle.batch.results import Results

__all__ = ["Batch", "Pipeline", "Results"]
