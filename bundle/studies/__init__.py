# SPDX-License-Identifier: Apache-2.0
"""Several methods evaluated under one protocol: their statistics, tables and figures beside the paper's."""

from bundle.studies.plan import Row, StudyPlan, read_study
from bundle.studies.runner import StudyRunner, data_fingerprint
from bundle.studies.study import Study

__all__ = ["Row", "Study", "StudyPlan", "StudyRunner", "data_fingerprint", "read_study"]
