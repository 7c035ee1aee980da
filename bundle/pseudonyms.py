# SPDX-License-Identifier: Apache-2.0
"""Tokens in the place of names: they recognise a name that somebody has, and are slow to search for one."""

import hashlib
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Final

_COST: Final = 2**13  # of scrypt (RFC 7914): 8 MB and some 20 ms a name, so all numbers of eight digits take weeks
_LENGTH: Final = 6  # bytes of a token: a name is taken for another once in 3e14
_BETWEEN: Final = "$"  # salt and token, which no case has in its name


@cache
def pseudonym(name: str, salt: str = "mcsr") -> str:
    """Return a token of a name, the same for the same salt."""
    key, grain = name.encode(errors="surrogateescape"), salt.encode()
    return hashlib.scrypt(key, salt=grain, n=_COST, r=8, p=1, dklen=_LENGTH).hex()


def hidden(names: Iterable[str]) -> list[str]:
    """Return ``salt$token`` for each name, sorted; such tokens stay.

    The salt is a slow hash of all the names: the same names give the same tokens, one name among others does not.
    """
    known = set(names)
    plain = {name for name in known if _BETWEEN not in name}
    salt = pseudonym("\n".join(sorted(plain)))
    return sorted(known - plain | {f"{salt}{_BETWEEN}{pseudonym(name, salt)}" for name in plain})


def recognised(names: Iterable[str], tokens: Sequence[str]) -> list[str]:
    """Return those of some names, sorted, that tokens stand for, or that stand among them themselves."""
    known = set(tokens)
    salts = {token.partition(_BETWEEN)[0] for token in known if _BETWEEN in token}
    return sorted(
        name
        for name in set(names)
        if name in known or any(f"{salt}{_BETWEEN}{pseudonym(name, salt)}" in known for salt in salts)
    )
