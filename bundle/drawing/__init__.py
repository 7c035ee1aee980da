# SPDX-License-Identifier: Apache-2.0
"""How images are drawn: which slices, hung how, in which grey window, on what scale of errors."""
