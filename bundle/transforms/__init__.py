# SPDX-License-Identifier: Apache-2.0
"""Dictionary transforms for configs, from paths to the network's input and back to a file."""

from bundle.transforms.align import AlignReferenced
from bundle.transforms.dictionary import (
    NormaliseIntensityd,
    RestoreNatived,
    SlicesLastd,
    StackContrastsd,
    ThinSlicesd,
    TissueSlicesd,
)
from bundle.transforms.io import LoadPaird, SaveVolumed
from bundle.transforms.kspace import DataConsistencyd, ZeroFilld
from bundle.transforms.low_res import MeasuredBlockd
from bundle.transforms.scan import SimulateScand

__all__ = [
    "AlignReferenced",
    "DataConsistencyd",
    "LoadPaird",
    "MeasuredBlockd",
    "NormaliseIntensityd",
    "RestoreNatived",
    "SaveVolumed",
    "SimulateScand",
    "SlicesLastd",
    "StackContrastsd",
    "ThinSlicesd",
    "TissueSlicesd",
    "ZeroFilld",
]
