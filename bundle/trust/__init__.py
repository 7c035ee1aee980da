# SPDX-License-Identifier: Apache-2.0
"""Whether to rely on an output: warnings about the input, disagreement with it, intervals, lesions."""

from bundle.trust.gate import RefuseDoubtfuld
from bundle.trust.input_checks import InputChecksd
from bundle.trust.output_checks import OutputChecksd, interval_factor
from bundle.trust.training_profile import seen_in_training

__all__ = [
    "InputChecksd",
    "OutputChecksd",
    "RefuseDoubtfuld",
    "interval_factor",
    "seen_in_training",
]
