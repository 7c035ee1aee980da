# SPDX-License-Identifier: Apache-2.0
"""Quality pages: what to look at before an output is relied on, as HTML files that need no network."""

from bundle.pages.batch_page import batch_page, save_batch_page
from bundle.pages.case_page import Origin, case_page
from bundle.pages.quality_page import QualityPaged

__all__ = ["Origin", "QualityPaged", "batch_page", "case_page", "save_batch_page"]
