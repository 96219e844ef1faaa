"""How often a run looks: at which of a source's frames, and how much it rests in between.

Frames that are not looked at by choice are passed over. They are counted apart from those that a live source
gave while another was processed, which are dropped.
"""

from __future__ import annotations

import copy
import logging
import math
import sys
import threading
import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ..faces.tracker import SPARSE

IDLE_AFTER = 60.0
"""Seconds without any face after which a live source is looked at ``idle_fps`` times a second."""

LONGEST_REST = 2.0
"""Seconds that a budget makes a run rest at most: it never goes blind, however small the budget is."""

_CATCH_UP = 0.05
"""Seconds by which a frame may be late without putting the next one off: a camera's frame period and some."""

_EARLY = 0.01
"""Seconds by which a frame of the source may come before its time and still count as that one."""

_CREDIT = 1.0
"""Seconds of which an unused budget is kept, since frames come in steps of a camera's period."""

_DEBT = 10.0
"""Seconds of budget above which overdrawing it is forgiven, as after a start that took long."""

_WINDOW = 5.0
_STEADY = 0.1
_CHANGED = 0.25
"""The rate has settled where two windows of this many seconds differ by less than the first share, and is
logged again where it then differs from the one logged by the second."""

_log = logging.getLogger(__name__)


class Pace:
    """Says which frames a run looks at, and when.

    By the source's own count and time: ``every`` Nth frame, or ``fps`` a second. By the clock: at most
    ``max_fps`` frames a second, and ``budget`` percent of one core, by the process's CPU time; what counts is
    the average, so that frames that cost more are followed by longer rests. ``idle_fps``: frames a second
    once there was no face for :data:`IDLE_AFTER` seconds; 0: no less than before. ``period``: seconds between
    frames of the source. ``clock`` and ``cpu`` give seconds. Messages begin with ``prefix``.

    :meth:`wants` may be called in another thread than the other methods.
    """

    def __init__(
        self,
        every: int = 1,
        fps: float | None = None,
        max_fps: float | None = None,
        budget: float | None = None,
        idle_fps: float = 0.0,
        period: float = 1 / 30,
        clock: Callable[[], float] = time.monotonic,
        cpu: Callable[[], float] = time.process_time,
        prefix: str = "",
    ) -> None:
        self.due = -math.inf
        """When the next frame may be looked at, in seconds of ``clock``."""
        self.passed = 0
        """Frames passed over so far."""
        self.idle = False
        """Whether there was no face for so long that frames are looked at seldom."""
        self.held = False
        """Whether none of a live source's frames are wanted, as while a run is paused."""
        self._every, self._fps = every, fps
        self._shortest = self._wanted = 1 / max_fps if max_fps else 0.0
        # The next frame comes up to a period late, and still a face has to be found in time.
        self._idle_rest = 1 / idle_fps - min(period, 0.5 / idle_fps) if idle_fps else 0.0
        self._share = None if budget is None else max(budget / 100, sys.float_info.min)
        self._clock, self._cpu = clock, cpu
        self._lock = threading.Lock()
        self._index = 0
        self._first: float | None = None
        self._slot: int | None = None
        self._began = self._seen = self._timestamp = math.nan
        self._next = -math.inf
        self._debt = 0.0
        self._settled: tuple[float, float] | None = None
        self._rate = _Rate(budget, prefix) if max_fps or budget else None

    def resume(self, frames: int, first: float, last: float) -> None:
        """Go on behind ``frames`` (1 or more) of a film, the first and last of them at those seconds."""
        self._index, self._first = frames, first
        self._slot = self._slot_of(last)

    def limit(self, fps: float | None) -> None:
        """Look at no more than ``fps`` frames a second from now on, besides other limits; ``None``: at will.

        May be called in another thread.
        """
        self._shortest = max(self._wanted, 1 / fps if fps else 0.0)

    def chooses(self, timestamp: float) -> bool:
        """Whether the source's next frame, at ``timestamp`` seconds, is looked at; counts it where not."""
        wanted = self._is_turn(timestamp)
        if not wanted:
            self.pass_over()
        return wanted

    def foresees(self, timestamps: Sequence[float]) -> NDArray[np.bool_]:
        """Which of the source's next frames :meth:`chooses` will choose; counts nothing."""
        ahead = copy.copy(self)
        return np.array([ahead._is_turn(timestamp) for timestamp in timestamps], np.bool_)

    def wants(self, timestamp: float) -> bool:
        """The same of a live source, whose frames are passed over while the run rests.

        Of a slot of ``fps`` whose first frames come in a rest, the first one after it is looked at.
        """
        resting = self.held or self._clock() < self.due
        # By count, frames count during a rest, too.
        wanted = (self._fps is None or not resting) and self._is_turn(timestamp) and not resting
        if not wanted:
            self.pass_over()
        return wanted

    def pass_over(self) -> None:
        """Count a frame that is not looked at."""
        with self._lock:
            self.passed += 1

    def is_sparse(self, timestamp: float) -> bool:
        """Whether the frame at ``timestamp`` has to be searched whole, as faces have moved on meanwhile.

        Asked once for each frame that is looked at.
        """
        before, self._timestamp = self._timestamp, timestamp
        return self.idle or timestamp - before >= SPARSE

    def begin(self) -> None:
        """Take note that work on a frame begins."""
        now = self._clock()
        if math.isnan(self._began):
            self._seen = self._next = now
            self._settled = now, self._cpu()
        self._began = now
        self._next = max(self._next, now - min(self._shortest, _CATCH_UP)) + self._shortest
        self.due = max(self._next if self._shortest else -math.inf, self._idle_due())
        if self._rate and not self.idle:
            self._rate.add(now, self._cpu() if self._share else 0.0)

    def saw(self, faces: int) -> None:
        """Take note of how many faces the frame has."""
        if faces:
            self._seen = self._began

    def end(self) -> None:
        """Take note that all work on the frame has ended; sets :attr:`due`."""
        now = self._clock()
        was_idle, self.idle = self.idle, bool(self._idle_rest) and now - self._seen >= IDLE_AFTER
        if self.idle != was_idle:
            _log.debug("no face for a minute: resting" if self.idle else "a face: no rest")
            if self._rate:
                self._rate.restart()
        due = [self._next if self._shortest else -math.inf, self._idle_due()]
        if self._share is not None:
            due.append(now + self._owed(now, self._share))
        self.due = max(due)

    def _is_turn(self, timestamp: float) -> bool:
        if self._fps is None:
            self._index += 1
            return (self._index - 1) % self._every == 0
        if self._first is None:
            self._first = timestamp
        slot = self._slot_of(timestamp)
        if slot is None:  # no time, or slots too short to be counted
            return True
        before, self._slot = self._slot, slot
        return slot != before

    def _slot_of(self, timestamp: float) -> int | None:
        if self._fps is None or self._first is None:
            return None
        # The first frame of each slot; a little early, so that one that trembles does not miss its slot.
        position = (timestamp - self._first) * self._fps + min(_EARLY * self._fps, 0.25)
        return math.floor(position) if math.isfinite(position) else None

    def _idle_due(self) -> float:
        return self._began + self._idle_rest if self.idle else -math.inf

    def _owed(self, now: float, share: float) -> float:
        """Seconds until the CPU time used is again ``share`` of the time passed."""
        assert self._settled is not None
        then, before = self._settled
        used = self._cpu()
        self._settled = now, used
        debt = self._debt + (used - before) - share * (now - then)
        self._debt = min(max(debt, -_CREDIT * share), _DEBT * share)
        return min(max(0.0, self._debt / share), LONGEST_REST)


class _Rate:
    """Tells the rate that a run keeps, in a log message, once it has settled and where it changes much."""

    def __init__(self, budget: float | None, begins: str) -> None:
        self._budget, self._begins = budget, begins
        self._warned = False
        self._logged: float | None = None
        self.restart()

    def restart(self) -> None:
        """Begin a new window: what was before is not comparable."""
        self._start: tuple[float, float] | None = None
        self._before: float | None = None
        self._count = 0

    def add(self, now: float, cpu: float) -> None:
        """Count a frame that began at ``now``, when the process had used ``cpu`` seconds."""
        if self._start is None:
            self._start = now, cpu
            return
        self._count += 1
        seconds = now - self._start[0]
        if seconds < _WINDOW:
            return
        rate, used = self._count / seconds, 100 * (cpu - self._start[1]) / seconds
        settled = self._before is not None and abs(rate - self._before) <= _STEADY * self._before
        if settled and (self._logged is None or abs(rate - self._logged) > _CHANGED * self._logged):
            self._log_rate(rate, used)
        self._start, self._before, self._count = (now, cpu), rate, 0

    def _log_rate(self, rate: float, used: float) -> None:
        self._logged = rate
        if self._budget is None:
            _log.info("%skeeping %.3g frames a second", self._begins, rate)
            return
        _log.info("%skeeping %.3g frames a second with %.3g %% of a core", self._begins, rate, used)
        if used > 1.2 * self._budget and not self._warned:
            self._warned = True
            _log.warning(
                "a budget of %g %% of a core is too small: reading frames and writing outputs take more",
                self._budget,
            )
