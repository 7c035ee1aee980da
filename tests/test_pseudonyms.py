# SPDX-License-Identifier: Apache-2.0
"""Tokens recognise names and tell none."""

import hashlib
import time

from bundle.pseudonyms import hidden, pseudonym, recognised

NAMES = ["00012345_20240101_T2", "00012346_20240101_T2"]


def test_a_pseudonym_is_scrypt_s() -> None:
    # Origin: hashlib.scrypt of OpenSSL 3, by the parameters that the module's first lines state
    assert pseudonym("00012345") == hashlib.scrypt(b"00012345", salt=b"mcsr", n=8192, r=8, p=1, dklen=6).hex()


def test_a_pseudonym_takes_its_time() -> None:
    start = time.process_time()
    for number in range(5):
        pseudonym(f"never asked before {number}")
    assert (time.process_time() - start) / 5 > 2e-3  # 1e8 identifiers: more than two days, not a minute


def test_tokens_recognise_names_and_hold_none() -> None:
    tokens = hidden(NAMES)
    assert recognised([*NAMES, "00012347"], tokens) == NAMES
    assert not any(name[:8] in token for name in NAMES for token in tokens)


def test_the_same_names_give_the_same_tokens_and_other_company_gives_others() -> None:
    assert hidden(NAMES) == hidden(reversed(NAMES))
    assert not set(hidden(NAMES)) & set(hidden([*NAMES, "x"]))


def test_tokens_of_an_earlier_training_stay_beside_new_ones() -> None:
    before = hidden(["a", "b"])
    together = hidden([*before, "c"])
    assert set(before) < set(together)
    assert recognised(["a", "b", "c", "d"], together) == ["a", "b", "c"]
    assert hidden(together) == together


def test_names_of_older_records_are_recognised() -> None:
    assert recognised(["a", "d"], ["a", "b", *hidden(["d"])]) == ["a", "d"]
