"""Figures of a run, logged every few seconds: rate, latency, losses, memory, heat."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..errors import counted
from ..machine import Condition, condition, resident_memory
from ..pipeline.result import FrameResult
from ..pipeline.summary import Summary

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Counts:
    """What was counted up to a moment of the monotonic clock."""

    moment: float
    dropped: int
    passed: int


class StatsOutput:
    """Logs what happened since the last time, whenever :meth:`log` is called.

    ``summary`` gives the figures of the run so far.
    """

    def __init__(
        self,
        summary: Callable[[], Summary],
        board: Callable[[], Condition] = condition,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._summary, self._board, self._clock = summary, board, clock
        self._lock = threading.Lock()
        self._latencies: list[float] = []
        self._faces = 0
        self._before = self._count()

    def write(self, result: FrameResult) -> None:
        """Count a result."""
        with self._lock:
            self._latencies.append(result.latency_ms)
            self._faces += len(result.faces)

    def log(self) -> None:
        """Log the figures since the last call; may be called in another thread than :meth:`write`."""
        with self._lock:
            latencies, self._latencies = self._latencies, []
            faces, self._faces = self._faces, 0
        before, self._before = self._before, self._count()
        now, state, memory = self._before, self._board(), resident_memory()
        seconds = now.moment - before.moment
        parts = [f"{counted(len(latencies), 'frame')} in {seconds:.1f} s"]
        if latencies and seconds > 0:
            p50, p95 = np.percentile(latencies, (50, 95))
            parts += [f"{len(latencies) / seconds:.1f} fps", f"latency p50 {p50:.1f} ms, p95 {p95:.1f} ms"]
        parts += [f"dropped {now.dropped - before.dropped}", f"passed {now.passed - before.passed}"]
        parts.append(f"faces {faces}")
        if memory is not None:
            parts.append(f"{memory / 1e6:.0f} MB")
        if state.temperature is not None:
            parts.append(f"{state.temperature:.0f} °C")
        parts += state.throttling or ()
        _log.info("stats: %s", ", ".join(parts))

    def cancel(self) -> None:
        """Nothing here waits."""

    def close(self) -> None:
        """Nothing is open."""

    def _count(self) -> _Counts:
        done = self._summary()
        return _Counts(self._clock(), done.dropped, done.passed)
