# SPDX-License-Identifier: Apache-2.0
"""The one exception that is meant for the person at the keyboard, and what to tell of all others."""

import unicodedata
from typing import Final

_HARMLESS: Final = "\u00ad\u200c\u200d"  # between letters: soft hyphen, zero-width non-joiner and joiner


class InputError(ValueError):
    """Report unusable input in one sentence that names the file or value and the remedy.

    Input is what the user chose: files, and settings of a config or the command line. A wrong argument that only
    code can pass is a plain ``ValueError``. Every message is shown to users as it stands, without a
    traceback, in one line whatever names it holds: write it for somebody who has never seen the code.
    """

    def __str__(self) -> str:
        return printable(super().__str__())


class SomeFailedError(InputError):
    """Report that some cases of several could not be used, and all others are done."""


def input_error(error: BaseException | None) -> InputError | None:
    """Return the ``InputError`` that an exception is or was caused by, if any."""
    while error is not None and not isinstance(error, InputError):
        error = error.__cause__
    return error


def reason_of(error: BaseException) -> str:
    """Return in one line why a case failed: the sentence of an input error, or the kind and message of any other."""
    if found := input_error(error):
        return str(found)
    while error.__cause__ is not None:  # MONAI wraps what fails in a transform
        error = error.__cause__
    message = printable(" ".join(str(error).split()))
    return f"unexpected: {type(error).__name__}: {message}" if message else f"unexpected: {type(error).__name__}"


def printable(text: str, keep: str = "") -> str:
    """Return a text with those characters escaped that are obeyed instead of shown, other than those to keep.

    These are line breaks, escape sequences and marks that turn the direction of what follows, which somebody may have
    put into the name of a file; and halves of characters, of names that are not UTF-8.
    """
    if text.isprintable():
        return text
    kept = keep + _HARMLESS
    return "".join(one if one in kept or _is_shown(one) else one.encode("unicode_escape").decode() for one in text)


def _is_shown(character: str) -> bool:
    category = unicodedata.category(character)
    return not category.startswith("C") and category not in ("Zl", "Zp")
