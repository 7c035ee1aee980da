# SPDX-License-Identifier: Apache-2.0
"""Training, evaluation and inference engines: adapters to ignite and MONAI."""

from bundle.engines.checkpoint import TrainingCheckpoint
from bundle.engines.curves import LearningCurves
from bundle.engines.evaluation import EvaluationReport, protocol
from bundle.engines.inferer import TiledSliceInferer
from bundle.engines.precision import autocast, supports_bfloat16, use_machine
from bundle.engines.reformat import ReformatInferer, inferer_of
from bundle.engines.step import CriticUpdate, GeneratorUpdate, TrainingStep, WeightAverage
from bundle.engines.training import (
    LossProgress,
    StopOnNan,
    ValidationImages,
    low_res_and_label,
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
    "LearningCurves",
    "LossProgress",
    "ReformatInferer",
    "StopOnNan",
    "TiledSliceInferer",
    "TrainingCheckpoint",
    "TrainingStep",
    "ValidationImages",
    "WeightAverage",
    "autocast",
    "inferer_of",
    "low_res_and_label",
    "prepare_batch",
    "protocol",
    "run_training",
    "supports_bfloat16",
    "training_record",
    "use_machine",
]
