# SPDX-License-Identifier: Apache-2.0
"""Stands where MONAI Label imports torchvision, which must match the build of torch to the letter and is not used."""
