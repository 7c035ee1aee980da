# SPDX-License-Identifier: Apache-2.0
"""Training, evaluation and inference engines: adapters to ignite and MONAI."""

from bundle.engines.checkpoint import TrainingCheckpoint
from bundle.engines.evaluation import EvaluationReport, protocol
from bundle.engines.inferer import TiledSliceInferer
from bundle.engines.precision import autocast, supports_bfloat16, use_machine
from bundle.engines.reformat import ReformatInferer, inferer_of
from bundle.engines.step import CriticUpdate, GeneratorUpdate, TrainingStep, WeightAverage
from bundle.engines.training import (
    LossProgress,
    StopOnNan,
    middle_slices_of_batch,
    middle_slices_of_output,
    prepare_batch,
    run_training,
    training_record,
)
from bundle.engines.weights import GeneratorLoader

__all__ = [
    "CriticUpdate",
    "EvaluationReport",
    "GeneratorLoader",
    "GeneratorUpdate",
    "LossProgress",
    "ReformatInferer",
    "StopOnNan",
    "TiledSliceInferer",
    "TrainingCheckpoint",
    "TrainingStep",
    "WeightAverage",
    "autocast",
    "inferer_of",
    "middle_slices_of_batch",
    "middle_slices_of_output",
    "prepare_batch",
    "protocol",
    "run_training",
    "supports_bfloat16",
    "training_record",
    "use_machine",
]
