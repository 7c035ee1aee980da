# SPDX-License-Identifier: Apache-2.0
"""Whether to rely on an output: doubts about the input, and intervals for the output."""

from bundle.trust.gate import RefuseDoubtfuld
from bundle.trust.input_checks import InputChecksd
from bundle.trust.interval import Intervald, interval_factor
from bundle.trust.training_profile import seen_in_training

__all__ = [
    "InputChecksd",
    "Intervald",
    "RefuseDoubtfuld",
    "interval_factor",
    "seen_in_training",
]
