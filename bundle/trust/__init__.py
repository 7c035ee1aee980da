# SPDX-License-Identifier: Apache-2.0
"""Whether to rely on an output: warnings about the input, spread, influence of the reference, lesions."""

from bundle.trust.gate import RefuseDoubtfuld
from bundle.trust.influence import reference_influence
from bundle.trust.input_checks import InputChecksd
from bundle.trust.network_checks import NetworkChecksd, ensemble
from bundle.trust.spread import predictive_spread
from bundle.trust.training_profile import seen_in_training

__all__ = [
    "InputChecksd",
    "NetworkChecksd",
    "RefuseDoubtfuld",
    "ensemble",
    "predictive_spread",
    "reference_influence",
    "seen_in_training",
]
