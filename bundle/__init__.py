# SPDX-License-Identifier: Apache-2.0
"""Multi-contrast MR super-resolution, in the order in which data flow.

``data`` finds pairs and reads volumes, ``transforms`` normalise and degrade them (``kspace``), ``networks`` sharpen
them, ``losses`` and ``engines`` train, ``metrics`` score, ``reports`` show. ``config`` and ``console`` serve the
bundle's configs, which run it all.
"""
