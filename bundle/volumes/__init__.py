# SPDX-License-Identifier: Apache-2.0
"""One volume: its file, where its voxels lie, its intensities, and how much of its k-space was measured."""
