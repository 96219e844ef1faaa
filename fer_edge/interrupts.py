"""Handlers of the signals that end a process."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Collection, Iterator
from types import FrameType

_ENDING = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
Handler = Callable[[int, FrameType | None], object] | int | None


@contextlib.contextmanager
def ending_signals(
    handle: Callable[[int, Handler], None], but: Collection[signal.Signals] = ()
) -> Iterator[None]:
    """Call ``handle`` on Ctrl-C, SIGTERM and SIGHUP, ``but`` some, with the signal and its handler before.

    Signals that are ignored stay ignored: nohup asks for that for SIGHUP, a shell that starts a job in the
    background for Ctrl-C. To be entered from the main thread.
    """
    before = {int(number): signal.getsignal(number) for number in _ENDING.difference(but)}
    before = {number: handler for number, handler in before.items() if handler is not signal.SIG_IGN}
    for number in before:
        signal.signal(number, lambda number, _: handle(number, before[number]))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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
    with ending_signals(_end, but):
        yield


def _end(*_: object) -> None:
    with contextlib.suppress(OSError):
        os.write(2, b"stopped\n")
    os._exit(130)
