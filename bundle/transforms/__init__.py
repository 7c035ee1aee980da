# SPDX-License-Identifier: Apache-2.0
"""Dictionary transforms for configs, from paths to the network's input and back to a file."""

from bundle.transforms.align import AlignReferenced
from bundle.transforms.data_consistency import DataConsistencyd
from bundle.transforms.degrade import SimulateScand, ZeroFilld
from bundle.transforms.dicom_output import CheckDicomOutputd, SaveDicomd
from bundle.transforms.io import LoadPaird, SaveVolumed
from bundle.transforms.low_res import MeasuredBlockd
from bundle.transforms.mend_extremes import MendExtremesd
from bundle.transforms.network_input import (
    NormaliseIntensityd,
    RestoreNatived,
    SlicesLastd,
    StackContrastsd,
    ThinSlicesd,
    TissueSlicesd,
)
from bundle.transforms.thick_slices import ThickSlicesd

__all__ = [
    "AlignReferenced",
    "CheckDicomOutputd",
    "DataConsistencyd",
    "LoadPaird",
    "MeasuredBlockd",
    "MendExtremesd",
    "NormaliseIntensityd",
    "RestoreNatived",
    "SaveDicomd",
    "SaveVolumed",
    "SimulateScand",
    "SlicesLastd",
    "StackContrastsd",
    "ThickSlicesd",
    "ThinSlicesd",
    "TissueSlicesd",
    "ZeroFilld",
]
