# SPDX-License-Identifier: Apache-2.0
"""Dictionary keys of a pair on its way from the datalist to the report."""

from typing import Final

# The target contrast: a path in the datalist, the volume after loading, then the network's two-channel input.
IMAGE: Final = "image"
REFERENCE: Final = "reference"  # the high-resolution volume of another contrast on the target's grid
SUBJECT: Final = "subject"  # the person: what splits and statistics count
# Contrast of the reference, where something else than its name tells it.
REFERENCE_CONTRAST: Final = "reference_contrast"
CASE: Final = "case"  # one session of a subject: unique within a data set, safe as a file name
HIGH_RES: Final = "high_res"  # the normalised ground truth
LOW_RES: Final = "low_res"  # the zero-filled target on the same scale
# What the levels of a progressive generator before the last should return: zero-filled by less, one channel each.
LEVEL_TARGETS: Final = "level_targets"
PRED: Final = "pred"  # the network's output, the super-resolved target
PRED_CONSISTENT: Final = "pred_consistent"  # the output with the measured block of k-space put back
SUPER_RES: Final = "super_res"
SUPER_RES_CONSISTENT: Final = "super_res_dc"
# What tables and files call the outputs, whose keys are MONAI's.
REPORTED: Final = {PRED: SUPER_RES, PRED_CONSISTENT: SUPER_RES_CONSISTENT}
SCALE: Final = "intensity_scale"  # offset and length of the native intensity range that became [0, 1]
# Where the target held no data, bool (X, Y, Z) of its file's grid under ``mask``, and the ``value`` that stood there.
NO_DATA: Final = "no_data"
SLICE_AXIS: Final = "slice_axis"  # which native axis the slices were taken along
SLICES: Final = "slices"  # native indices of the slices that are in the volume, where some were left out
# By which factor an image is known to be zero-filled, along rows and columns, without a window; 0 where it is not.
ZERO_FILLED_BY: Final = "zero_filled_by"
ERROR_SCALE: Final = "error_scale"  # how large errors are, as the network predicts it, not calibrated
INTERVAL: Final = "interval"  # nine of ten errors of the output are smaller, on its scale
# In a datalist: path of the result below the output folder, without its ending, where it is not ``<case>_sr``.
OUTPUT: Final = "output"
# Of a pair that cannot be used: why, in a sentence, where that was seen before anything was read.
FAULT: Final = "fault"

# An item of a datalist: absolute paths under ``image`` and ``reference``, with ``subject`` and ``case``.
Pair = dict[str, str]
