"""Signals that end a run, and the one that has its configuration read again."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Collection, Iterator

from ..interrupts import Handler, ending_signals
from ..outputs.base import Outputs
from ..pipeline.watch import Watch
from ..pipeline.watch_all import WatchAll


@contextlib.contextmanager
def stopped_by_signals(
    run: Watch | WatchAll, outputs: Outputs | None = None, but: Collection[signal.Signals] = ()
) -> Iterator[None]:
    """Let Ctrl-C, SIGTERM and SIGHUP, ``but`` some, end ``run`` after its current frame.

    The first one also ends waiting for ``outputs``, a second one ends it at once. Signals that are ignored
    stay ignored. To be entered from the main thread.
    """

    def handle(number: int, before: Handler) -> None:
        run.stop()
        if outputs is not None:
            outputs.interrupt()
        signal.signal(number, before)

    with ending_signals(handle, but):
        yield


class HangUp:
    """Takes note of SIGHUP while it is entered, where that is not ignored; from the main thread only."""

    def __init__(self) -> None:
        self._came = False

    def taken(self) -> bool:
        """Whether the signal came since this was asked last."""
        came, self._came = self._came, False
        return came

    def __enter__(self) -> HangUp:
        self._before = signal.getsignal(signal.SIGHUP)
        if self._before is not signal.SIG_IGN:
            signal.signal(signal.SIGHUP, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGHUP, self._before)

    def _note(self, *_: object) -> None:
        # No more than this: the loop may be within a lock that reading again would want.
        self._came = True
