# SPDX-License-Identifier: Apache-2.0
"""Dictionary transforms for configs, from paths to the network's input and back to a file."""

from bundle.transforms.dictionary import (
    NormaliseIntensityd,
    RestoreNatived,
    SlicesLastd,
    StackContrastsd,
    ThinSlicesd,
    TissueSlicesd,
    ZeroFilld,
)
from bundle.transforms.io import LoadPaird, SaveVolumed

__all__ = [
    "LoadPaird",
    "NormaliseIntensityd",
    "RestoreNatived",
    "SaveVolumed",
    "SlicesLastd",
    "StackContrastsd",
    "ThinSlicesd",
    "TissueSlicesd",
    "ZeroFilld",
]
