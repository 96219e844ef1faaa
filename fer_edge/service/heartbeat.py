"""The service's sign of life: fed by the loop itself, so that one that hangs is found out."""

from __future__ import annotations

import time
from collections.abc import Callable

from ..pipeline.state import State
from .notify import Notifier

STATUS_SECONDS = 10.0
"""Time between two lines of status while frames are processed."""

_BEATS = 4
"""Signs of life within the time that systemd waits for one."""


class Heartbeat:
    """Tells ``notifier`` of each :class:`~fer_edge.pipeline.state.State` that it is called with.

    There is no thread and no timer: what systemd hears is that a frame was processed, or that a lost source
    is still being tried. It hears this four times within the time of its watchdog at most, and the status
    every :data:`STATUS_SECONDS`, or at once when it is another one. ``frames``: how many were processed
    so far. ``silence``: seconds that may pass without a frame; asked for each time, since a camera that is
    waited for does not tell before it is there.
    """

    def __init__(
        self,
        notifier: Notifier,
        frames: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
        silence: Callable[[], float] = float,
    ) -> None:
        self._notifier, self._frames, self._clock, self._silence = notifier, frames, clock, silence
        self._wanted = notifier.watchdog
        self._interval = STATUS_SECONDS
        if notifier.watchdog:
            self._interval = min(STATUS_SECONDS, notifier.watchdog / _BEATS)
        self._told_frames = 0
        self._told: tuple[str, str] | None = None
        self._told_at = clock()

    def __call__(self, state: State) -> None:
        """Take the state after a frame or an attempt."""
        now = self._clock()
        passed = now - self._told_at
        told = (state.name, state.reason)
        if told == self._told and passed < self._interval:
            return
        self.adapt()
        frames = self._frames()
        if state.name == "running":
            rate = f", {(frames - self._told_frames) / passed:.1f} a second" if told == self._told else ""
            status = f"frames processed: {frames}{rate}"
        elif state.name == "paused":
            status = f"paused{f'; camera: {state.reason}' if state.reason else ''}"
        else:
            status = f"waiting for camera: {state.reason}"
        self._notifier.alive(status)
        self._told, self._told_at, self._told_frames = told, now, frames

    def adapt(self) -> None:
        """Let systemd wait for longer than no frame may come, where it wants to hear something before."""
        if self._wanted is None:
            return
        silence = self._silence()
        # Until then, a source that gives no frame is not lost.
        seconds = self._wanted + (silence if silence >= self._wanted else 0.0)
        if seconds != self._notifier.watchdog:
            self._notifier.watch_every(seconds)
