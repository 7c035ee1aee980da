# SPDX-License-Identifier: Apache-2.0
"""What a name holds is shown, and never obeyed."""

import pytest

from bundle.errors import InputError, printable, reason_of

PERSIAN = "\u0645\u06cc\u200c\u0631\u0648\u062f"  # a word that needs a zero-width non-joiner
FAMILY = "\u4e00 \U0001f468\u200d\U0001f469"  # with a joiner


@pytest.mark.parametrize("text", ["sub-01_T2w.nii.gz", "M\xfcller's 100 % \xa0ab", FAMILY, PERSIAN])
def test_a_name_of_any_script_is_shown_as_it_is(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[2Jb", r"a\x1b[2Jb"),
        ("a\nb\rc\td", r"a\nb\rc\td"),
        ("a\x9b2Jb\x7f", r"a\x9b2Jb\x7f"),
        ("gz.iin\u202e", r"gz.iin\u202e"),
        ("a\u2028b\u2029", r"a\u2028b\u2029"),
        ("M\udcfcller", r"M\udcfcller"),
    ],
)
def test_what_would_be_obeyed_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert str(InputError(f"{text}: gone.")) == f"{shown}: gone."
    assert reason_of(KeyError(text)).isprintable()
    assert reason_of(RuntimeError(text)).isprintable()


def test_lines_may_be_kept() -> None:
    assert printable("a\n\x1b", keep="\n") == "a\n\\x1b"
