"""Signals that end a run."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

from ..outputs.base import Outputs
from ..pipeline.watch import Watch


@contextlib.contextmanager
def stopped_by_signals(run: Watch, outputs: Outputs | None = None) -> Iterator[None]:
    """Let Ctrl-C, SIGTERM and SIGHUP end ``run`` after its current frame; a second one ends it at once.

    The first one also ends waiting for ``outputs``. Signals that are ignored stay ignored. To be entered
    from the main thread.
    """

    def handle(number: int, _: FrameType | None) -> None:
        run.stop()
        if outputs is not None:
            outputs.interrupt()
        signal.signal(number, before[signal.Signals(number)])

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    # nohup asks for SIGHUP to be ignored, a shell that starts a job in the background for Ctrl-C.
    before = {number: handler for number, handler in before.items() if handler is not signal.SIG_IGN}
    for number in before:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
