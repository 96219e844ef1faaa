"""A thread that reads a source: of a live one it keeps only the newest frame, of others it gives each."""

from __future__ import annotations

import math
import threading
import time

from ..errors import SourceLostError
from ..sources.base import Frame, Source
from .pace import Pace


class FrameSlot:
    """Reads a source in a thread: of a live one keeps the newest frame, else waits until each is taken."""

    def __init__(self, source: Source, pace: Pace) -> None:
        self._source = source
        self._pace = pace
        self._changed = threading.Condition()
        self._frame: Frame | None = None
        self._wanted_at = self._frame_wanted_at = -math.inf
        self._error: BaseException | None = None
        self._ended = False
        self._last = time.monotonic()
        self.dropped = 0
        # A daemon: a driver that never returns from a read must not keep the process alive.
        self._thread = threading.Thread(target=self._read, name="capture", daemon=True)
        self._thread.start()

    @property
    def waited(self) -> float:
        """Seconds since the source gave a frame."""
        return time.monotonic() - self._last

    @property
    def ended(self) -> bool:
        """Whether the source has ended, and its last frame was taken."""
        return self._ended and self._frame is None

    def take(self, timeout: float) -> Frame | None:
        """Return the newest frame not yet taken, waiting for one; ``None`` after ``timeout`` seconds.

        Raises what the source raised, :class:`~fer_edge.errors.SourceLostError` where a live one ended.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._is_fresh() or self._ended, timeout)
            frame, self._frame = self._frame, None
            self._changed.notify()
            if frame is None and self._ended and (self._error or self._source.live):
                raise self._error or SourceLostError(f"{self._source.name}: ended")
            return frame

    def close(self) -> None:
        """Stop reading."""
        with self._changed:
            self._ended = True
            self._changed.notify()
        self._thread.join(timeout=2)

    def _is_fresh(self) -> bool:
        """Whether a frame waits; passes over one that was wanted before a rest, and is old after it."""
        if self._frame is not None and self._source.live and self._frame_wanted_at < self._pace.due:
            self._frame = None
            self._pace.pass_over()
        return self._frame is not None

    def _wants(self, timestamp: float) -> bool:
        self._last = time.monotonic()
        if not self._source.live:
            return self._pace.chooses(timestamp)
        wanted = self._pace.wants(timestamp)
        self._wanted_at = time.monotonic()
        return wanted

    def _read(self) -> None:
        try:
            self._source.chooser = self._wants
            for frame in self._source.chosen():
                with self._changed:
                    if not self._source.live:
                        self._changed.wait_for(lambda: self._frame is None or self._ended)
                    if self._ended:
                        return
                    if self._frame is not None:
                        self.dropped += 1
                    self._frame, self._frame_wanted_at = frame, self._wanted_at
                    self._last = time.monotonic()
                    self._changed.notify()
        except BaseException as error:
            self._error = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify()
