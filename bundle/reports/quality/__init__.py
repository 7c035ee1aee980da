# SPDX-License-Identifier: Apache-2.0
"""Quality pages: what to look at before an output is relied on, as HTML files that need no network."""

from bundle.reports.quality.batch_page import batch_page, save_batch_page
from bundle.reports.quality.case_page import Origin, case_page, save_case_page
from bundle.reports.quality.shown import CaseImages
from bundle.reports.quality.transform import QualityPaged

__all__ = [
    "CaseImages",
    "Origin",
    "QualityPaged",
    "batch_page",
    "case_page",
    "save_batch_page",
    "save_case_page",
]
