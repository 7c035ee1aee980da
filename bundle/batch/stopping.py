# SPDX-License-Identifier: Apache-2.0
"""What ends a batch before its last case: a signal, or a full disk."""

import contextlib
import errno
import signal
import threading
from collections.abc import Iterator
from typing import Final, NoReturn

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


@contextlib.contextmanager
def exit_on_signals() -> Iterator[None]:
    """Let Ctrl-C, SIGTERM and SIGHUP raise ``SystemExit``, 130, 143 and 129, once: none interrupts what follows.

    SIGHUP, of a terminal that is closed, stays ignored where it is, as below ``nohup``.
    """
    if threading.current_thread() is not threading.main_thread():  # others never see a signal
        yield
        return

    def stop(number: int, _: object) -> NoReturn:
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        raise SystemExit(128 + number)

    hung_up = signal.getsignal(signal.SIGHUP)
    caught = [number for number in _SIGNALS if number != signal.SIGHUP or hung_up != signal.SIG_IGN]
    before = {number: signal.signal(number, stop) for number in caught}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def is_disk_full(error: BaseException | None) -> bool:
    """Tell whether an error, or what caused it, is a lack of space or of quota."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _FULL:
            return True
        error = error.__cause__ or error.__context__
    return False
