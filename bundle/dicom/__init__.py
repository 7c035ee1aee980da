# SPDX-License-Identifier: Apache-2.0
"""DICOM: a series as a volume, and the pairs among the series that a PACS exports."""
