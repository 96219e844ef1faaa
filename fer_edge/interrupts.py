"""Ctrl-C while nothing has been begun that would have to be finished."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Collection, Iterator

_ENDING = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})


@contextlib.contextmanager
def ended_at_once(but: Collection[signal.Signals] = ()) -> Iterator[None]:
    """Let Ctrl-C, SIGTERM and SIGHUP, ``but`` some, end the process there and then, with exit code 130.

    For the time in which libraries are loaded and devices opened: an exception in the middle of an
    import becomes another one, or is lost. Signals that are ignored stay ignored. Does nothing
    outside the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _ENDING.difference(but)}
    before = {number: handler for number, handler in before.items() if handler is not signal.SIG_IGN}
    for number in before:
        signal.signal(number, _end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(*_: object) -> None:
    with contextlib.suppress(OSError):
        os.write(2, b"stopped\n")
    os._exit(130)
