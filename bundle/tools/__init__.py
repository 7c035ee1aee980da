# SPDX-License-Identifier: Apache-2.0
"""Tools around the bundle: fetch IXI, export weights, pack the bundle, ship the weights of a training."""
