# SPDX-License-Identifier: Apache-2.0
import pytest

from bundle.case import Case
from bundle.doubts import Doubt
from bundle.errors import InputError
from bundle.trust import RefuseDoubtfuld


def test_a_case_not_to_be_used_is_refused_with_its_gravest_doubt() -> None:
    case = Case("sub-1")
    case.warn(Doubt.NOISE, "It is noisy.")
    item = {"case": case}
    assert RefuseDoubtfuld()(item) == item
    case.warn(Doubt.SWAPPED, "They seem to be swapped.")
    with pytest.raises(InputError, match=r"swapped; nothing is written unless .*--write_doubtful true"):
        RefuseDoubtfuld()(item)
