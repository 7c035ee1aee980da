# SPDX-License-Identifier: Apache-2.0
"""Tools around the bundle: check a data set, fetch IXI, export weights, pack the bundle, ship a training's weights."""
