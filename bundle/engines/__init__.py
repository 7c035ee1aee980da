# SPDX-License-Identifier: Apache-2.0
"""Training, evaluation and inference engines: adapters to ignite and MONAI."""

from bundle.engines.average import WeightAverage
from bundle.engines.checkpoint import TrainingCheckpoint
from bundle.engines.evaluation import EvaluationReport, protocol
from bundle.engines.inferer import SliceInferer
from bundle.engines.precision import autocast, check_device, exact_float32, supports_bfloat16, use_threads
from bundle.engines.step import CriticUpdate, GeneratorUpdate, TrainingStep
from bundle.engines.training import (
    LossProgress,
    StopOnNan,
    middle_slices_of_batch,
    middle_slices_of_output,
    prepare_batch,
    run_training,
)
from bundle.engines.weights import (
    GeneratorLoader,
    cases_seen,
    check_weights,
    recorded_settings,
    single_contrast_weights,
    weights_at_hand,
)

__all__ = [
    "CriticUpdate",
    "EvaluationReport",
    "GeneratorLoader",
    "GeneratorUpdate",
    "LossProgress",
    "SliceInferer",
    "StopOnNan",
    "TrainingCheckpoint",
    "TrainingStep",
    "WeightAverage",
    "autocast",
    "cases_seen",
    "check_device",
    "check_weights",
    "exact_float32",
    "middle_slices_of_batch",
    "middle_slices_of_output",
    "prepare_batch",
    "protocol",
    "recorded_settings",
    "run_training",
    "single_contrast_weights",
    "supports_bfloat16",
    "use_threads",
    "weights_at_hand",
]
