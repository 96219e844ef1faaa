"""What a run did, in figures."""

from __future__ import annotations

import itertools
import math
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from ..errors import counted
from ..sources.film import MOST_MISSING

LATENCIES_KEPT = 10_000
"""Percentiles are over the latest frames, so that a run of a year needs no more memory than a short one."""


@dataclass(frozen=True)
class Summary:
    """What a run did."""

    frames: int
    """Processed."""
    dropped: int
    """Given by a live source while another frame was processed."""
    skipped: int
    """Unreadable images."""
    missing: int
    """Frames of a film that could not be decoded."""
    faces: int
    """Summed over frames."""
    tracks: int
    """Persons as tracking counts them; 0 for unrelated images."""
    seconds: float
    """From the first frame to the emotions of the last."""
    p50_ms: float
    """Median time from frame to emotions over the latest 10,000 frames of each camera; NaN without frames."""
    p95_ms: float
    passed: int = 0
    """Passed over by choice: frames that were not to be looked at, or that came while the loop rested."""
    cpu_percent: float = math.nan
    """The process's CPU time from the first frame to the last, in percent of a core; NaN below two frames."""
    gaps: int = 0
    """How often a live source was lost and came back."""
    gap_seconds: float = 0.0
    """Without frames, in these gaps and one that goes on."""
    paused_seconds: float = 0.0
    """In which nothing was recognized, as the operator wanted it."""

    @property
    def fps(self) -> float:
        """Processed frames a second."""
        return self.frames / self.seconds if self.seconds > 0 else 0.0

    @property
    def damaged(self) -> bool:
        """Whether more than a tenth of a film's frames are missing."""
        return self.missing > MOST_MISSING * (self.frames + self.passed + self.missing)

    def __str__(self) -> str:
        parts = [f"{counted(self.frames, 'frame')} in {self.seconds:.1f} s"]
        if self.frames > 1:
            parts.append(f"{self.fps:.1f} fps")
        if math.isfinite(self.cpu_percent):
            parts.append(f"{self.cpu_percent:.0f} % of a core")
        if self.frames:
            parts.append(f"latency p50 {self.p50_ms:.1f} ms, p95 {self.p95_ms:.1f} ms")
        parts.append(f"dropped {self.dropped}")
        if self.passed:
            parts.append(f"passed {self.passed}")
        if self.skipped:
            parts.append(f"skipped {self.skipped} unreadable")
        if self.missing:
            parts.append(f"missing {self.missing} damaged")
        if self.gap_seconds:
            parts.append(f"without the camera {self.gap_seconds:.1f} s")
        if self.paused_seconds:
            parts.append(f"paused {self.paused_seconds:.1f} s")
        parts.append(f"faces {self.faces}" + (f" ({counted(self.tracks, 'track')})" if self.tracks else ""))
        return ", ".join(parts)


def summed(summaries: Sequence[Summary], tallies: Sequence[Tally]) -> Summary:
    """The figures of several cameras in one: from the first frame of any to the last of any."""
    whole = Tally()
    whole.add(tallies)
    total = whole.summary(0, 0, 0)
    counts = {
        one.name: sum(getattr(summary, one.name) for summary in summaries)
        for one in fields(Summary)
        if one.name not in ("seconds", "p50_ms", "p95_ms", "cpu_percent", "paused_seconds")
    }
    # All are paused together.
    paused = max((summary.paused_seconds for summary in summaries), default=0.0)
    return replace(total, **counts, paused_seconds=paused)


class Tally:
    """The figures of a run while it goes on."""

    def __init__(self) -> None:
        self.frames = 0
        self.dropped = 0
        self._faces = 0
        self._latencies: deque[float] = deque(maxlen=LATENCIES_KEPT)
        self._started = self._ended = 0.0
        self._first = self._last = (0.0, 0.0)

    def count(self, faces: int, latency_ms: float) -> None:
        """Count a frame with so many ``faces`` that was processed in ``latency_ms``."""
        self._ended = time.monotonic()
        self._last = self._ended, time.process_time()
        if not self.frames:
            self._started = self._ended - latency_ms / 1000
            self._first = self._last
        self.frames += 1
        self._faces += faces
        self._latencies.append(latency_ms)

    def add(self, others: Sequence[Tally]) -> None:
        """Add the times of the frames that ``others`` counted."""
        # All that each kept, however many cameras there are. Copies, as for a summary.
        kept = (self._latencies, *(other._latencies.copy() for other in others))
        self._latencies = deque(itertools.chain.from_iterable(kept))
        began = [other for other in others if other.frames]
        self._started = min((other._started for other in began), default=0.0)
        self._ended = max((other._ended for other in began), default=0.0)
        self._first = min((other._first for other in began), default=(0.0, 0.0))
        self._last = max((other._last for other in began), default=(0.0, 0.0))

    def summary(
        self,
        tracks: int,
        skipped: int,
        missing: int,
        passed: int = 0,
        gaps: int = 0,
        gap_seconds: float = 0.0,
        paused_seconds: float = 0.0,
    ) -> Summary:
        """Return the figures so far."""
        seconds, cpu = (last - first for first, last in zip(self._first, self._last, strict=True))
        # A copy, made at once: another thread may ask while frames are counted.
        latencies = np.array(self._latencies.copy())
        p50, p95 = np.percentile(latencies, (50, 95)) if len(latencies) else (math.nan, math.nan)
        return Summary(
            frames=self.frames,
            dropped=self.dropped,
            skipped=skipped,
            missing=missing,
            faces=self._faces,
            tracks=tracks,
            seconds=self._ended - self._started,
            p50_ms=float(p50),
            p95_ms=float(p95),
            passed=passed,
            cpu_percent=100 * cpu / seconds if seconds > 0 else math.nan,
            gaps=gaps,
            gap_seconds=gap_seconds,
            paused_seconds=paused_seconds,
        )
