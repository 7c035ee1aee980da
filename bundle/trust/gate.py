# SPDX-License-Identifier: Apache-2.0
"""No result where the run itself says not to use it."""

from collections.abc import Hashable, Mapping
from typing import Any

from monai.transforms import Transform

from bundle.case import Case
from bundle.doubts import Verdict
from bundle.errors import InputError


class RefuseDoubtfuld(Transform):
    """Refuse a case whose result is not to be used, before the network takes its time."""

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the item; ``InputError`` with the gravest doubt if its verdict is ``do not use``."""
        case = Case.of(data)
        if case.told()["verdict"] == Verdict.DO_NOT_USE:
            sentence = case.warnings[0].removesuffix(".")
            raise InputError(f"{sentence}; nothing is written unless asked for by --write_doubtful true.")
        return dict(data)
