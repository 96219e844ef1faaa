"""The loop from a source to results."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import SourceLostError
from ..faces.tracker import Tracker
from ..outputs.base import Output, OutputClosed
from ..sources.base import Frame, Source
from .capture import NewestFrame
from .recognizer import Recognizer, to_faces
from .result import Face, FrameResult
from .summary import Summary

LATENCIES_KEPT = 10_000
"""Percentiles are over the latest frames, so that a run of a year needs no more memory than a short one."""

_POLL = 0.2


@dataclass(frozen=True)
class LiveOptions:
    """How to run; the defaults suit a Pi 4 with a camera."""

    detect_every: int = 1
    """The detector, which costs most, runs on every Nth frame; in between, boxes move on evenly."""
    smoothing: float = 0.4
    """Time constant in seconds over which a person's probabilities are averaged; 0: not at all."""
    frames: int | None = None
    """Stop after so many processed frames."""
    seconds: float | None = None
    """Stop after so long by the clock."""
    silence: float = 15.0
    """A live source that gives no frame for so many seconds has failed."""

    def __post_init__(self) -> None:
        if self.detect_every < 1:
            raise ValueError(f"detect_every must be 1 or more, got {self.detect_every}")
        if not (math.isfinite(self.smoothing) and self.smoothing >= 0):
            raise ValueError(f"smoothing must be 0 or more seconds, got {self.smoothing}")
        if self.frames is not None and self.frames < 1:
            raise ValueError(f"frames must be 1 or more, got {self.frames}")
        if self.seconds is not None and not self.seconds > 0:
            raise ValueError(f"seconds must be more than 0, got {self.seconds}")


class Run:
    """One run over a source; :attr:`summary` holds at any time, also after an error."""

    def __init__(self, recognizer: Recognizer, options: LiveOptions | None = None) -> None:
        self.options = options or LiveOptions()
        self._recognizer = recognizer
        self._stop = threading.Event()
        self._latencies: deque[float] = deque(maxlen=LATENCIES_KEPT)
        self._tracker = Tracker(self.options.smoothing)
        self._frames = self._faces = self._dropped = self._skipped = 0
        self._started = self._ended = 0.0

    @property
    def stopped(self) -> bool:
        """Whether :meth:`stop` was called."""
        return self._stop.is_set()

    def stop(self) -> None:
        """Ask for the end after the current frame; may be called from a signal handler or another thread."""
        self._stop.set()

    @property
    def summary(self) -> Summary:
        """What was done so far."""
        latencies = np.array(self._latencies)
        p50, p95 = np.percentile(latencies, (50, 95)) if len(latencies) else (math.nan, math.nan)
        return Summary(
            frames=self._frames,
            dropped=self._dropped,
            skipped=self._skipped,
            faces=self._faces,
            tracks=self._tracker.count,
            seconds=self._ended - self._started,
            p50_ms=float(p50),
            p95_ms=float(p95),
        )

    def process(self, source: Source, outputs: Sequence[Output]) -> Summary:
        """Process ``source`` until it ends, a limit is reached, or :meth:`stop` is called.

        The outputs are closed in any case, the source is not. Raises
        :class:`~fer_edge.errors.SourceError` where the source fails, and whatever an output raises
        other than :class:`~fer_edge.outputs.base.OutputClosed`.
        """
        with contextlib.ExitStack() as closing:
            for output in outputs:
                closing.callback(output.close)
            frames = closing.enter_context(contextlib.closing(self._frames_of(source)))
            began = time.monotonic()
            try:
                for frame in frames:
                    if self._stop.is_set() or self._is_over(began):
                        break
                    if not self._frames:
                        self._started = time.monotonic()
                    result = self._recognize(frame, source.related)
                    for output in outputs:
                        output.write(result)
                    if self._frames == self.options.frames:
                        break
            except OutputClosed:
                pass
            finally:
                self._skipped = source.skipped
        return self.summary

    def _is_over(self, began: float) -> bool:
        limit = self.options.seconds
        return limit is not None and time.monotonic() - began >= limit

    def _frames_of(self, source: Source) -> Generator[Frame, None, None]:
        yield from self._newest(source) if source.live else source

    def _newest(self, source: Source) -> Generator[Frame, None, None]:
        began = time.monotonic()
        slot = NewestFrame(source)
        try:
            while not self._stop.is_set():
                frame = slot.take(_POLL)
                self._dropped = slot.dropped
                if frame is not None:
                    yield frame
                elif self._is_over(began):
                    return
                elif slot.waited > self.options.silence:
                    raise SourceLostError(f"{source.name}: no frame for {self.options.silence:g} s")
        finally:
            slot.close()

    def _recognize(self, frame: Frame, related: bool) -> FrameResult:
        began = time.perf_counter()
        faces = self._follow(frame) if related else self._recognizer.recognize(frame.image)
        latency_ms = (time.perf_counter() - began) * 1000
        result = FrameResult(self._frames, frame.timestamp, frame.name, frame.image, tuple(faces), latency_ms)
        self._latencies.append(latency_ms)
        self._frames += 1
        self._faces += len(faces)
        self._ended = time.monotonic()
        return result

    def _follow(self, frame: Frame) -> list[Face]:
        if self._frames % self.options.detect_every == 0 or self._tracker.lost:
            tracks = self._tracker.update(self._recognizer.detect(frame.image), frame.timestamp)
        else:
            tracks = self._tracker.predict(frame.timestamp)
        if not tracks:
            return []
        boxes, landmarks = [track.box for track in tracks], [track.landmarks for track in tracks]
        probabilities = self._recognizer.classify(frame.image, boxes, landmarks)
        return to_faces(tracks, self._tracker.smooth(tracks, probabilities, frame.timestamp))
