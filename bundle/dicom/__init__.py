# SPDX-License-Identifier: Apache-2.0
"""DICOM: a series as a volume, the pairs among the series that a PACS exports, and a result as a derived series."""
